/* Asks for a block, gives it back, ends with the number of its arguments. */
#include <stdlib.h>

int main(int argc, char **argv)
{
    (void)argv;
    char *volatile block = malloc(100);
    if (block == NULL)
        return 99;
    free(block);
    return argc - 1;
}
