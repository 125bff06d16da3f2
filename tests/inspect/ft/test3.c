/* 16 MiB grow to 128 MiB and keep what is in them. With an argument: another block lies behind. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static int print(const char *text)
{
    size_t n = strlen(text);
    return write(1, text, n) == (ssize_t)n ? 0 : 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    char *block = malloc(16 * MIB);
    char *behind = argc > 1 ? malloc(16 * MIB) : NULL;
    if (block == NULL || (argc > 1 && behind == NULL))
        return 1;
    strcpy(block, "Bonjours\n");
    int failed = print(block);
    char *grown = realloc(block, 128 * MIB);
    if (grown == NULL)
        return 1;
    grown[127 * MIB] = 42;
    failed |= print(grown);
    free(behind);
    return failed;
}
