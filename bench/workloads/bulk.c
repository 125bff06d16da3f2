/* Bulk: records with a name and a body are linked up to about 100 MiB, walked, and torn down in the
 * order in which they were made; three times. Two seconds after the last, what is resident? */
#include "workloads.h"

#include <stdlib.h>

enum { RECORDS = 500000, ROUNDS = 3, IDLE_MS = 2000 };

struct record {
    struct record *next;
    struct block *name, *body;
};

static struct record *build(struct tally *tally, struct random *random, unsigned n_records)
{
    struct record *first = NULL, **last = &first;

    for (unsigned i = 0; i < n_records; i++) {
        struct record *record = malloc(sizeof *record);
        if (!record) {
            die("malloc returned null");
        }
        uint64_t drawn = random_next(random);
        record->next = NULL;
        record->name = block_new(tally, pick_size(drawn, 16, 48), drawn);
        record->body = block_new(tally, pick_size(drawn >> 8, 32, 250), drawn);
        tally->operations++;
        *last = record;
        last = &record->next;
    }
    return first;
}

static void tear_down(struct tally *tally, struct record *record)
{
    while (record) {
        struct record *next = record->next;
        block_drop(tally, record->name);
        block_drop(tally, record->body);
        free(record);
        tally->operations++;
        record = next;
    }
}

struct outcome bulk_run(double scale)
{
    struct outcome outcome = {0};
    struct random random = {11};

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct record *records = build(&outcome.tally, &random, scaled(RECORDS, scale));
        tear_down(&outcome.tally, records);
    }
    outcome_settle(&outcome, IDLE_MS);
    return outcome;
}
