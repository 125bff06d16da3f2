/* Twice in a row. */
#include "misuse.h"

int main(int argc, char **argv)
{
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    free(crime(p));
    return go_on();
}
