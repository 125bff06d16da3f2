/* Runs of pages: the window is cut into free runs, slabs and large blocks.
 *
 * A request takes the best fit among dirty runs, else among clean ones, else among void ones, else fresh pages at the
 * frontier: reusing memory that is resident is worth far more than a close fit, because a page fault costs as much as
 * some hundred pairs of malloc and free. What is left over is split off. A freed run merges with free neighbours of its
 * own kind, but not at once: the last few only wait in a ring until somebody looks for a run, since a free that looks for
 * neighbours takes four times as long as one that does not. Dirty runs are purged by age.
 *
 * Tags: one word for each page. At the first page of a run in use: its length and kind. At the first and the last page of
 * a free run: its record and kind. Everywhere else: none.
 *
 * Invariants (span_check):
 *  S1  the runs cover [0, frontier) without gap or overlap, but for skipped ranges that the system kept from us.
 *  S2  no two neighbouring free runs are of the same kind.
 *  S3  every free run is in the tree of its kind, every dirty one also in the age queue, and nothing else is.
 *  S4  the page counts per kind are the sums over the runs; kept and pocketed ones (span/kept.h, span/pocket.h) count as
 *      large blocks.
 *  S5  the trees are ordered (T1, T2).
 *  S6  the released runs are those in the ring, and no others.
 *
 * Locking: one lock, RANK_SPAN, inside each function that does not say otherwise. No system call is made
 * under it but mapping fresh pages. */
#ifndef RATION_SPAN_SPAN_H
#define RATION_SPAN_SPAN_H

#include "area/window.h"
#include "span/run_tree.h"

struct span_counts {
    size_t pages[RUN_KIND_COUNT]; /* by kind; RUN_NONE counts nothing */
    size_t runs[RUN_KIND_COUNT];
    size_t frontier_bytes; /* the window's used part */
    size_t mapped_bytes;   /* the window's mapped part, void runs included */
};

/* What lies at an address; for reports, statistics and large blocks. */
struct span_place {
    enum run_kind kind; /* RUN_NONE: never handed out */
    uintptr_t start;
    size_t bytes;
};

extern unsigned page_shift HIDDEN; /* valid once the window is open */

/* Opens the window; `no_slab` is the record that stands for "no slab here". Idempotent. False if out of memory. */
bool span_open(struct slab *no_slab);

/* A run of `bytes` (rounded up to pages) aligned to `align` (a power of two), for `use` RUN_SLAB, RUN_LARGE or RUN_HELD.
 * *is_zero tells whether every byte is zero. Null if out of memory; then nothing has changed. */
void *span_alloc(size_t bytes, size_t align, enum run_kind use, bool *is_zero);

/* The same, but rather the very run that began at `before`, if its pages lie in a dirty run that begins there or at most 256
 * pages before: what was touched of it is what will be. `before`: a former run of this length and alignment, or 0. */
void *span_alloc_again(uintptr_t before, size_t bytes, size_t align, enum run_kind use,
                       bool *is_zero);

/* The same, but of dirty pages only; null if no dirty run is long enough. */
void *span_alloc_used(size_t bytes, size_t align, enum run_kind use);

/* Enters a slab, or none, into the map for `units` units. */
void span_enter_slab(uintptr_t start, unsigned units, struct slab *entry);

/* Gives back the run of kind `use` that starts at `address`, all of it dirty: told apart, the pages that were never
 * touched would not merge with the others, and the window would fill with runs too short for a slab. Returns its bytes, or 0
 * if no such run starts there: the check and the release are one step, so of two racing calls one fails. */
size_t span_release(uintptr_t address, enum run_kind use);

/* Lengthens a run in use without moving it. False if what follows is not free, or out of memory. */
bool span_extend(void *start, size_t new_bytes);

/* Shortens a run in use; the tail becomes a dirty free run. */
void span_trim(void *start, size_t new_bytes);

/* Large block at `from` moves its pages, contents and all, to a new run of new_bytes. Null if refused: nothing changed. */
void *span_move(void *from, size_t new_bytes, size_t align);

/* For blocks with guard pages (core/fence.h). Of the held run `whole` (span_alloc for RUN_HELD) the pages that hold [start,
 * start + bytes) become a large block; what lies before and behind stays held, as runs of its own. */
void span_cut(void *whole, void *start, size_t bytes);

/* The pieces of a run that was cut, `bytes` long in all, are one held run again. */
void span_uncut(void *whole, size_t bytes);

/* The held run `whole` is free. now_is: what its pages are, RUN_DIRTY, RUN_CLEAN or RUN_VOID. */
void span_drop(void *whole, enum run_kind now_is);

/* The run in use that starts exactly at `address`: its length in bytes, or 0 if none of that kind does. Takes no lock: the
 * answer is firm as long as the caller owns what lives there. */
size_t span_in_use_bytes(uintptr_t address, enum run_kind use);

/* The run that holds `address`, found by search if need be. */
struct span_place span_find(uintptr_t address);

/* Purges dirty runs that are at least age_ms old, the oldest first, until enough_pages are; never more than max_pages, of
 * the last run a part if need be, whose rest keeps its age and its turn. enough_pages <= max_pages. Where max_pages are
 * too few to unmap them, somebody waits: no huge page is split then, but one may be purged as a whole, as it costs little,
 * beyond max_pages. Returns the pages given back. */
size_t span_purge(uint64_t now_ms, uint64_t age_ms, size_t enough_pages, size_t max_pages);

/* Pages taken from elsewhere than dirty runs since the last span_take_excess: the heap grew by that much. A hint, for a
 * look without the lock. */
extern size_t span_grown_pages HIDDEN;

/* Growth while many pages lie dirty means that they lie in pieces too short to be used. Returns how many dirty pages
 * should be purged to make up for the growth, and forgets it: never more than it was, and never so many that less than
 * a third of what is in use, or 1 MiB, stays dirty for reuse; `all`: memory is short, and none need stay. */
size_t span_take_excess(bool all);

size_t span_dirty_bytes(void);
void span_count(struct span_counts *counts);

/* Calls visit for each run in address order while it returns true; the span lock is held: visit must not call back. */
void span_walk(bool (*visit)(const struct span_place *place, void *arg), void *arg);

/* The number of the first broken invariant, or 0. */
int span_check(void);

/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void span_fork_prepare(bool nested);
bool span_lock_is_mine(void);
void span_fork_parent(void);
void span_fork_child(void);

#endif
