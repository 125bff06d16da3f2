/* Fences: blocks on pages of their own between guard pages, so that an access beside the block faults at once; after its
 * free the pages themselves fault, until the addresses are used again, much later.
 *
 *   whole: a run of pages, cut (span_cut)
 *   ┌─────────┬──────────────────────────┬─────────┐
 *   │ guard   │ slack │ block    │ slack │ guard   │
 *   │ held    │ a large block's run      │ held    │
 *   └─────────┴──────────────────────────┴─────────┘
 *
 * The slack holds a pattern, which the free checks. Who gets one: under harden=full each large block, under fast one of
 * FENCE_SHARE large blocks, and blocks of any size by chance if sample_guard says so (core/sample.h).
 *
 * States of a record, and who owns it:
 *   FENCE_SPARE  the list of spare ones, or the thread that makes or ends one
 *   FENCE_LIVE   the program
 *   FENCE_FREED  the thread that frees it; then the queue, which delays the reuse of its addresses
 *
 * Invariants (fence_check):
 *  F1  the block of a live fence lies in its pages, those lie in the whole, and are the run of a large block.
 *  F2  a record is in the bucket of its pages' address while it is LIVE or FREED, in the list of spare ones else.
 *  F3  the queue holds FREED fences, their bytes add up, and are within the limit if there is more than one.
 *
 * Locking: RANK_FENCE, for the table and the queue only; no other lock is taken under it. Records are never unmapped. */
#ifndef RATION_CORE_FENCE_H
#define RATION_CORE_FENCE_H

#include "conf/conf.h"
#include "os/os.h"

enum fence_state { FENCE_SPARE, FENCE_LIVE, FENCE_FREED };

enum fence_place {
    FENCE_AT_START, /* of its pages, whose alignment it has: an overflow meets the slack first */
    FENCE_AT_END,   /* the first byte behind it that no alignment explains faults */
};

enum {
    FENCE_SHARE = 16,
    FENCE_HELD_MAX = 1024, /* in the queue */
    FENCE_CALLERS = 16,
};

struct fence {
    uintptr_t start; /* of the block */
    size_t bytes;    /* as asked for */
    uintptr_t pages; /* the block's pages */
    size_t page_bytes;
    uintptr_t whole; /* with guards, and what alignment left over */
    size_t whole_bytes;
    uint8_t state;
    uint8_t front, back, hidden;     /* enum os_guard: the two guards, and the pages once FREED */
    bool is_exact;                   /* the slack is checked */
    bool was_zero;                   /* the whole was zero when it was taken */
    uint32_t taken_by, freed_by;     /* threads */
    uint32_t taken_site, freed_site; /* callers/sites.h; SITE_NONE if not kept */
    uint64_t taken_ms, freed_ms;
    struct fence *next;        /* in its bucket, or of the spare ones */
    struct fence *newer;       /* in the queue */
    struct fence *made_before; /* all ever made */
};

/* Fences may be made from now on. Early; once more does no harm. */
void fence_begin(void);
extern bool fences_are_on HIDDEN;

/* The callers of each fence's allocation and free are kept from now on, FENCE_CALLERS at most. False, with nothing changed, if
 * they cannot be had. After the window is open, early. */
bool fence_keep_callers(void);

/* A block of n bytes. is_exact: its usable bytes are n, and what follows is checked; else they are whole pages.
 * All zero if `zero`. Null if out of memory, addresses or records: then nothing has changed. */
void *fence_alloc(size_t n, size_t align, enum fence_place place, bool is_exact, bool zero);

/* Frees the live block that starts at p. False if no fence's does. */
bool fence_free(void *p, const char *function);

/* Whether the live block of a fence starts at p. *bytes: what the program may use. */
bool fence_is_live(const void *p, size_t *bytes);

/* The live block at p shall have n bytes: in place or by moving its pages. Null: neither could be done. */
void *fence_resize(void *p, size_t n, const char *function);

/* The fence, LIVE or FREED, in whose whole `address` lies, or null. Takes no lock: for reports, also from a signal handler. */
const struct fence *fence_find(uintptr_t address);

/* The live fence whose pages begin at `pages`, or null. Takes no lock: sure while the program keeps the block. */
const struct fence *fence_at_pages(uintptr_t pages);

size_t fence_live_count(void);

/* The number of the first broken invariant, or 0. Nobody uses fences. */
int fence_check(void);

void fence_fork_prepare(bool nested);
bool fence_lock_is_mine(void);
void fence_fork_parent(void);
void fence_fork_child(void);

#endif
