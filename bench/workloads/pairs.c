/* Immediate pairs: the block that was just freed is the one wanted next. */
#include "workloads.h"

struct outcome pairs_run(double scale)
{
    static const size_t sizes[16] = {64,  32, 16,  48, 128, 64, 200, 24,
                                     512, 40, 100, 64, 32,  80, 256, 1000};
    struct outcome outcome = {0};
    struct random random = {1};
    unsigned n_pairs = scaled(40000000, scale);

    for (unsigned i = 0; i < n_pairs; i++) {
        struct block *block = block_new(&outcome.tally, sizes[i & 15], random_next(&random));
        block_drop(&outcome.tally, block);
    }
    return outcome;
}
