#include "strategy.h"
#include "memory.h"
#include <ration/buddy.h>
#include <ration/tlsf.h>
#include <stdlib.h>
#include <string.h>

/* ---- the fit policies: one engine, five choices ------------------------------------------- */

/* The five differ in this row only. */
struct fit_row {
    const char *name;
    enum ration_fit_policy policy;
    enum ration_fit_order order;
};

static const struct fit_row fit_rows[] = {
    {"implicit", RATION_FIT_FIRST, RATION_FIT_IMPLICIT},
    {"first-fit", RATION_FIT_FIRST, RATION_FIT_ADDRESS},
    {"next-fit", RATION_FIT_NEXT, RATION_FIT_ADDRESS},
    {"best-fit", RATION_FIT_BEST, RATION_FIT_ADDRESS},
    {"worst-fit", RATION_FIT_WORST, RATION_FIT_ADDRESS},
    {"segregated-fit", RATION_FIT_SEGREGATED, RATION_FIT_SIZE},
};

static void *grow_space(void *context, intptr_t increment)
{
    return space_move_break(context, increment);
}

static int choose_order(const char *given, enum ration_fit_order *order)
{
    static const struct {
        const char *name;
        enum ration_fit_order order;
    } orders[] = {{"lifo", RATION_FIT_LIFO},
                  {"address", RATION_FIT_ADDRESS},
                  {"size", RATION_FIT_SIZE},
                  {"implicit", RATION_FIT_IMPLICIT}};
    if (given == NULL)
        return 0;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        if (strcmp(given, orders[i].name) == 0) {
            *order = orders[i].order;
            return 0;
        }
    }
    return -1;
}

static int choose_coalescing(const char *given, enum ration_fit_coalescing *coalescing)
{
    static const char *const names[] = {"immediate", "deferred", "never"};
    static const enum ration_fit_coalescing values[] = {RATION_FIT_IMMEDIATE, RATION_FIT_DEFERRED,
                                                        RATION_FIT_NEVER};
    *coalescing = RATION_FIT_IMMEDIATE;
    for (int i = 0; given != NULL && i < 4; i++) {
        if (i == 3)
            return -1;
        if (strcmp(given, names[i]) == 0) {
            *coalescing = values[i];
            return 0;
        }
    }
    return 0;
}

static int open_fit(struct lab_heap *lab, const struct lab_choices *choices,
                    ration_observe_fn *observe, void *context, const char **message)
{
    const struct fit_row *row = fit_rows;
    while (strcmp(row->name, lab->strategy->name) != 0)
        row++;
    struct ration_fit_options options = {
        .name = row->name,
        .policy = row->policy,
        .order = row->order,
        .no_splitting = choices->no_split,
        .alignment = choices->alignment == 8 ? 8 : 16,
        .grow = grow_space,
        .grow_context = &lab->space,
        .observe = observe,
        .observe_context = context,
    };
    if (choose_order(choices->order, &options.order) != 0) {
        *message = "--order is lifo, address, size or implicit";
        return -1;
    }
    if (choose_coalescing(choices->coalesce, &options.coalescing) != 0) {
        *message = "--coalesce is immediate, deferred or never";
        return -1;
    }
    struct ration_fit *fit = lab_allocate(1, sizeof *fit);
    lab->engine = fit;
    lab->alignment = options.alignment;
    lab->heap = ration_fit_init(fit, NULL, 0, &options);
    if (lab->heap == NULL) {
        *message = "the fit heap refused this combination of --order, --coalesce and --align";
        return -1;
    }
    return 0;
}

/* ---- buddy and TLSF: a fixed buffer, and a break that follows ----------------------------- */

enum { most_table_bytes = 1 << 26 };

static int open_buddy(struct lab_heap *lab, const struct lab_choices *choices,
                      ration_observe_fn *observe, void *context, const char **message)
{
    struct ration_buddy *buddy = lab_allocate(1, sizeof *buddy);
    lab->engine = buddy;
    const size_t bytes = lab->space.limit_bytes;
    size_t min_block = choices->min_block > 0 ? choices->min_block : 32;
    while (bytes / min_block > most_table_bytes)
        min_block *= 2;
    const size_t table_bytes = RATION_BUDDY_TABLE_BYTES(bytes, min_block);
    void *table = lab_allocate(table_bytes > 0 ? table_bytes : 1, 1);
    const struct ration_buddy_options options = {.name = "buddy",
                                                 .min_block = min_block,
                                                 .table = table,
                                                 .table_bytes = table_bytes,
                                                 .observe = observe,
                                                 .observe_context = context};
    lab->table = table;
    lab->heap = ration_buddy_init(buddy, lab->space.brk.start, bytes, &options);
    if (lab->heap == NULL) {
        *message = "the smallest buddy block is a power of two, at least 16, and the heap has "
                   "room for one";
        return -1;
    }
    lab->alignment = 16;
    lab->break_follows_blocks = true;
    lab->table_per_block = min_block;
    lab->buffer_end = lab->space.brk.start + bytes;
    return 0;
}

static int open_tlsf(struct lab_heap *lab, const struct lab_choices *choices,
                     ration_observe_fn *observe, void *context, const char **message)
{
    (void)choices;
    struct ration_tlsf *tlsf = lab_allocate(1, sizeof *tlsf);
    lab->engine = tlsf;
    size_t bytes = lab->space.limit_bytes;
    if (bytes > RATION_TLSF_MAX_BYTES)
        bytes = RATION_TLSF_MAX_BYTES;
    const struct ration_tlsf_options options = {
        .name = "tlsf", .observe = observe, .observe_context = context};
    lab->heap = ration_tlsf_init(tlsf, lab->space.brk.start, bytes, &options);
    if (lab->heap == NULL) {
        *message = "the heap has no room for one TLSF block";
        return -1;
    }
    lab->alignment = 16;
    lab->break_follows_blocks = true;
    lab->buffer_end = lab->space.brk.start + bytes;
    return 0;
}

/* ---- table -------------------------------------------------------------------------------- */

#define FIT_STRATEGY(identifier, label, text)                                                      \
    static const struct lab_strategy identifier = {.name = (label),                                \
                                                   .what = (text),                                 \
                                                   .in_all = true,                                 \
                                                   .header_bytes = 8,                              \
                                                   .least_block = 16,                              \
                                                   .open = open_fit}

FIT_STRATEGY(strategy_implicit, "implicit",
             "no list: a search walks all blocks, live ones too; first fit");
FIT_STRATEGY(strategy_first_fit, "first-fit",
             "one list by address, the first that is large enough");
FIT_STRATEGY(strategy_next_fit, "next-fit", "the same, from where the last search ended");
FIT_STRATEGY(strategy_best_fit, "best-fit",
             "one list by address, the smallest that is large enough");
FIT_STRATEGY(strategy_worst_fit, "worst-fit", "one list by address, the largest");
FIT_STRATEGY(
    strategy_segregated_fit, "segregated-fit",
    "a list per range of sizes, smallest first; the first that fits, then any larger list");

static const struct lab_strategy strategy_buddy = {
    .name = "buddy",
    .what = "powers of two, halved and merged again; a byte of table per smallest block",
    .in_all = true,
    .least_block = 32,
    .open = open_buddy,
};

static const struct lab_strategy strategy_tlsf = {
    .name = "tlsf",
    .what = "two levels of lists found by bit scans; constant time",
    .in_all = true,
    .header_bytes = 8,
    .least_block = 16,
    .open = open_tlsf,
};

static const struct lab_strategy strategy_ration = {
    .name = "ration",
    .what = "the real library in a process of its own; heap size by resident pages",
    .in_all = true,
    .is_process = true,
};

static const struct lab_strategy strategy_system = {
    .name = "system",
    .what = "the C library's malloc in a process of its own; heap size by resident pages",
    .is_process = true,
};

static const struct lab_strategy *const strategies[] = {
    &strategy_implicit,  &strategy_first_fit,      &strategy_next_fit,      &strategy_best_fit,
    &strategy_worst_fit, &strategy_segregated_fit, &strategy_buckets,       &strategy_buddy,
    &strategy_tlsf,      &strategy_zones,          &strategy_ptmalloc,      &strategy_slab,
    &strategy_ration,    &strategy_naive,          &strategy_buckets_range, &strategy_system,
};

enum { n_strategies = sizeof strategies / sizeof strategies[0] };

const struct lab_strategy *strategy_at(size_t index)
{
    return index < n_strategies ? strategies[index] : NULL;
}

const struct lab_strategy *strategy_find(const char *name)
{
    for (size_t i = 0; i < n_strategies; i++)
        if (strcmp(strategies[i]->name, name) == 0)
            return strategies[i];
    return NULL;
}

/* ---- one heap ----------------------------------------------------------------------------- */

/* Room for the worst that a strategy does to this trace: powers of two double it, and holes may
 * do so again. It is address space, not memory. */
static size_t limit_for(uint64_t peak_payload, size_t peak_live)
{
    const uint64_t need = 8 * (peak_payload + 64 * (uint64_t)peak_live) + (1 << 20);
    const uint64_t most = UINT64_C(1) << 37;
    uint64_t limit = 1 << 20;
    while (limit < need && limit < most)
        limit *= 2;
    return limit;
}

int lab_open(struct lab_heap *lab, const struct lab_strategy *strategy,
             const struct lab_choices *choices, uint64_t peak_payload, size_t peak_live,
             ration_observe_fn *observe, void *context, const char **message)
{
    *lab = (struct lab_heap){.strategy = strategy};
    const size_t limit =
        choices->heap_bytes > 0 ? choices->heap_bytes : limit_for(peak_payload, peak_live);
    if (space_open(&lab->space, limit) != 0) {
        *message = "the system has no address space for a heap of that size (see --heap)";
        return -1;
    }
    if (strategy->open(lab, choices, observe, context, message) == 0)
        return 0;
    space_close(&lab->space);
    free(lab->engine);
    free(lab->table);
    return -1;
}

void lab_close(struct lab_heap *lab)
{
    ration_heap_destroy(lab->heap);
    free(lab->engine);
    free(lab->table);
    space_close(&lab->space);
}

void lab_follow(struct lab_heap *lab, const void *payload)
{
    if (!lab->break_follows_blocks || payload == NULL)
        return;
    const char *end = (const char *)payload + ration_heap_usable_size(lab->heap, payload);
    if (end <= lab->space.brk.end)
        return;
    const size_t more = (size_t)(end - lab->space.brk.end);
    space_move_break(&lab->space, (intptr_t)more);
    if (lab->table_per_block > 0) {
        const size_t table = brk_bytes(&lab->space.brk) / lab->table_per_block;
        space_charge_table(&lab->space, (intptr_t)table - (intptr_t)lab->space.table_bytes);
    }
}

/* A walk that ends at the break: a heap in a fixed buffer has one free block behind it. */
struct clipped {
    ration_walk_fn *visit;
    void *context;
    const char *end;
};

static int visit_clipped(const struct ration_block *block, void *context)
{
    const struct clipped *clipped = context;
    const char *from = block->address;
    if (from >= clipped->end)
        return 0;
    struct ration_block part = *block;
    if ((size_t)(clipped->end - from) < part.bytes)
        part.bytes = (size_t)(clipped->end - from);
    return clipped->visit(&part, clipped->context);
}

int lab_walk(struct lab_heap *lab, ration_walk_fn *visit, void *context)
{
    if (!lab->break_follows_blocks)
        return ration_heap_walk(lab->heap, visit, context);
    struct clipped clipped = {.visit = visit, .context = context, .end = lab->space.brk.end};
    return ration_heap_walk(lab->heap, visit_clipped, &clipped);
}
