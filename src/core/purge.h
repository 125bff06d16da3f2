/* Giving memory back: free pages inside partly free slabs, and dirty runs, by age, in batches.
 *
 * Who does it: a helper thread that the C library does not know of, started when enough memory has become free and gone
 * when nothing is left to give back, so an idle process shrinks by itself and a quiet one has no extra thread. Where it
 * cannot be started (or purge_thread=0) the threads that free do the passes, at most one in each purge_delay.
 *
 * Locking: passes are serial (RANK_PURGE, dropped between batches). How long a lock is held:
 *   pass lock   one batch: the free pages of 16 slabs, or 64 runs of at most 4096 pages (16 MiB) in all, some
 *               2 ms. A thread that grows only tries it. Those who wait: malloc_trim, fork, and
 *               whoever frees while purge_delay=0 or no helper is to be had, as he makes the pass himself.
 *   shelf lock  no system call but the mapping of fresh pages for a slab; of states at most those of 16 slabs are counted.
 *               But a pass looks through the whole list of ready slabs of the class for 16 that are old enough.
 *   span lock   no system call but that, and the advice of huge pages for them. A batch is taken and put back under it: 64
 *               runs at most. Only who looks (walks, checks) holds it for as long as the window is large. */
#ifndef RATION_CORE_PURGE_H
#define RATION_CORE_PURGE_H

#include "span/span.h"

/* The heap may have grown although memory lies free: gives back as much. Called without locks, often: cheap if not. */
void purge_growth_slow(void);
enum { GROWN_PAGES = 64 };
static inline void purge_growth(void)
{
    if (UNLIKELY(atomic_load_relaxed(&span_grown_pages) >= GROWN_PAGES))
        purge_growth_slow();
}

/* `bytes` became free in memory that nobody leases, or that a thread which ends leased. Called without locks. */
void purge_note(size_t bytes);

/* Memory is out: what waits for the next requests of threads is for all, kept runs and leases that rest. False: nothing did.
 * Called without locks. */
bool purge_reserves(void);

/* Everything free, whatever its age. Returns the bytes given back. */
size_t purge_all(void);

/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void purge_fork_prepare(bool nested);
bool purge_lock_is_mine(void);
void purge_fork_parent(void);
void purge_fork_child(void);

#endif
