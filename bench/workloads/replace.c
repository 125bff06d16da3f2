/* Random replacement: a table of live blocks, of which a random one is freed and made anew, size
 * and all. No order of allocation survives, as in a program that has been up for a while. */
#include "workloads.h"

enum { SLOTS = 10000, WORKERS = 4, SLOTS_EACH = 5000 };

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

struct replacer {
    struct block *slots[SLOTS_EACH];
    struct tally tally;
    struct random random;
    unsigned n_replacements;
};

static void *replace_own(void *arg)
{
    struct replacer *replacer = arg;

    for (unsigned i = 0; i < replacer->n_replacements; i++) {
        uint64_t drawn = random_next(&replacer->random);
        struct block **slot = &replacer->slots[pick_below(drawn, SLOTS_EACH)];
        block_drop(&replacer->tally, *slot);
        *slot = block_new(&replacer->tally, pick_size(drawn, 16, 2000), drawn);
    }
    for (unsigned i = 0; i < SLOTS_EACH; i++) {
        block_drop(&replacer->tally, replacer->slots[i]);
    }
    return NULL;
}

/* Threads that have nothing to do with each other: what one frees, the allocator may still give to another. */
struct outcome replace_threads_run(double scale)
{
    static struct replacer replacers[WORKERS];
    struct outcome outcome = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        replacers[i].random.state = 30 + i;
        replacers[i].n_replacements = scaled(2000000, scale);
    }
    threads_run(WORKERS, replace_own, replacers, sizeof *replacers);
    for (unsigned i = 0; i < WORKERS; i++) {
        tally_add(&outcome.tally, &replacers[i].tally);
    }
    return outcome;
}
