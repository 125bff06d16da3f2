/* The fast paths of malloc, calloc and free, whole. What they miss goes to the slow paths in core.h.
 *
 * malloc: class of the size (a table), the lowest free slot of the thread's mask for that class,
 * its state byte. free:   the slab of the address (a map), the slot test (one multiplication), the
 * state byte, the count to the next event.
 *
 * Neither malloc nor free reads or writes the block. Neither takes a lock or an atomic read-modify-write. free is
 * the same for blocks of this and of other threads. Goldens of their instruction counts:
 * tests/golden. */
#ifndef RATION_CORE_FAST_PATH_H
#define RATION_CORE_FAST_PATH_H

#include "cache/cache.h"
#include "core/core.h"

#include <string.h>

static ALWAYS_INLINE void *malloc_fast(size_t n)
{
    if (LIKELY(n <= SMALL_MAX)) {
        struct bin *bin = bin_for(my_cache, n);
        OPAQUE(bin); /* gcc would compute it twice */
        if (LIKELY(bin->mask != 0))
            return bin_take(bin);
        return malloc_refill(n, bin);
    }
    return malloc_large(n);
}

typedef uint64_t grain __attribute__((vector_size(GRAIN), may_alias));

static ALWAYS_INLINE void zero_grain(char *p)
{
    *(grain *)(void *)p = (grain){0, 0};
}

/* Zeroes one to four grains; stores overlap when there are fewer. Quicker done than asked whether it is needed. */
static ALWAYS_INLINE void zero_four_grains(char *p, size_t bytes)
{
    zero_grain(p);
    zero_grain(p + bytes - GRAIN);
    if (bytes > 2UL * GRAIN) {
        zero_grain(p + GRAIN);
        zero_grain(p + bytes - 2UL * GRAIN);
    }
}

/* Slots are whole grains: for short blocks this is quicker than finding out how memset would do it. */
static ALWAYS_INLINE void *zero_slot(char *p, size_t bytes)
{
    if (bytes > 256)
        return memset(p, 0, bytes);
    for (char *at = p; at < p + bytes; at += GRAIN) {
        OPAQUE(at); /* gcc would make it a string instruction, which takes long to start */
        zero_grain(at);
    }
    return p;
}

static ALWAYS_INLINE void *calloc_fast(size_t count, size_t size)
{
    size_t n;
    if (LIKELY(!__builtin_mul_overflow(count, size, &n) && n <= SMALL_MAX)) {
        struct bin *bin = bin_for(my_cache, n);
        OPAQUE(bin);
        if (LIKELY(bin->mask != 0)) {
            char *p = bin_take(bin);
            size_t bytes = bin->size;
            if (bytes > 4UL * GRAIN)
                return bin->is_zero ? p : zero_slot(p, bytes);
            zero_four_grains(p, bytes);
            return p;
        }
    }
    return calloc_slow(count, size);
}

static ALWAYS_INLINE void free_fast(void *p)
{
    uintptr_t address = (uintptr_t)p;
    size_t unit = window_unit(address);
    if (LIKELY(is_below_shared(unit, &window.unit_count))) {
        struct slab *s = atomic_load_relaxed(&atomic_load_relaxed(&window.map)[unit]);
        uint64_t x = (address - s->base) * s->reciprocal;
        if (LIKELY((uint32_t)x < s->start_limit)) {
            uint8_t *state = &s->states[x >> 32];
            if (LIKELY(byte_is(state, SLOT_LIVE))) {
                /* Pairs with the fence at the end of a refill. */
                atomic_store_release(state, SLOT_FREE);
                if (UNLIKELY(hint_take_one_is_negative(&s->till)))
                    free_event(p);
                return;
            }
        }
    }
    free_slow(p, "free");
}

/* C++ says the size with nearly every delete: verified on the fast path, too. */
static ALWAYS_INLINE void free_sized_fast(void *p, size_t n, const char *function)
{
    const struct slab *s = slab_of((uintptr_t)p);
    if (LIKELY(n <= SMALL_MAX && s->start_limit != 0 && s->class_index == class_of(n)))
        free_fast(p);
    else
        core_free_sized(p, n, 0, function);
}

#endif
