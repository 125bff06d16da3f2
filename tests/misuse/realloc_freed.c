/* realloc of a freed block. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    void *p = new_block(size);
    free(p);
    hide(realloc(crime(p), argument(argc, argv, 2, size * 2)));
    return go_on();
}
