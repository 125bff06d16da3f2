/* Phases: each starts new threads, which inherit what the phase before kept, exchange blocks
 * through a shared table, keep a quarter and end. The pattern is that of mstress: an allocator must
 * pass the memory of dead threads on, or it grows. */
#include "workloads.h"

#include <stdatomic.h>

enum { SEATS = 8, KEPT_MOST = 10000, EXCHANGE = 1000, PHASES = 20, STEPS = 60000, IDLE_MS = 2000 };

/* What passes from the thread of one phase to one of the next. */
struct seat {
    struct block *kept[KEPT_MOST];
    unsigned n_kept;
    struct tally tally;
    struct random random;
    unsigned n_steps;
};

static struct seat seats[SEATS];
static _Atomic(struct block *) exchange[EXCHANGE];

static struct block *take_kept(struct seat *seat, uint32_t index)
{
    struct block *block = seat->kept[index];
    seat->kept[index] = seat->kept[--seat->n_kept];
    return block;
}

/* One draw decides all, so that what is allocated does not depend on how the threads interleave. */
static void step(struct seat *seat)
{
    uint64_t drawn = random_next(&seat->random);
    unsigned kind = (unsigned)(drawn >> 61);

    if (kind < 5) {
        if (seat->n_kept == KEPT_MOST) {
            block_drop(&seat->tally, take_kept(seat, pick_below(drawn, seat->n_kept)));
        }
        size_t size = pick_pareto(random_next(&seat->random), 32768);
        seat->kept[seat->n_kept++] = block_new(&seat->tally, size, drawn);
    } else if (seat->n_kept > 0) {
        struct block *block = take_kept(seat, pick_below(drawn, seat->n_kept));
        if (kind < 7) {
            block_drop(&seat->tally, block);
        } else {
            block = atomic_exchange(&exchange[pick_size(drawn, 0, EXCHANGE - 1)], block);
            block_drop(&seat->tally, block);
        }
    }
}

static void *live_one_phase(void *arg)
{
    struct seat *seat = arg;
    unsigned survivors = 0;

    for (unsigned i = 0; i < seat->n_steps; i++) {
        step(seat);
    }
    for (unsigned i = 0; i < seat->n_kept; i++) {
        if (i % 4 == 0) {
            seat->kept[survivors++] = seat->kept[i];
        } else {
            block_drop(&seat->tally, seat->kept[i]);
        }
    }
    seat->n_kept = survivors;
    return NULL;
}

static void drop_all(struct tally *tally)
{
    for (unsigned i = 0; i < SEATS; i++) {
        while (seats[i].n_kept > 0) {
            block_drop(tally, take_kept(&seats[i], 0));
        }
    }
    for (unsigned i = 0; i < EXCHANGE; i++) {
        block_drop(tally, atomic_exchange(&exchange[i], NULL));
    }
}

struct outcome phases_run(double scale)
{
    struct outcome outcome = {0};
    unsigned n_phases = scaled(PHASES, scale);

    for (unsigned i = 0; i < SEATS; i++) {
        seats[i].random.state = 300 + i;
        seats[i].n_steps = STEPS;
    }
    for (unsigned phase = 0; phase < n_phases; phase++) {
        threads_run(SEATS, live_one_phase, seats, sizeof *seats);
    }
    drop_all(&outcome.tally);
    for (unsigned i = 0; i < SEATS; i++) {
        tally_add(&outcome.tally, &seats[i].tally);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}
