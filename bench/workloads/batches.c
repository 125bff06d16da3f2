/* Batches: as a parser or a request handler does, allocate a hundred things, then drop them all. */
#include "workloads.h"

enum { BATCH = 100 };

struct outcome batches_run(double scale)
{
    struct outcome outcome = {0};
    struct random random = {2};
    struct block *batch[BATCH];
    unsigned n_batches = scaled(300000, scale);

    for (unsigned round = 0; round < n_batches; round++) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t drawn = random_next(&random);
            batch[i] = block_new(&outcome.tally, pick_size(drawn, 16, 512), drawn);
        }
        for (unsigned i = 0; i < BATCH; i++) {
            block_drop(&outcome.tally, batch[i]);
        }
    }
    return outcome;
}
