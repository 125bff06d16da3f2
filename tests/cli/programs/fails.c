/* Frees a block twice. */
#include <stdint.h>
#include <stdlib.h>

int main(void)
{
    char *block = malloc(50);
    volatile uintptr_t again = (uintptr_t)block;
    free(block);
    free((void *)again);
    return 0;
}
