/* Eight bytes at OFFSET of a freed block are written; then the heap is used with that size until it must have met them. */
#include "misuse.h"

int main(int argc, char **argv)
{
    enum { N = 600 };
    static void *blocks[N];
    size_t size = argument(argc, argv, 1, 64);
    size_t rounds = size > 16384 ? 1 : 8;
    char *p = new_block(size);
    free(p);
    char *stale = crime(p);
    memset(stale + argument(argc, argv, 2, 0), 0x55, 8);
    for (size_t round = 0; round < rounds; round++) {
        for (int i = 0; i < N; i++)
            blocks[i] = hide(malloc(size));
        for (int i = 0; i < N; i++)
            free(blocks[i]);
    }
    return go_on();
}
