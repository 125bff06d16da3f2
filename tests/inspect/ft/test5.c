/* One block of each order of magnitude, then the list of all. */
#include <ration/stats.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    static const size_t sizes[] = {1024, 32 << 10, 1 << 20, 16 << 20, 128 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (malloc(sizes[i]) == NULL)
            return 1;
    }
    show_alloc_mem();
    return 0;
}
