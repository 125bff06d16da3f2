/* 1024 blocks of 1024 bytes, each touched, none freed: 256 pages of payload. */
#include <stdlib.h>

int main(void)
{
    for (int i = 0; i < 1024; i++) {
        char *block = malloc(1024);
        if (block == NULL)
            return 1;
        block[0] = 42;
    }
    return 0;
}
