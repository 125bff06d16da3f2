/* The same, each freed at once: the next one reuses it. */
#include <stdlib.h>

int main(void)
{
    for (int i = 0; i < 1024; i++) {
        char *block = malloc(1024);
        if (block == NULL)
            return 1;
        block[0] = 42;
        free(block);
    }
    return 0;
}
