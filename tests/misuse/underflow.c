/* BYTES are written before a block. The address announced is that of the live block before it, if one adjoins: it is
   there that the damage can show. */
#include "misuse.h"

static unsigned char *blocks[200];

static int by_address(const void *a, const void *b)
{
    uintptr_t left = *(const uintptr_t *)a;
    uintptr_t right = *(const uintptr_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    enum { N = sizeof blocks / sizeof *blocks };
    size_t bytes = argument(argc, argv, 1, 1);
    for (size_t i = 0; i < N; i++)
        blocks[i] = hide(malloc(100));
    qsort(blocks, N, sizeof blocks[0], by_address);
    size_t i = 1;
    while (i + 1 < N && blocks[i] - blocks[i - 1] > 128)
        i++;
    crime(blocks[i - 1]);
    for (size_t k = 1; k <= bytes; k++)
        *(blocks[i] - k) ^= 0x55;
    free(hide(blocks[i - 1]));
    free(hide(blocks[i]));
    return go_on();
}
