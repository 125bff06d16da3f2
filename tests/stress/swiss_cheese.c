/* 100,000 blocks of 1000 bytes, a random 90 % freed, then nothing is called for two seconds:
   resident memory must fall to at most 38 MiB above what it was before (from about 98). */
#include "stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_BLOCKS = 100000, BLOCK_BYTES = 1000, LIMIT_MIB = 38 };

static char *blocks[N_BLOCKS];
static unsigned order[N_BLOCKS];

static void shuffle(void)
{
    uint32_t state = 2463534242u;
    for (unsigned i = 0; i < N_BLOCKS; i++)
        order[i] = i;
    for (unsigned i = N_BLOCKS - 1; i > 0; i--) {
        unsigned k = stress_random(&state) % (i + 1);
        unsigned kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
}

static size_t above(size_t base)
{
    size_t now = stress_resident_bytes();
    return now > base ? (now - base) >> 20 : 0;
}

int main(void)
{
    stress_watchdog(60);
    memset(blocks, 0, sizeof blocks);
    blocks[0] = (char *)blocks;
    shuffle();
    size_t base = stress_resident_bytes();
    for (int i = 0; i < N_BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        if (blocks[i] == NULL)
            stress_fail("malloc(1000): got NULL");
        memset(blocks[i], i % 251, BLOCK_BYTES);
    }
    size_t full = above(base);
    for (int i = 0; i < N_BLOCKS / 10 * 9; i++)
        free(blocks[order[i]]);
    size_t freed = above(base);
    double start = stress_seconds();
    while (above(base) > LIMIT_MIB && stress_seconds() < start + 2.0)
        stress_sleep_ms(50);
    size_t idle = above(base);
    double waited = stress_seconds() - start;
    for (int i = 0; i < 100; i++)
        free(malloc((size_t)i * 100));
    for (int i = N_BLOCKS / 10 * 9; i < N_BLOCKS; i++)
        for (int k = 0; k < BLOCK_BYTES; k++)
            if (blocks[order[i]][k] != (char)(order[i] % 251))
                stress_fail("block %u lost byte %d", order[i], k);
    printf(
        "resident above the start: full %zu MiB, 90 %% freed %zu, idle %.1f s %zu, after 100 more "
        "operations %zu\n",
        full, freed, waited, idle, above(base));
    if (idle > LIMIT_MIB)
        stress_fail("expected at most %d MiB after two idle seconds, got %zu MiB", LIMIT_MIB, idle);
    return 0;
}
