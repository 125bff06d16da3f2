/* Every way of asking for memory, once, in an order that the test knows by heart. With an argument it says when it is done, and
 * waits a second. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    void *keep[8] = {0};
    keep[0] = malloc(1001);
    keep[1] = calloc(7, 143);
    keep[2] = realloc(NULL, 1003);
    keep[0] = realloc(keep[0], 50001);
    keep[3] = memalign(64, 1004);
    keep[4] = aligned_alloc(4096, 8192);
    if (posix_memalign(&keep[5], 256, 1006) != 0)
        return 1;
    keep[6] = valloc(1007);
    free(NULL);
    void *volatile refused = malloc(~(size_t)0 >> 1);
    free(refused);
    for (int i = 0; i < 6; i++)
        free(keep[i]);
    (void)argv;
    if (argc > 1 && write(STDOUT_FILENO, "done\n", 5) == 5)
        sleep(1);
    return 0;
}
