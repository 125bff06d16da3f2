/* Swiss cheese: a list of many equal blocks, of which a random nine in ten are freed. The holes are
 * where they hurt. What is resident after three idle seconds shows who gives back more than whole
 * slabs. The list runs through the blocks, so that no table of pointers counts as memory. */
#include "workloads.h"

enum { IDLE_MS = 3000 };

struct cell {
    struct block block;
    struct cell *next;
};

static struct cell *build(struct tally *tally, struct random *random, unsigned n_cells,
                          size_t cell_bytes)
{
    struct cell *first = NULL, **last = &first;

    for (unsigned i = 0; i < n_cells; i++) {
        struct cell *cell = (struct cell *)block_new(tally, cell_bytes, random_next(random));
        cell->next = NULL;
        *last = cell;
        last = &cell->next;
    }
    return first;
}

/* Frees the cells for which the lot of `one_in` is not 0, and keeps the others linked. */
static void thin_out(struct tally *tally, struct random *random, struct cell **link,
                     uint32_t one_in)
{
    while (*link) {
        struct cell *cell = *link;
        if (pick_below(random_next(random), one_in) == 0) {
            link = &cell->next;
        } else {
            *link = cell->next;
            block_drop(tally, &cell->block);
        }
    }
}

static void drop_rest(struct tally *tally, struct cell *cell)
{
    while (cell) {
        struct cell *next = cell->next;
        block_drop(tally, &cell->block);
        cell = next;
    }
}

static struct outcome make_holes(unsigned n_cells, size_t cell_bytes)
{
    struct outcome outcome = {0};
    struct random random = {12};
    struct cell *cells = build(&outcome.tally, &random, n_cells, cell_bytes);

    thin_out(&outcome.tally, &random, &cells, 10);
    outcome_settle(&outcome, IDLE_MS);
    drop_rest(&outcome.tally, cells);
    return outcome;
}

struct outcome swiss_run(double scale)
{
    return make_holes(scaled(100000, scale), 1000);
}

struct outcome swiss64_run(double scale)
{
    return make_holes(scaled(2000000, scale), 64);
}
