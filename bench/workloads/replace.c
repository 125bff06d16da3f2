/* Random replacement: a table of live blocks, of which a random one is freed and made anew, size
 * and all. No order of allocation survives, as in a program that has been up for a while. */
#include "workloads.h"

enum { SLOTS = 10000 };

static struct outcome replace_in_slots(unsigned n_replacements, size_t lowest, size_t highest)
{
    static struct block *slots[SLOTS];
    struct outcome outcome = {0};
    struct random random = {3};

    for (unsigned i = 0; i < n_replacements; i++) {
        uint64_t drawn = random_next(&random);
        struct block **slot = &slots[pick_below(drawn, SLOTS)];
        block_drop(&outcome.tally, *slot);
        *slot = block_new(&outcome.tally, pick_size(drawn, lowest, highest), drawn);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        block_drop(&outcome.tally, slots[i]);
    }
    return outcome;
}

struct outcome replace_small_run(double scale)
{
    return replace_in_slots(scaled(22000000, scale), 16, 128);
}

struct outcome replace_wide_run(double scale)
{
    return replace_in_slots(scaled(16000000, scale), 16, 1024);
}
