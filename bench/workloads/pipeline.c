/* Producers and consumers: some threads only allocate, the others only free. Memory flows one way
 * and has to find its way back. The pattern is that of xmalloc-test. Once with small blocks that are
 * filled, once with blocks of some KiB of which only the head is written. */
#include "workloads.h"

#include <pthread.h>

enum { PRODUCERS = 2, CONSUMERS = 2, BATCH_MOST = 256, PARCELS = 64 };

struct plan {
    unsigned batch; /* blocks in a parcel */
    size_t lowest, highest;
    struct block *(*make)(struct tally *tally, size_t size, uint64_t tag);
    void (*drop)(struct tally *tally, struct block *block);
};

struct parcel {
    struct block *blocks[BATCH_MOST];
};

/* A bounded queue of parcels; a null parcel ends one consumer. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct parcel *parcels[PARCELS + CONSUMERS];
    unsigned first, count;
};

struct worker {
    const struct plan *plan;
    struct tally tally;
    struct random random;
    unsigned n_parcels;
    int produces;
};

static struct parcel parcels[PARCELS];
static struct queue empty = {.lock = PTHREAD_MUTEX_INITIALIZER,
                             .changed = PTHREAD_COND_INITIALIZER};
static struct queue full = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static pthread_mutex_t producers_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned producers_left = PRODUCERS;

static void queue_put(struct queue *queue, struct parcel *parcel)
{
    pthread_mutex_lock(&queue->lock);
    queue->parcels[(queue->first + queue->count++) % (PARCELS + CONSUMERS)] = parcel;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static struct parcel *queue_take(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    struct parcel *parcel = queue->parcels[queue->first];
    queue->first = (queue->first + 1) % (PARCELS + CONSUMERS);
    queue->count--;
    pthread_mutex_unlock(&queue->lock);
    return parcel;
}

static void end_consumers_after_last_producer(void)
{
    pthread_mutex_lock(&producers_lock);
    unsigned left = --producers_left;
    pthread_mutex_unlock(&producers_lock);
    for (unsigned i = 0; left == 0 && i < CONSUMERS; i++) {
        queue_put(&full, NULL);
    }
}

static void produce(struct worker *worker)
{
    const struct plan *plan = worker->plan;

    for (unsigned n = 0; n < worker->n_parcels; n++) {
        struct parcel *parcel = queue_take(&empty);
        for (unsigned i = 0; i < plan->batch; i++) {
            uint64_t drawn = random_next(&worker->random);
            size_t size = pick_size(drawn, plan->lowest, plan->highest);
            parcel->blocks[i] = plan->make(&worker->tally, size, drawn);
        }
        queue_put(&full, parcel);
    }
    end_consumers_after_last_producer();
}

static void consume(struct worker *worker)
{
    for (struct parcel *parcel; (parcel = queue_take(&full)) != NULL;) {
        blocks_drop(&worker->tally, parcel->blocks, worker->plan->batch, worker->plan->drop);
        queue_put(&empty, parcel);
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    if (worker->produces) {
        produce(worker);
    } else {
        consume(worker);
    }
    return NULL;
}

static struct outcome run(const struct plan *plan, unsigned n_parcels)
{
    static struct worker workers[PRODUCERS + CONSUMERS];
    struct outcome outcome = {0};

    for (unsigned i = 0; i < PARCELS; i++) {
        queue_put(&empty, &parcels[i]);
    }
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++) {
        workers[i].plan = plan;
        workers[i].produces = i < PRODUCERS;
        workers[i].random.state = 200 + i;
        workers[i].n_parcels = n_parcels;
    }
    threads_run(PRODUCERS + CONSUMERS, work, workers, sizeof *workers);
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++) {
        tally_add(&outcome.tally, &workers[i].tally);
    }
    return outcome;
}

struct outcome pipeline_run(double scale)
{
    static const struct plan small = {256, 16, 256, block_new, block_drop};
    return run(&small, scaled(10000, scale));
}

struct outcome pipeline_wide_run(double scale)
{
    static const struct plan wide = {32, 2049, 8192, block_new_bare, block_drop_bare};
    return run(&wide, scaled(40000, scale));
}
