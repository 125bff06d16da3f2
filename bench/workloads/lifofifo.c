/* Runs of blocks of which every second one is freed first in, first out, and the rest last in,
 * first out: the order in which a program drops things decides what an allocator can merge. The
 * pattern is that of sh6bench and sh8bench. */
#include "workloads.h"

enum { WORKERS = 2, RUN = 4000 };

struct worker {
    struct tally tally;
    struct random random;
    struct block *run[RUN];
    unsigned n_runs;
};

static void allocate_run(struct worker *worker)
{
    for (unsigned i = 0; i < RUN; i++) {
        uint64_t drawn = random_next(&worker->random);
        size_t highest = i % 16 == 0 ? 1024 : i % 4 == 0 ? 200 : 64;
        worker->run[i] = block_new(&worker->tally, pick_size(drawn, 16, highest), drawn);
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned n = 0; n < worker->n_runs; n++) {
        allocate_run(worker);
        for (unsigned i = 0; i < RUN; i += 2) {
            block_drop(&worker->tally, worker->run[i]);
        }
        for (unsigned i = RUN; i > 0; i -= 2) {
            block_drop(&worker->tally, worker->run[i - 1]);
        }
    }
    return NULL;
}

struct outcome lifofifo_run(double scale)
{
    static struct worker workers[WORKERS];
    struct outcome outcome = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].random.state = 500 + i;
        workers[i].n_runs = scaled(5000, scale);
    }
    threads_run(WORKERS, work, workers, sizeof *workers);
    for (unsigned i = 0; i < WORKERS; i++) {
        tally_add(&outcome.tally, &workers[i].tally);
    }
    return outcome;
}
