/* No misuse, but a leak of secrets: a new block shows what the program wrote into a freed one. */
#include "misuse.h"

int main(int argc, char **argv)
{
    enum { N = 400 };
    static unsigned char *blocks[N];
    size_t size = argument(argc, argv, 1, 64);
    for (int i = 0; i < N; i++)
        memset(blocks[i] = hide(malloc(size)), 0xa7, size);
    crime(blocks[0]);
    for (int i = 0; i < N; i++)
        free(blocks[i]);
    for (int i = 0; i < N; i++) {
        volatile unsigned char *p = blocks[i] = hide(malloc(size));
        for (size_t k = size / 2; k < size; k++)
            if (p[k] == 0xa7)
                lost("a new block shows old data");
    }
    return go_on();
}
