/* Server threads that hand objects on: a thread works on its line's table of blocks for a while,
 * then starts a successor, gives it the table and exits. Blocks are thus freed by threads that did
 * not allocate them, whose makers are gone. The pattern is that of Larson and Krishnan (1998); as
 * in their program, the row larson has fewer lines and writes to the head of a block only. */
#include "workloads.h"

#include <semaphore.h>

enum { SERVER_LINES = 4, LARSON_LINES = 2, LINES_MAX = SERVER_LINES, SLOTS = 5000, IDLE_MS = 2000 };

struct line {
    struct block *slots[SLOTS];
    struct tally tally;
    struct random random;
    unsigned generations_left;
    unsigned replacements; /* in each generation */
    struct block *(*make)(struct tally *tally, size_t size, uint64_t tag);
    void (*drop)(struct tally *tally, struct block *block);
};

static struct line lines[LINES_MAX];
static sem_t line_ended;

static struct block *make(struct line *line, uint64_t drawn)
{
    return line->make(&line->tally, pick_size(drawn, 16, 1000), drawn);
}

static void replace_one(struct line *line)
{
    uint64_t drawn = random_next(&line->random);
    struct block **slot = &line->slots[pick_below(drawn, SLOTS)];

    line->drop(&line->tally, *slot);
    *slot = make(line, drawn);
}

static void *serve(void *arg)
{
    struct line *line = arg;

    for (unsigned i = 0; i < line->replacements; i++) {
        replace_one(line);
    }
    if (--line->generations_left > 0) {
        thread_detach(serve, line);
    } else {
        sem_post(&line_ended);
    }
    return NULL;
}

static void line_begin(struct line *line, const struct line *like, unsigned seed)
{
    *line = *like;
    line->random.state = seed;
    for (unsigned s = 0; s < SLOTS; s++) {
        line->slots[s] = make(line, random_next(&line->random));
    }
}

static void line_end(struct line *line, struct tally *sum)
{
    blocks_drop(&line->tally, line->slots, SLOTS, line->drop);
    tally_add(sum, &line->tally);
}

static struct outcome serve_in_lines(unsigned n_lines, const struct line *like)
{
    struct outcome outcome = {0};

    sem_init(&line_ended, 0, 0);
    for (unsigned i = 0; i < n_lines; i++) {
        line_begin(&lines[i], like, 100 + i);
    }
    for (unsigned i = 0; i < n_lines; i++) {
        thread_detach(serve, &lines[i]);
    }
    for (unsigned i = 0; i < n_lines; i++) {
        sem_wait(&line_ended);
    }
    for (unsigned i = 0; i < n_lines; i++) {
        line_end(&lines[i], &outcome.tally);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}

struct outcome server_run(double scale)
{
    static struct line like = {.make = block_new, .drop = block_drop, .replacements = 25000};

    like.generations_left = scaled(60, scale);
    return serve_in_lines(SERVER_LINES, &like);
}

struct outcome larson_run(double scale)
{
    static struct line like = {
        .make = block_new_bare, .drop = block_drop_bare, .replacements = 500000};

    like.generations_left = scaled(40, scale);
    return serve_in_lines(LARSON_LINES, &like);
}
