/* Free runs of one kind, ordered by (pages, address): the best fit is the smallest run that is long enough, and among
 * equals the one at the lowest address. A treap whose priorities are a hash of the address, so its shape depends on the
 * set alone (Seidel and Aragon, "Randomized search trees", 1996). Not synchronised: the span lock covers it.
 *
 * Invariants (run_tree_check):
 *  T1  every left descendant is smaller, every right descendant is greater.
 *  T2  no child has a higher priority than its parent. */
#ifndef RATION_SPAN_RUN_TREE_H
#define RATION_SPAN_RUN_TREE_H

#include "base/compiler.h"

enum run_kind {
    RUN_NONE,     /* no run begins or ends at this page */
    RUN_SLAB,     /* in use by a slab */
    RUN_LARGE,    /* in use by one large block */
    RUN_HELD,     /* out of use: being purged, or a guard, or delayed (core/fence.h) */
    RUN_RELEASED, /* freed just now, and not yet filed: dirty, in no tree, merged with nothing */
    RUN_DIRTY,    /* free; its pages may hold memory and old data */
    RUN_CLEAN,    /* free; its pages are mapped and zero */
    RUN_VOID,     /* free; its pages are not mapped */
    RUN_KIND_COUNT,
};

struct run {
    size_t first; /* page number in the window */
    size_t pages;
    enum run_kind kind;
    uint64_t stamp_ms; /* dirty runs: when most of it was freed */
    struct run *left, *right;
    struct run *older,
        *newer; /* dirty runs: the queue for purging. Spare records: `newer` links them. */
};

void run_tree_insert(struct run **root, struct run *r);
void run_tree_remove(struct run **root, struct run *r);

/* The smallest run of at least `pages` pages; null if none. */
struct run *run_tree_best_fit(struct run *root, size_t pages);

/* The next greater run after r; null if r is the greatest. */
struct run *run_tree_next(struct run *root, const struct run *r);

/* The number of the first broken invariant, or 0. */
int run_tree_check(const struct run *root);

#endif
