/* malloc(0) gives a block of no bytes; a byte is written to it. */
#include "misuse.h"

int main(void)
{
    unsigned char *p = crime(hide(malloc(0)));
    *p ^= 0x55;
    free(hide(p));
    return go_on();
}
