/* Frees two blocks twice, and says that it goes on. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    for (int i = 0; i < 2; i++) {
        void *volatile block = malloc(100);
        free(block);
        free(block);
    }
    puts("goes on");
    return 0;
}
