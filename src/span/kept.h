/* Kept runs: the few that threads freed last, for their next large blocks.
 *
 * A thread's pocket comes first (span/pocket.h), for lengths that it asks for again and again. All other runs are found and
 * given back under one lock, which threads that handle buffers of some dozens of KiB all day would fight over. A row of kept runs is for the threads of one number (slab/shelf.h), so its lock is seldom taken by two.
 * Kept runs are dirty and merge with others of their row. A request takes the best fit, and what is left of it stays in the
 * row. When a row is full the oldest goes back; or, where fewer than a third of the last requests got a run, all do, and
 * the row is closed for a while. A purge pass gives back what is old. A thread that is alone has no row: it waits for
 * nobody, and its memory merges with all.
 *
 * A kept run's tag stays that of a large block, plus TAG_KEPT. So the counts of S4 need no lock but the span's, and of two
 * racing frees one fails; how many runs they are, cut and merged, the span learns when one goes back (more_runs).
 *
 * Invariants (kept_check):
 *  K1  each run of a row is a large block's, of its length, with TAG_KEPT in its tag.
 *  K2  a row has KEPT_RUNS_MAX runs and KEPT_BYTES_MAX at most, none empty, the oldest first; its sums are those of its
 *      runs.
 *
 * Locking: a lock for each row (RANK_SHELF; taken without a shelf's), and under it the span lock. */
#ifndef RATION_SPAN_KEPT_H
#define RATION_SPAN_KEPT_H

#include "span/span.h"

/* Of one block, and of a row. */
#define KEPT_BYTES_EACH KIB(128)
#define KEPT_BYTES_MAX  KIB(1024)
enum { KEPT_ROWS = 128, KEPT_RUNS_MAX = 24, KEPT_PAGES_MERGED = 255 };

/* Rows up to this number may be used from now on. The caller lets in one at a time, and none during a fork. */
void kept_open(unsigned number);

/* Frees the large block that starts at `address` into the row of this number, at least 1. Returns its bytes; or 0: none
 * starts there, it is too long, or the row takes no more. Then the caller gives it to span_release. */
size_t kept_put(uintptr_t address, unsigned number);

/* A run of `bytes`, rounded up to pages, for a large block; its contents are anything. Null: none so long is kept. */
void *kept_take(size_t bytes, unsigned number);

/* Gives back the runs of all rows that were freed at least age_ms before now_ms. Returns how many. */
size_t kept_give_back(uint64_t now_ms, uint64_t age_ms);

/* For span_check, which counts all runs by their tags: nobody changes a row meanwhile. */
void kept_lock_all(void);
void kept_unlock_all(void);
/* Runs there are by their tags beyond those that the span counts. Caller: kept_lock_all. */
long kept_more_runs(void);

/* The number of the first broken invariant, or 0. */
int kept_check(void);

/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void kept_fork_prepare(bool nested);
bool kept_lock_is_mine(void);
void kept_fork_parent(void);
void kept_fork_child(void);

#endif
