/* Prints one byte of each: new, grown, calloc's, freed (read where it must not be), large new, large freed. With the argument
 * "mallopt" it asks for the filling itself. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 100, GROWN = 700, LARGE = 100000 };

/* The byte that fills [from, end), or 999 if they differ. */
static int fill_of(const unsigned char *block, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (block[i] != block[from])
            return 999;
    return block[from];
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "mallopt") == 0 && mallopt(M_PERTURB, 17) != 1)
        return 1;
    setvbuf(stdout, NULL, _IONBF, 0);
    unsigned char *small = malloc(SMALL);
    printf("new %d\n", fill_of(small, 0, SMALL));
    memset(small, 1, SMALL);
    size_t had = malloc_usable_size(small);
    small = realloc(small, GROWN);
    printf("grown %d kept %d\n", fill_of(small, had, GROWN), fill_of(small, 0, SMALL));
    unsigned char *zero = calloc(1, SMALL);
    printf("zero %d\n", fill_of(zero, 0, SMALL));
    unsigned char *large = malloc(LARGE);
    printf("large %d\n", fill_of(large, 0, LARGE));
    uintptr_t places[] = {(uintptr_t)small, (uintptr_t)large};
    memset(small, 1, GROWN);
    memset(large, 1, LARGE);
    free(small);
    free(large);
    printf("freed %d\n", fill_of((unsigned char *)places[0], 0, GROWN));
    printf("large freed %d\n", fill_of((unsigned char *)places[1], 0, LARGE));
    return zero == NULL;
}
