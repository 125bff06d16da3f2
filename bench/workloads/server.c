/* Server threads that hand objects on: a thread works on its line's table of blocks for a while,
 * then starts a successor, gives it the table and exits. Blocks are thus freed by threads that did
 * not allocate them, whose makers are gone. The pattern is that of Larson and Krishnan (1998). */
#include "workloads.h"

#include <semaphore.h>

enum { LINES = 4, SLOTS = 5000, REPLACEMENTS = 25000, GENERATIONS = 60, IDLE_MS = 2000 };

struct line {
    struct block *slots[SLOTS];
    struct tally tally;
    struct random random;
    unsigned generations_left;
};

static struct line lines[LINES];
static sem_t line_ended;

static void replace_one(struct line *line)
{
    uint64_t drawn = random_next(&line->random);
    struct block **slot = &line->slots[pick_below(drawn, SLOTS)];

    block_drop(&line->tally, *slot);
    *slot = block_new(&line->tally, pick_size(drawn, 16, 1000), drawn);
}

static void *serve(void *arg)
{
    struct line *line = arg;

    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        replace_one(line);
    }
    if (--line->generations_left > 0) {
        thread_detach(serve, line);
    } else {
        sem_post(&line_ended);
    }
    return NULL;
}

struct outcome server_run(double scale)
{
    struct outcome outcome = {0};

    sem_init(&line_ended, 0, 0);
    for (unsigned i = 0; i < LINES; i++) {
        lines[i].random.state = 100 + i;
        lines[i].generations_left = scaled(GENERATIONS, scale);
        for (unsigned s = 0; s < SLOTS; s++) {
            uint64_t drawn = random_next(&lines[i].random);
            lines[i].slots[s] = block_new(&lines[i].tally, pick_size(drawn, 16, 1000), drawn);
        }
    }
    for (unsigned i = 0; i < LINES; i++) {
        thread_detach(serve, &lines[i]);
    }
    for (unsigned i = 0; i < LINES; i++) {
        sem_wait(&line_ended);
    }
    for (unsigned i = 0; i < LINES; i++) {
        for (unsigned s = 0; s < SLOTS; s++) {
            block_drop(&lines[i].tally, lines[i].slots[s]);
        }
        tally_add(&outcome.tally, &lines[i].tally);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}
