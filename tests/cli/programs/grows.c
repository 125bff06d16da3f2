/* Makes libration ask the system for each of its reasons, then ends by a signal if told so. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 40000, BLOCK_BYTES = 100, LARGE_BYTES = 24 << 20 };

static char *blocks[BLOCKS];

int main(int argc, char **argv)
{
    (void)argv;
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = malloc(BLOCK_BYTES), 1, BLOCK_BYTES);
    char *large = malloc(LARGE_BYTES);
    char *behind = malloc(1 << 20); /* keeps the large one from growing where it is */
    memset(large, 1, LARGE_BYTES);
    large = realloc(large, 2 * LARGE_BYTES);
    for (int i = 0; i < BLOCKS; i++)
        if (i % 1000 != 0)
            free(blocks[i]);
    free(large);
    free(behind);
    malloc_trim(0);
    large =
        malloc((size_t)2 * LARGE_BYTES); /* where it was moved there was room for twice as much */
    behind = malloc(LARGE_BYTES);
    puts("done");
    fflush(stdout);
    if (argc > 1)
        raise(SIGKILL);
    return large == NULL || behind == NULL;
}
