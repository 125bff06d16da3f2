/* Giving memory back: free pages inside partly free slabs, and dirty runs, by age, in batches.
 *
 * Who does it: a helper thread that the C library does not know of, started when enough memory has become free and gone
 * when nothing is left to give back, so an idle process shrinks by itself and a quiet one has no extra thread. Where it
 * cannot be started (or purge_thread=0) the threads that free do the passes, at most one in each purge_delay.
 *
 * Locking: passes are serial (RANK_PURGE, dropped between size classes). */
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

/* `bytes` became free in memory that nobody leases. Called without locks. */
void purge_note(size_t bytes);

/* Everything free, whatever its age. Returns the bytes given back. */
size_t purge_all(void);

/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void purge_fork_prepare(bool nested);
bool purge_lock_is_mine(void);
void purge_fork_parent(void);
void purge_fork_child(void);

#endif
