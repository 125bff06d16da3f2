/* BYTES are written behind a block of SIZE: behind what was asked for, or behind what malloc_usable_size allows. */
#include "misuse.h"

#include <malloc.h>

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    size_t bytes = argument(argc, argv, 2, 1);
    bool behind_usable = argc > 3 && strcmp(argv[3], "usable") == 0;
    unsigned char *p = crime(new_block(size));
    size_t end = behind_usable ? malloc_usable_size(p) : size;
    for (size_t i = 0; i < bytes; i++)
        p[end + i] ^= 0x55;
    free(hide(p));
    return go_on();
}
