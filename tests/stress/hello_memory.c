/* A program that prints a line must not cost more than 200 KiB of private anonymous memory. */
#include "stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIMIT_KIB = 200 };

int main(void)
{
    void *block = malloc(100);
    printf("hello, world\n");
    fflush(stdout);
    size_t anonymous = stress_rollup_bytes("\nAnonymous:") >> 10;
    free(block);
    printf("%zu KiB anonymous\n", anonymous);
    if (anonymous > LIMIT_KIB)
        stress_fail("expected at most %d KiB of anonymous memory, got %zu KiB", LIMIT_KIB,
                    anonymous);
    return 0;
}
