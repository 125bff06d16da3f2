/* What the program kept in a block is still there after free. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    unsigned char *p = new_block(size);
    memset(p, 0xa7, size);
    free(hide(p));
    volatile unsigned char *stale = crime(p);
    for (size_t i = size / 2; i < size; i++)
        if (stale[i] == 0xa7)
            lost("freed data can be read");
    return go_on();
}
