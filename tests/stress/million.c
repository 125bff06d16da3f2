/* N times malloc(100) and free; what the kernel sees of it is counted from outside. */
#include <stdlib.h>

int main(int argc, char **argv)
{
    long n = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    for (long i = 0; i < n; i++) {
        char *volatile p = malloc(100);
        if (p == NULL)
            return 1;
        p[0] = 1;
        free(p);
    }
    return 0;
}
