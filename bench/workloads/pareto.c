/* Sizes by a power law: most blocks are tiny, most bytes are in the few large ones. */
#include "workloads.h"

enum { SLOTS = 20000, HIGHEST_BYTES = 65536 };

struct outcome pareto_run(double scale)
{
    static struct block *slots[SLOTS];
    struct outcome outcome = {0};
    struct random random = {5};
    unsigned n_replacements = scaled(14000000, scale);

    for (unsigned i = 0; i < n_replacements; i++) {
        uint64_t drawn = random_next(&random);
        struct block **slot = &slots[pick_below(drawn, SLOTS)];
        block_drop(&outcome.tally, *slot);
        *slot = block_new(&outcome.tally, pick_pareto(random_next(&random), HIGHEST_BYTES), drawn);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        block_drop(&outcome.tally, slots[i]);
    }
    return outcome;
}
