/* Pointers that are none of ours: nothing may happen to the program. With an argument: to size 0. */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    char *block = malloc(argc > 1 ? 42 : 16);
    if (block == NULL)
        return 1;
    /* By way of a number: the compiler must not see that this is wrong. */
    volatile uintptr_t inside = (uintptr_t)block + 5;
    if (argc > 1)
        return realloc((void *)inside, 0) == NULL ? 0 : 1;
    free(NULL);
    free((void *)inside);
    if (realloc((void *)inside, 10) != NULL)
        return 1;
    return write(1, "Bonjours\n", 9) == 9 ? 0 : 1;
}
