/* Mixed sizes up to 16 KiB in several threads; one block in eight is mailed to a neighbour, who
 * frees it. The pattern is that of rptest. */
#include "workloads.h"

#include <stdatomic.h>

enum { WORKERS = 4, SLOTS = 1000, MAILBOX = 64, HIGHEST_BYTES = 16384, IDLE_MS = 2000 };

struct worker {
    struct block *slots[SLOTS];
    _Atomic(struct block *) mailbox[MAILBOX];
    struct worker *neighbour;
    struct tally tally;
    struct random random;
    unsigned n_replacements;
};

static struct worker workers[WORKERS];

static void replace_one(struct worker *worker)
{
    uint64_t drawn = random_next(&worker->random);
    struct block **slot = &worker->slots[pick_below(drawn, SLOTS)];
    unsigned box = (unsigned)(drawn >> 8) % MAILBOX;

    if (*slot && (drawn & 7) == 0) {
        *slot = atomic_exchange(&worker->neighbour->mailbox[box], *slot);
    }
    block_drop(&worker->tally, *slot);
    block_drop(&worker->tally, atomic_exchange(&worker->mailbox[box], NULL));
    uint64_t tag = random_next(&worker->random);
    *slot = block_new(&worker->tally, pick_size(tag, 16, HIGHEST_BYTES), tag);
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned i = 0; i < worker->n_replacements; i++) {
        replace_one(worker);
    }
    blocks_drop(&worker->tally, worker->slots, SLOTS, block_drop);
    return NULL;
}

struct outcome mixed_run(double scale)
{
    struct outcome outcome = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].neighbour = &workers[(i + 1) % WORKERS];
        workers[i].random.state = 400 + i;
        workers[i].n_replacements = scaled(800000, scale);
    }
    threads_run(WORKERS, work, workers, sizeof *workers);
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned box = 0; box < MAILBOX; box++) {
            block_drop(&workers[i].tally, workers[i].mailbox[box]);
        }
        tally_add(&outcome.tally, &workers[i].tally);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}
