/* Live blocks are written far past their ends, into live neighbours: nothing of the allocator's may
   lie there. */
#include "misuse.h"

static int by_address(const void *a, const void *b)
{
    uintptr_t left = *(const uintptr_t *)a;
    uintptr_t right = *(const uintptr_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    enum { N = 2000 };
    size_t size = argument(argc, argv, 1, 64);
    static unsigned char *blocks[N];
    for (int i = 0; i < N; i++)
        blocks[i] = hide(malloc(size));
    qsort(blocks, N, sizeof blocks[0], by_address);
    for (int i = 0; i + 1 < N; i++)
        if ((size_t)(blocks[i + 1] - blocks[i]) < 2 * size)
            memset(blocks[i], 0xff, (size_t)(blocks[i + 1] - blocks[i]) + size);
    for (int i = 0; i < N; i++)
        free(blocks[i * 7 % N]);
    return go_on();
}
