/* A lock of one word for heaps that need an operating system: 0 open, 1 held, 2 held and somebody
 * sleeps. Zeroed memory is an open lock.
 *
 * Source: Drepper, "Futexes Are Tricky" (2011), the second mutex. */
#ifndef RATION_HEAPS_LOCK_H
#define RATION_HEAPS_LOCK_H

#include "base/atomics.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOCK_OPEN, LOCK_HELD, LOCK_AWAITED, LOCK_SPINS = 200 };

static COLD void lock_take_slow(uint32_t *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        if (atomic_load_relaxed(lock) == LOCK_OPEN &&
            atomic_cas_acquire(lock, (uint32_t)LOCK_OPEN, (uint32_t)LOCK_HELD))
            return;
        cpu_relax();
    }
    while (atomic_exchange_acquire(lock, (uint32_t)LOCK_AWAITED) != LOCK_OPEN) /* pairs with give */
        syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, LOCK_AWAITED, NULL, NULL, 0);
}

static inline void lock_take(uint32_t *lock)
{
    if (UNLIKELY(!atomic_cas_acquire(lock, (uint32_t)LOCK_OPEN, (uint32_t)LOCK_HELD)))
        lock_take_slow(lock);
}

static inline void lock_give(uint32_t *lock)
{
    if (UNLIKELY(atomic_exchange_release(lock, (uint32_t)LOCK_OPEN) == LOCK_AWAITED))
        syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
