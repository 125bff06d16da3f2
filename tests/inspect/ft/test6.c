/* Three neighbours are freed, and a block of their sum takes their place (defragmentation). With an
 * argument: the list of all with every detail. */
#include <ration/stats.h>
#include <stdlib.h>

enum { KIB = 1024 };

int main(int argc, char **argv)
{
    (void)argv;
    char *first = malloc(64 * KIB), *second = malloc(64 * KIB), *third = malloc(64 * KIB);
    char *guard = malloc(64 * KIB);
    char *small = malloc(100);
    if (argc > 1)
        show_alloc_mem_ex();
    if (first == NULL || second != first + 64 * KIB || third != second + 64 * KIB ||
        guard == NULL || small == NULL)
        return 2;
    free(first);
    free(third);
    free(second);
    char *sum = malloc(192 * KIB);
    return sum == first ? 0 : 1;
}
