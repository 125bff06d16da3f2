/* Shared memory, by named order. Nothing else in src/ uses <stdatomic.h> or __atomic directly.
 *
 * A *hint* is a shared number of which updates may be lost: two threads may write over each other.
 * Whoever reads a hint must stay correct for any value, and something else must heal it. Hints cost
 * a plain instruction. */
#ifndef RATION_BASE_ATOMICS_H
#define RATION_BASE_ATOMICS_H

#include "base/compiler.h"

#define atomic_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
/* A word that is written once. gcc joins a plain load with what uses it, and an atomic one it does not. */
#if RATION_TSAN
#define atomic_load_settled(p) atomic_load_relaxed(p)
#else
#define atomic_load_settled(p) (*(p))
#endif
#define atomic_store_relaxed(p, v)    __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_store_release(p, v)    __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atomic_add_relaxed(p, v)      __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define atomic_sub_relaxed(p, v)      __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define atomic_or_relaxed(p, v)       __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define atomic_and_relaxed(p, v)      __atomic_fetch_and((p), (v), __ATOMIC_RELAXED)
#define atomic_exchange_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define atomic_exchange_release(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELEASE)
#define atomic_exchange_full(p, v)    __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define atomic_fence_acquire()        __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define atomic_fence_full()           __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Returns whether *p was `expected` and is now `desired`. Acquire on success. */
#define atomic_cas_acquire(p, expected, desired)                                                   \
    (__extension__({                                                                               \
        __typeof__(*(p)) cas_expected_ = (expected);                                               \
        __atomic_compare_exchange_n((p), &cas_expected_, (desired), false, __ATOMIC_ACQ_REL,       \
                                    __ATOMIC_ACQUIRE);                                             \
    }))

/* Takes one from a hint and tells whether it fell below zero. On x86-64 this is one instruction and
 * its flag; the portable form is the same relaxed load and store. */
static ALWAYS_INLINE bool hint_take_one_is_negative(int32_t *hint)
{
#if defined(__x86_64__) && !RATION_TSAN
    bool negative;
    __asm__("subl $1, %0" : "+m"(*hint), "=@ccs"(negative));
    return negative;
#else
    int32_t left = atomic_load_relaxed(hint) - 1;
    atomic_store_relaxed(hint, left);
    return left < 0;
#endif
}

/* Whether n is below a shared number, loaded with acquire. */
static ALWAYS_INLINE bool is_below_shared(size_t n, const size_t *shared)
{
#if defined(__x86_64__) && !RATION_TSAN
    bool below;
    __asm__ volatile("cmpq %2, %1" : "=@ccb"(below) : "r"(n), "m"(*shared));
    return below;
#else
    return n < atomic_load_acquire(shared);
#endif
}

/* Compares a shared byte without copying it to a register first. */
static ALWAYS_INLINE bool byte_is(const uint8_t *byte, uint8_t value)
{
#if defined(__x86_64__) && !RATION_TSAN
    bool equal;
    __asm__ volatile("cmpb %2, %1" : "=@cce"(equal) : "m"(*byte), "i"(value));
    return equal;
#else
    return atomic_load_relaxed(byte) == value;
#endif
}

static ALWAYS_INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
