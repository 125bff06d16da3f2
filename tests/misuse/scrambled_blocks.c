/* Freed blocks of all sizes are overwritten with noise; the allocator must not notice. */
#include "misuse.h"

int main(void)
{
    enum { N = 4000 };
    static unsigned char *blocks[N];
    static size_t sizes[N];
    unsigned noise = 1;
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < N; i++) {
            sizes[i] = (i * 37 + (unsigned)round) % 3000 + 16;
            blocks[i] = hide(i % 3 == 0 ? calloc(1, sizes[i]) : malloc(sizes[i]));
        }
        for (unsigned i = 0; i < N; i++)
            free(blocks[i * 13 % N]);
        for (unsigned i = 0; i < N; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                blocks[i][k] = (unsigned char)((noise = noise * 1664525u + 1013904223u) >> 24);
    }
    return go_on();
}
