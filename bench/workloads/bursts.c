/* Bursts: two threads free some dozens of their blocks, then allocate as many, all zeroed; every
 * second burst a thread also makes some for the other one, which frees them all when it next looks.
 * Sizes go evenly up to 16 KiB, so that most of the memory is in blocks of several KiB. The pattern
 * is that of rptest. */
#include "workloads.h"

#include <stdatomic.h>

enum { WORKERS = 2, SLOTS = 1000, PARCEL = 100, HIGHEST_BYTES = 16000, IDLE_MS = 2000 };

/* Blocks on their way to the other thread. */
struct parcel {
    struct block head; /* a parcel is a block as well */
    unsigned n;
    struct block *blocks[PARCEL];
};

struct worker {
    struct block *slots[SLOTS];
    _Atomic(struct parcel *) mailbox;
    struct worker *other;
    struct tally tally;
    struct random random;
    unsigned n_bursts;
};

static struct worker workers[WORKERS];

static struct block *make(struct worker *worker)
{
    uint64_t drawn = random_next(&worker->random);
    return block_new_zeroed(&worker->tally, pick_size(drawn, 16, HIGHEST_BYTES), drawn);
}

static struct block **pick_slot(struct worker *worker)
{
    return &worker->slots[pick_below(random_next(&worker->random), SLOTS)];
}

static unsigned pick_burst(struct worker *worker)
{
    return 30 + pick_below(random_next(&worker->random), PARCEL - 30);
}

static void parcel_drop(struct worker *worker, struct parcel *parcel)
{
    if (!parcel) {
        return;
    }
    blocks_drop(&worker->tally, parcel->blocks, parcel->n, block_drop_bare);
    block_drop_bare(&worker->tally, (struct block *)parcel);
}

static struct parcel *parcel_new(struct worker *worker)
{
    uint64_t tag = random_next(&worker->random);
    struct parcel *parcel = (struct parcel *)block_new_bare(&worker->tally, sizeof *parcel, tag);

    parcel->n = pick_burst(worker);
    for (unsigned i = 0; i < parcel->n; i++) {
        parcel->blocks[i] = make(worker);
    }
    return parcel;
}

static void free_burst(struct worker *worker)
{
    for (unsigned n = pick_burst(worker); n > 0; n--) {
        struct block **slot = pick_slot(worker);
        block_drop_bare(&worker->tally, *slot);
        *slot = NULL;
    }
}

static void make_burst(struct worker *worker)
{
    for (unsigned n = pick_burst(worker); n > 0; n--) {
        struct block **slot = pick_slot(worker);
        block_drop_bare(&worker->tally, *slot);
        *slot = make(worker);
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned i = 0; i < worker->n_bursts; i++) {
        free_burst(worker);
        parcel_drop(worker, atomic_exchange(&worker->mailbox, NULL));
        make_burst(worker);
        if (i % 2 == 0) {
            parcel_drop(worker, atomic_exchange(&worker->other->mailbox, parcel_new(worker)));
        }
    }
    return NULL;
}

static void worker_end(struct worker *worker)
{
    blocks_drop(&worker->tally, worker->slots, SLOTS, block_drop_bare);
    parcel_drop(worker, worker->mailbox);
}

struct outcome bursts_run(double scale)
{
    struct outcome outcome = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].other = &workers[(i + 1) % WORKERS];
        workers[i].random.state = 900 + i;
        workers[i].n_bursts = scaled(20000, scale);
    }
    threads_run(WORKERS, work, workers, sizeof *workers);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_end(&workers[i]);
        tally_add(&outcome.tally, &workers[i].tally);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}
