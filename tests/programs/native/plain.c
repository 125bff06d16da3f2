/* Uses malloc under whatever name it is bound to; `plain exhaust` asks for memory until there is
 * none. */
#include "work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int exhaust(void)
{
    static char *chain;
    for (int round = 0; round < 3; round++) {
        size_t total = 0;
        size_t size = 300000;
        while (size >= 16) {
            errno = 0;
            char *block = malloc(size);
            if (block == NULL && errno != ENOMEM) {
                printf("NULL with errno %d\n", errno);
                return 1;
            }
            if (block == NULL) {
                size /= 7;
                continue;
            }
            memset(block, 1, size);
            memcpy(block, &chain, sizeof chain);
            chain = block;
            total += size;
        }
        while (chain != NULL) {
            char *next;
            memcpy(&next, chain, sizeof next);
            free(chain);
            chain = next;
        }
        printf("got %zu KiB\n", total >> 10);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct functions f = {malloc, realloc, free};
    if (argc > 1 && strcmp(argv[1], "exhaust") == 0)
        return exhaust();
    int bad = work_run(&f);
    printf("allocator: %s\n", work_is_libration(&f) ? "libration" : "other");
    return bad;
}
