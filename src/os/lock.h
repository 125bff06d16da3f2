/* A small lock: one word, no owner, not recursive; waits in the kernel after a short spin.
 *
 * Ranks give the order in which locks may be taken by one thread: each next rank must be higher. The checked build
 * asserts it. After fork the child calls lock_init on every lock. */
#ifndef RATION_OS_LOCK_H
#define RATION_OS_LOCK_H

#include "base/atomics.h"

enum lock_rank {
    RANK_PURGE = 1, /* one step of a purge pass at a time */
    RANK_SHARED,    /* the cache that late threads share */
    RANK_CACHES,    /* the list of all caches */
    RANK_SHELF,     /* one size class's shelf */
    RANK_SPAN,      /* all runs of the window */
    RANK_TABLE,     /* growing an area, small records */
    RANK_REPORT,    /* one report at a time */
    RANK_LIMIT,
};

struct lock {
    uint32_t word; /* 0 free, 1 held, 2 held and somebody may wait */
    uint32_t rank;
};

#define LOCK_INIT(lock_rank_)                                                                      \
    {                                                                                              \
        .word = 0, .rank = (lock_rank_)                                                            \
    }

void lock_init(struct lock *l, enum lock_rank rank);
void lock_wait_slow(struct lock *l) HIDDEN;
void lock_wake_slow(struct lock *l) HIDDEN;

static ALWAYS_INLINE bool lock_try_take(struct lock *l)
{
    return atomic_cas_acquire(&l->word, 0U, 1U);
}

static ALWAYS_INLINE void lock_take(struct lock *l)
{
    if (UNLIKELY(!lock_try_take(l)))
        lock_wait_slow(l);
}

static ALWAYS_INLINE void lock_drop(struct lock *l)
{
    if (UNLIKELY(atomic_exchange_release(&l->word, 0U) == 2))
        lock_wake_slow(l);
}

#endif
