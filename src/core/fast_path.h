/* The fast paths of malloc and free, whole. What they miss goes to the slow paths in core.h.
 *
 * malloc: class of the size (a table), the lowest free slot of the thread's mask for that class,
 * its state byte. free:   the slab of the address (a map), the slot test (one multiplication), the
 * state byte, the count to the next event.
 *
 * Neither reads nor writes the block. Neither takes a lock or an atomic read-modify-write. free is
 * the same for blocks of this and of other threads. Goldens of their instruction counts:
 * tests/golden. */
#ifndef RATION_CORE_FAST_PATH_H
#define RATION_CORE_FAST_PATH_H

#include "cache/cache.h"
#include "core/core.h"

static ALWAYS_INLINE void *malloc_fast(size_t n)
{
    if (LIKELY(n <= SMALL_MAX)) {
        struct bin *bin = bin_for(my_cache, n);
        OPAQUE(bin); /* gcc would compute it twice */
        if (LIKELY(bin->mask != 0))
            return bin_take(bin);
    }
    return malloc_slow(n);
}

static ALWAYS_INLINE void free_fast(void *p)
{
    uintptr_t address = (uintptr_t)p;
    size_t unit = window_unit(address);
    if (LIKELY(is_below_shared(unit, &window.unit_count))) {
        struct slab *s = atomic_load_relaxed(&window.map[unit]);
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
