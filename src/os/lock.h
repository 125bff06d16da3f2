/* A small lock: one word that names its holder, not recursive; waits in the kernel after a short spin.
 *
 * Ranks give the order in which locks may be taken by one thread: each next rank must be higher. The model asserts it.
 *
 * The holder's name is for fork: a signal handler may fork while the thread that it interrupted holds a lock. Such a lock
 * is kept as it is, by the parent and by the child: the thread goes on in both, and drops it. */
#ifndef RATION_OS_LOCK_H
#define RATION_OS_LOCK_H

#include "base/atomics.h"

enum lock_rank {
    RANK_PURGE = -3, /* one step of a purge pass at a time */
    RANK_SHARED,     /* the cache that late threads share */
    RANK_CACHES,     /* the list of all caches */
    RANK_SHELF, /* a size class's shelf, or a row of kept runs; 0, as there are many: memory that nobody touched is
                   locks of this rank */
    RANK_SPAN,   /* all runs of the window */
    RANK_TABLE,  /* growing an area, small records */
    RANK_FENCE,  /* records of guarded blocks */
    RANK_REPORT, /* one report at a time */
    RANK_LIMIT,
};

struct lock {
    uint32_t word;   /* 0 free; else the holder's name, plus LOCK_AWAITED if somebody may wait */
    int16_t rank;    /* enum lock_rank */
    uint8_t at_fork; /* enum lock_at_fork */
};

enum { LOCK_AWAITED = 1 };

enum lock_at_fork {
    LOCK_TAKEN,  /* by the fork */
    LOCK_KEPT,   /* the forking thread held it before */
    LOCK_MISSED, /* held by a thread that may wait for a kept one */
};

/* Its address names the thread. The helper has no thread-local storage of its own: its stack names it. */
extern THREAD_LOCAL uint32_t lock_anchor HIDDEN;
extern const unsigned char *lock_helper_stack HIDDEN;
enum { LOCK_HELPER_NAME = 2, HELPER_STACK_BYTES = 48 << 10 };

_Static_assert(RANK_SHELF == 0, "shelves are never initialised");

#define LOCK_INIT(lock_rank_)                                                                      \
    {                                                                                              \
        .word = 0, .rank = (lock_rank_)                                                            \
    }

void lock_init(struct lock *l, enum lock_rank rank);
void lock_wait_slow(struct lock *l) HIDDEN;
void lock_wake_slow(struct lock *l) HIDDEN;

static ALWAYS_INLINE uint32_t lock_my_name(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (UNLIKELY(here - (uintptr_t)atomic_load_relaxed(&lock_helper_stack) < HELPER_STACK_BYTES))
        return LOCK_HELPER_NAME;
    return (uint32_t)(uintptr_t)&lock_anchor; /* a multiple of four, as good as never 0 */
}

static ALWAYS_INLINE bool lock_try_take(struct lock *l)
{
    return atomic_cas_acquire(&l->word, 0U, lock_my_name());
}

static ALWAYS_INLINE void lock_take(struct lock *l)
{
    if (UNLIKELY(!lock_try_take(l)))
        lock_wait_slow(l);
}

static ALWAYS_INLINE void lock_drop(struct lock *l)
{
    if (UNLIKELY((atomic_exchange_release(&l->word, 0U) & LOCK_AWAITED) != 0))
        lock_wake_slow(l);
}

static ALWAYS_INLINE bool lock_is_mine(const struct lock *l)
{
    return (atomic_load_relaxed(&l->word) & ~(uint32_t)LOCK_AWAITED) == lock_my_name();
}

/* Before a fork; then one of the two below. nested: the forking thread holds locks of its own. It keeps those, and tries
 * for the others for a while only, since their holders may be waiting for the kept ones. */
void lock_fork_take(struct lock *l, bool nested);
void lock_fork_parent(struct lock *l);
/* What a lock protects may be half changed if it was kept (until the handler returns) or missed (for good). */
void lock_fork_child(struct lock *l);

#endif
