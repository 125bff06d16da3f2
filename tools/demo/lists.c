/* Demos in which the classic lists fail: two-megs, bucket-starvation, course9. The lab plays the
 * textbook's heap, the children do the same with a real malloc. */
#include "../lab/generate.h"
#include "../lab/replay.h"
#include "demo.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_strategy(struct demo_table *table, const char *strategy, const char *pattern,
                         const struct lab_choices *choices)
{
    static struct lab_result result;
    const struct lab_limits limits = {.seconds = 60};
    struct demo_column *column = &table->columns[table->n_columns++];
    struct trace trace;
    generator_run(generator_find(pattern), 1, &trace);
    lab_replay(&result, strategy_find(strategy), choices, &trace, &limits);
    snprintf(column->name, sizeof column->name, "%s", strategy);
    if (result.outcome != LAB_DONE) {
        snprintf(column->notes, sizeof column->notes, "%s\n", result.text);
    } else {
        demo_add(column, "requests not served", "", (double)result.n_failures);
        demo_add(column, "peak payload", "B", (double)result.peak_payload);
        demo_add(column, "peak heap", "B", (double)result.peak_heap);
        demo_add(column, "payload / heap", "%", 100 * lab_utilisation(&result));
        if (result.n_failures > 0)
            snprintf(column->notes, sizeof column->notes, "%s\n", result.failure);
    }
    trace_drop(&trace);
}

/* The same rows for a real malloc, whose heap is what became resident. */
static void report(double payload, double heap, int n_failures)
{
    demo_figure("requests not served", "", n_failures);
    demo_figure("peak payload", "B", payload);
    demo_figure("peak heap", "B", heap);
    if (heap > 0)
        demo_figure("payload / heap", "%", 100 * payload / heap);
}

/* ---- two-megs ------------------------------------------------------------------------------ */

enum { n_pieces = 100, piece_bytes = 2 * 1024 * 1024 / n_pieces };

static void run_two_megs(bool own_way)
{
    static void *pieces[n_pieces], *between[n_pieces];
    (void)own_way;
    const double before = demo_resident();
    for (int i = 0; i < n_pieces; i++) {
        pieces[i] = demo_take(piece_bytes);
        between[i] = demo_take(64);
    }
    for (int i = 0; i < n_pieces; i++)
        free(pieces[i]);
    const size_t wanted = (size_t)1024 * 1024;
    char *block = malloc(wanted);
    if (block != NULL)
        memset(block, 1, wanted);
    report(n_pieces * (piece_bytes + 64.0), demo_resident() - before, block == NULL);
    free(block);
    for (int i = 0; i < n_pieces; i++)
        free(between[i]);
}

static void add_two_megs(struct demo_table *table)
{
    const struct lab_choices fixed = {.heap_bytes = n_pieces * (size_t)(piece_bytes + 128)};
    add_strategy(table, "first-fit", "two-megs", &fixed);
    add_strategy(table, "best-fit", "two-megs", &fixed);
    add_strategy(table, "tlsf", "two-megs", &fixed);
}

const struct demo_scenario demo_two_megs = {
    .name = "two-megs",
    .what = "2 MiB free in a hundred pieces, and a request for 1 MiB",
    .story =
        "A hundred blocks of 20 KiB with small ones between them; the large ones are freed, then "
        "1 MiB is\nasked for. In a heap of fixed size that fails although twice as much is "
        "free. A real malloc\ngets another run of pages.",
    .run = run_two_megs,
    .add_lab = add_two_megs,
};

/* ---- bucket-starvation --------------------------------------------------------------------- */

enum { n_large = 200000, n_small = 300000, large_bytes = 120, small_bytes = 56 };

static void run_starvation(bool own_way)
{
    static void *blocks[n_small];
    (void)own_way;
    const double before = demo_resident();
    for (int i = 0; i < n_large; i++)
        blocks[i] = memset(demo_take(large_bytes), 1, large_bytes);
    const double peak = demo_resident() - before;
    for (int i = 0; i < n_large; i++)
        free(blocks[i]);
    for (int i = 0; i < n_small; i++)
        blocks[i] = memset(demo_take(small_bytes), 1, small_bytes);
    const double now = demo_resident() - before;
    report((double)n_large * large_bytes, now > peak ? now : peak, 0);
    for (int i = 0; i < n_small; i++)
        free(blocks[i]);
}

static void add_starvation(struct demo_table *table)
{
    static const struct lab_choices none;
    add_strategy(table, "buckets", "bucket-starvation", &none);
    add_strategy(table, "best-fit", "bucket-starvation", &none);
    add_strategy(table, "slab", "bucket-starvation", &none);
}

const struct demo_scenario demo_starvation = {
    .name = "bucket-starvation",
    .what = "one bucket overflows while its neighbour is empty",
    .story =
        "Blocks of 120 bytes, all freed; then blocks of 56 bytes. A list per power of two that "
        "never\nsplits keeps the first lot for ever and buys the second one new. (The lab plays "
        "4,000 and 6,000\nblocks, the processes fifty times as many.)",
    .run = run_starvation,
    .add_lab = add_starvation,
};

/* ---- course9 ------------------------------------------------------------------------------- */

static void run_course9(bool own_way)
{
    (void)own_way;
    void *p[6];
    size_t usable = 0;
    const double before = demo_resident();
    p[0] = malloc(16);
    p[1] = malloc(16);
    p[2] = malloc(20);
    free(p[1]);
    p[1] = malloc(16);
    p[3] = malloc(16);
    free(p[1]);
    p[4] = malloc(20);
    for (int i = 0; i < 5; i++)
        if (i != 1)
            usable += malloc_usable_size(p[i]);
    report(72, demo_resident() - before, p[4] == NULL);
    demo_figure("usable bytes of the live blocks", "B", (double)usable);
    for (int i = 0; i < 5; i++)
        if (i != 1)
            free(p[i]);
}

static void add_course9(struct demo_table *table)
{
    static const struct lab_choices hundred = {.heap_bytes = 100, .alignment = 1};
    static const struct lab_choices enough = {.heap_bytes = 256};
    add_strategy(table, "naive", "course9", &hundred);
    add_strategy(table, "best-fit", "course9", &enough);
    add_strategy(table, "buddy", "course9", &enough);
}

const struct demo_scenario demo_course9 = {
    .name = "course9",
    .what = "the exercise of the course: 20 do not fit although 48 are free",
    .story =
        "A hundred units: 16, 16, 20, the second one freed, 16, 16, the fourth one freed, then "
        "20.\nEvery step: ration sim --strategy=naive --heap=100 --step gen:course9\nThe real "
        "mallocs take whole pages: a few, or none at all when they have one already.",
    .run = run_course9,
    .add_lab = add_course9,
};
