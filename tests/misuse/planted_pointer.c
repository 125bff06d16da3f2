/* The address of a global is written all over freed blocks: malloc must never hand it out, nor two
   owners the same block. */
#include "misuse.h"

static char *target[512];

static int is_target(void *p)
{
    return (char *)p >= (char *)target - 4096 && (char *)p < (char *)target + sizeof target + 4096;
}

int main(int argc, char **argv)
{
    enum { N = 500 };
    size_t size = argument(argc, argv, 1, 64);
    static char *blocks[N];
    for (int i = 0; i < N; i++)
        blocks[i] = new_block(size);
    for (int i = 0; i < N; i++)
        free(blocks[i]);
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k + 8 <= size; k += 8)
            *(void **)(void *)(blocks[i] + k) = (void *)(target + 128);
    for (int i = 0; i < 4 * N; i++) {
        void *p = hide(malloc(size));
        if (is_target(p))
            lost("malloc handed out the planted pointer");
    }
    return go_on();
}
