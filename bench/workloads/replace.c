/* Random replacement: a table of live blocks, of which a random one is freed and made anew, size
 * and all. No order of allocation survives, as in a program that has been up for a while. */
#include "workloads.h"

enum { SLOTS = 10000, WORKERS = 4, SLOTS_EACH = 5000, BUFFERS_EACH = 20 };

struct replacer {
    struct block *slots[SLOTS];
    unsigned n_slots; /* of them in use */
    unsigned n_replacements;
    size_t lowest, highest;
    struct tally tally;
    struct random random;
};

static void *replace_in_slots(void *arg)
{
    struct replacer *replacer = arg;

    for (unsigned i = 0; i < replacer->n_replacements; i++) {
        uint64_t drawn = random_next(&replacer->random);
        struct block **slot = &replacer->slots[pick_below(drawn, replacer->n_slots)];
        block_drop(&replacer->tally, *slot);
        size_t size = pick_size(drawn, replacer->lowest, replacer->highest);
        *slot = block_new(&replacer->tally, size, drawn);
    }
    blocks_drop(&replacer->tally, replacer->slots, replacer->n_slots, block_drop);
    return NULL;
}

static struct outcome replace_alone(unsigned n_replacements, size_t highest)
{
    static struct replacer replacer = {.n_slots = SLOTS, .lowest = 16, .random = {3}};

    replacer.n_replacements = n_replacements;
    replacer.highest = highest;
    replace_in_slots(&replacer);
    return (struct outcome){.tally = replacer.tally};
}

struct outcome replace_small_run(double scale)
{
    return replace_alone(scaled(22000000, scale), 128);
}

struct outcome replace_wide_run(double scale)
{
    return replace_alone(scaled(16000000, scale), 1024);
}

/* Threads that have nothing to do with each other: what one frees, the allocator may still give to another. */
static struct outcome replace_in_threads(const struct replacer *each)
{
    static struct replacer replacers[WORKERS];
    struct outcome outcome = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        replacers[i] = *each;
        replacers[i].random.state = 30 + i;
    }
    threads_run(WORKERS, replace_in_slots, replacers, sizeof *replacers);
    for (unsigned i = 0; i < WORKERS; i++) {
        tally_add(&outcome.tally, &replacers[i].tally);
    }
    return outcome;
}

struct outcome replace_threads_run(double scale)
{
    static const struct replacer each = {.n_slots = SLOTS_EACH, .lowest = 16, .highest = 2000};
    struct replacer replacer = each;

    replacer.n_replacements = scaled(2000000, scale);
    return replace_in_threads(&replacer);
}

/* Buffers: longer than what allocators keep in classes, as a rule. */
struct outcome replace_large_run(double scale)
{
    static const struct replacer each = {
        .n_slots = BUFFERS_EACH, .lowest = 20 << 10, .highest = 128 << 10};
    struct replacer replacer = each;

    replacer.n_replacements = scaled(300000, scale);
    return replace_in_threads(&replacer);
}
