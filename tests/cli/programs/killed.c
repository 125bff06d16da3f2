/* Allocates 1001 + i bytes for i below 1000, frees every other block, and ends as the argument says. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 1000, FIRST_BYTES = 1001 };
static void *volatile blocks[BLOCKS];

int main(int argc, char **argv)
{
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(FIRST_BYTES + i);
    for (size_t i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    blocks[1] = realloc(blocks[1], 100000);
    if (argc > 1 && strcmp(argv[1], "abort") == 0)
        abort();
    if (argc > 1 && strcmp(argv[1], "kill") == 0)
        kill(getpid(), SIGKILL);
    _exit(0);
}
