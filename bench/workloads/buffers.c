/* Buffers of up to 8 MiB, as image and media programs use them: replaced at random, all touched. */
#include "workloads.h"

enum { SLOTS = 12, LOWEST_BYTES = 256 << 10, HIGHEST_BYTES = 8 << 20 };

struct outcome buffers_run(double scale)
{
    struct block *slots[SLOTS] = {0};
    struct outcome outcome = {0};
    struct random random = {6};
    unsigned n_replacements = scaled(1000, scale);

    for (unsigned i = 0; i < n_replacements; i++) {
        uint64_t drawn = random_next(&random);
        struct block **slot = &slots[pick_below(drawn, SLOTS)];
        block_drop(&outcome.tally, *slot);
        *slot = block_new(&outcome.tally, pick_size(drawn, LOWEST_BYTES, HIGHEST_BYTES), drawn);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        block_drop(&outcome.tally, slots[i]);
    }
    return outcome;
}
