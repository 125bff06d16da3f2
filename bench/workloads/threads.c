/* Many short threads: each allocates a little, leaves one block to its parent and ends. What does
 * an allocator's first call in a thread cost, and what does a thread leave behind? */
#include "workloads.h"

enum { AT_ONCE = 8, BLOCKS = 64 };

struct errand {
    struct block *left;
    struct tally tally;
    struct random random;
};

static void *run_errand(void *arg)
{
    struct errand *errand = arg;
    struct block *blocks[BLOCKS];

    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t drawn = random_next(&errand->random);
        blocks[i] = block_new(&errand->tally, pick_size(drawn, 16, 2048), drawn);
    }
    for (unsigned i = 1; i < BLOCKS; i++) {
        block_drop(&errand->tally, blocks[i]);
    }
    errand->left = blocks[0];
    return NULL;
}

struct outcome threads_short_run(double scale)
{
    static struct errand errands[AT_ONCE];
    struct outcome outcome = {0};
    unsigned n_rounds = scaled(1500, scale);

    for (unsigned i = 0; i < AT_ONCE; i++) {
        errands[i].random.state = 600 + i;
    }
    for (unsigned round = 0; round < n_rounds; round++) {
        threads_run(AT_ONCE, run_errand, errands, sizeof *errands);
        for (unsigned i = 0; i < AT_ONCE; i++) {
            block_drop(&outcome.tally, errands[i].left);
        }
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        tally_add(&outcome.tally, &errands[i].tally);
    }
    return outcome;
}
