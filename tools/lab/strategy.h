/*
 * The strategies of the lab. Each is a ration_heap (include/ration/heap.h) over a simulated space;
 * the fit policies, buddy and TLSF are the user heaps of the library itself, the others are
 * engines of the lab behind the same interface.
 */
#ifndef RATION_LAB_STRATEGY_H
#define RATION_LAB_STRATEGY_H

#include "space.h"
#include <ration/fit.h>
#include <ration/heap.h>

/* What a user may choose; 0 and the first value of each enumeration are the strategy's default. */
struct lab_choices {
    size_t heap_bytes;    /* limit of the simulated heap; 0: as much as the trace may need */
    size_t min_block;     /* buckets, buddy: smallest block in bytes; 0: 16 and 32 */
    unsigned alignment;   /* fit policies, naive: of every payload */
    const char *order;    /* "lifo", "address", "size"; NULL: the strategy's own */
    const char *coalesce; /* "immediate", "deferred", "never"; NULL: the strategy's own */
    const char *fit;      /* naive, zones: "first", "next", "best", "worst"; NULL: the strategy's */
    bool no_split;
};

struct lab_strategy;

/* One heap under test. */
struct lab_heap {
    const struct lab_strategy *strategy;
    struct ration_heap *heap;
    struct space space;
    size_t alignment; /* that every payload must have */
    /* A heap in a fixed buffer (buddy, TLSF) never moves the break itself: it follows the blocks,
     * so that the break is the highest address that was ever handed out. */
    bool break_follows_blocks;
    char *buffer_end;       /* end of that buffer */
    size_t table_per_block; /* buddy: heap bytes for each byte of table; 0: no table */
    void *engine;           /* freed by lab_close */
    void *table;            /* the same */
};

struct lab_strategy {
    const char *name;
    const char *what;      /* one line */
    bool in_all;           /* part of --strategy=all */
    bool is_process;       /* a real malloc, replayed in a process of its own: open is NULL */
    unsigned header_bytes; /* in front of every live block; what a ceiling is computed with */
    unsigned least_block;
    /* Fills `lab->heap`, `alignment` and the fields of a fixed buffer, if it uses one; `space` is
     * open. Events go to `observe` when it is not NULL. Returns 0, or -1 when a choice cannot be
     * had; `message` then says which. */
    int (*open)(struct lab_heap *lab, const struct lab_choices *choices, ration_observe_fn *observe,
                void *context, const char **message);
};

/* In the order of the contract; NULL behind the last one. */
const struct lab_strategy *strategy_at(size_t index);
const struct lab_strategy *strategy_find(const char *name);

/*
 * Open a heap of `strategy` that can serve a trace with this peak. Returns 0, or -1 with a
 * message. lab_close is owed only after success.
 */
int lab_open(struct lab_heap *lab, const struct lab_strategy *strategy,
             const struct lab_choices *choices, uint64_t peak_payload, size_t peak_live,
             ration_observe_fn *observe, void *context, const char **message);
void lab_close(struct lab_heap *lab);

/* To be called after every allocation: moves the break of a heap in a fixed buffer. */
void lab_follow(struct lab_heap *lab, const void *payload);

/* Walk over what lies below the break and in mappings; free parts are cut at the break. */
int lab_walk(struct lab_heap *lab, ration_walk_fn *visit, void *context);

extern const struct lab_strategy strategy_naive;
extern const struct lab_strategy strategy_buckets_range;
extern const struct lab_strategy strategy_buckets;
extern const struct lab_strategy strategy_zones;
extern const struct lab_strategy strategy_ptmalloc;
extern const struct lab_strategy strategy_slab;

#endif
