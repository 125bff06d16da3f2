/* Holds 1000 blocks of 100 bytes and one of 3 MB, says so, and waits to be ended by its input. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    for (int i = 0; i < 1000; i++) {
        char *block = malloc(100);
        if (block == NULL)
            return 1;
        memset(block, 1, 100);
    }
    char *large = malloc(3000000);
    if (large == NULL)
        return 1;
    memset(large, 1, 3000000);
    char byte;
    return write(1, "ready\n", 6) == 6 && read(0, &byte, 1) >= 0 ? 0 : 1;
}
