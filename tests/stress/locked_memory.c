/* Everything locked into memory (mlockall, now and later): the kernel refuses to purge, so free
   pages keep what was written to them. Freed memory must serve again, and calloc must still be
   zero. Skipped (77) where the limit on locked memory is small. */
#include "stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_BLOCKS = 4000, LARGE = 200000, N_LARGE = 60, SKIPPED = 77 };

static unsigned char *blocks[N_BLOCKS];

static void write_and_free(size_t size, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        blocks[i] = malloc(size);
        if (blocks[i] == NULL)
            stress_fail("expected %u blocks of %zu bytes, malloc gave NULL at block %u", n, size,
                        i);
        memset(blocks[i], 0xA5, size);
    }
    for (unsigned i = 0; i < n; i++)
        free(blocks[i]);
}

static void require_zero(size_t size, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        blocks[i] = calloc(1, size);
        for (size_t k = 0; blocks[i] != NULL && k < size; k++)
            if (blocks[i][k] != 0)
                stress_fail("expected zeros from calloc(1, %zu), got 0x%x at byte %zu", size,
                            blocks[i][k], k);
    }
    for (unsigned i = 0; i < n; i++)
        free(blocks[i]);
}

int main(void)
{
    stress_watchdog(60);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        puts("skipped: mlockall is refused (ulimit -l)");
        return SKIPPED;
    }
    for (int round = 0; round < 3; round++) {
        write_and_free(2000, N_BLOCKS);
        write_and_free(LARGE, N_LARGE);
        stress_sleep_ms(1200); /* long enough for a purge by age, twice over */
        require_zero(2000, N_BLOCKS);
        require_zero(LARGE, N_LARGE);
    }
    puts("locked memory: ok");
    return 0;
}
