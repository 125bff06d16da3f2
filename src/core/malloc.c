/* The slow paths of malloc, calloc and aligned allocation. */
#include "core/checked.h"
#include "core/core.h"
#include "core/events.h"
#include "core/fast_path.h"
#include "core/harden.h"
#include "core/large.h"
#include "core/life.h"
#include "core/purge.h"
#include "core/sample.h"

#include <errno.h>
#include <string.h>

void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* Not before the allocator has started, which the thread's first cache shows. */
static void *take_large_quietly(size_t n, size_t align, bool zeroed)
{
    if (UNLIKELY(life_cache() == NULL) && my_cache == &no_cache)
        return out_of_memory();
    void *p = large_alloc(n, align, zeroed);
    checked_runs("malloc");
    purge_growth();
    return p;
}

static NOINLINE void *take_large(size_t n, size_t align, bool zeroed, const char *function)
{
    void *p = take_large_quietly(n, align, zeroed);
    if (UNLIKELY(events_are_on) && p != NULL)
        events_tell_malloc(p, n, function);
    return p;
}

static void *take_slot(unsigned c)
{
    struct cache *cache = life_cache();
    if (cache != NULL)
        return cache_take(cache, c);
    return my_cache == &late_cache ? life_late_alloc(c) : NULL;
}

static void *take_small(unsigned c)
{
    void *p = take_slot(c);
    if (UNLIKELY(p == NULL) && purge_reserves())
        p = take_slot(c);
    return p != NULL ? p : out_of_memory();
}

/* A block with a fence, if this allocation is the sample; null if not. */
static void *try_sample(size_t n, size_t align)
{
    struct cache *cache = n <= SMALL_MAX ? life_cache() : NULL;
    return cache != NULL && sample_count_one(cache) ? sample_alloc(n, align, false) : NULL;
}

void *malloc_quietly(size_t n, size_t align)
{
    void *sample = sample_every != 0 ? try_sample(n, align) : NULL;
    if (sample != NULL)
        return sample;
    bool is_large = true;
    unsigned c = n <= SMALL_MAX ? class_of_aligned(max_size(n, 1), align) : CLASS_COUNT;
    void *p = NULL;
    if (harden_level != HARDEN_OFF)
        p = harden_alloc(n, align, &is_large);
    else if (c < CLASS_COUNT)
        return take_small(c);
    return is_large ? take_large_quietly(n, align, false) : p;
}

/* While the fast paths are closed every allocation of at most SMALL_MAX bytes comes by here. */
static COLD void *malloc_closed(size_t n, size_t align, const char *function)
{
    void *p = malloc_quietly(n, align);
    if (events_are_on && p != NULL)
        events_tell_malloc(p, n, function);
    return p;
}

/* The thread has no cache yet, or none any more, or the fast paths are closed, or memory is out. */
static COLD void *malloc_without_mask(size_t n)
{
    return fast_paths_are_closed ? malloc_closed(n, 1, "malloc") : take_small(class_of(n));
}

/* What a slot of the class promises: core_aligned relies on it. */
static size_t slot_align(size_t n)
{
    return size_classes[class_of(n)].size == n ? n & -n : GRAIN;
}

static NOINLINE void *malloc_wide_from_shelf(size_t n, bool is_exact)
{
    struct cache *cache = my_cache;
    void *p = keep_take_from_shelf(cache, class_of(n), is_exact);
    if (UNLIKELY(p == NULL))
        return malloc_without_mask(n);
    checked_cache(cache, "malloc");
    purge_growth();
    return p;
}

/* is_exact: the slot shall be of n's class, for its alignment or since a sample's place depends on it. */
static inline void *malloc_wide(size_t n, bool is_exact)
{
    struct bin *bin = bin_for(my_cache, n);
    return bin->n_kept != 0 ? keep_take_last(bin) : malloc_wide_from_shelf(n, is_exact);
}

/* As malloc_slower, while allocations are sampled. A narrow slot may be one of many in the mask; sample_refill counts these. */
static COLD void *malloc_sampled(size_t n)
{
    struct cache *cache = my_cache;
    struct bin *bin = bin_for(cache, n);
    bool is_wide = n > NARROW_MAX;
    if (cache->is_owned && (is_wide ? sample_count_one(cache) : sample_is_due(cache))) {
        void *p = sample_alloc(n, slot_align(n), true);
        if (p != NULL)
            return p;
    }
    if (is_wide)
        return malloc_wide(n, true);
    if (!cache_refill_slow(cache, class_of(n)))
        return malloc_without_mask(n);
    sample_refill(cache, bin);
    purge_growth();
    return bin_take(bin);
}

static NOINLINE void *malloc_slower(size_t n)
{
    if (UNLIKELY(sample_every != 0))
        return malloc_sampled(n);
    if (n > NARROW_MAX)
        return malloc_wide(n, false);
    struct cache *cache = my_cache;
    if (LIKELY(cache_refill_slow(cache, class_of(n)))) {
        checked_cache(cache, "malloc");
        void *p = bin_take(bin_for(cache, n));
        purge_growth();
        return p;
    }
    return malloc_without_mask(n);
}

/* Calls nothing but in its last step, so that it saves few registers. */
NOINLINE void *malloc_refill(size_t n, struct bin *bin)
{
    unsigned group;
    uint64_t mask = bin_look(bin, &group);
    if (UNLIKELY(mask == 0)) {
        if (bin->n_kept != 0 && LIKELY(sample_every == 0))
            return keep_take_last(bin);
        return malloc_slower(n);
    }
    return bin_set_mask_and_take(bin, group, mask);
}

NOINLINE void *malloc_large(size_t n)
{
    void *p = large_take(n);
    return LIKELY(p != NULL) ? p : take_large(n, 1, false, "malloc");
}

static void *calloc_large(size_t n)
{
    void *p = large_take(n);
    return p != NULL ? memset(p, 0, n) : take_large(n, 1, true, "calloc");
}

NOINLINE void *calloc_slow(size_t count, size_t size)
{
    size_t n;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &n)))
        return out_of_memory();
    if (UNLIKELY(n > SMALL_MAX))
        return calloc_large(n);
    if (UNLIKELY(my_cache == &hard_cache)) {
        void *block = malloc_closed(n, 1, "calloc");
        return block != NULL ? memset(block, 0, n) : NULL;
    }
    void *p = malloc_refill(n, bin_for(my_cache, n));
    if (p == NULL)
        return NULL;
    /* The refill tells; a late thread's cache is not ours to ask, and its masks say nothing. */
    return my_cache->bins[class_of(n)].is_zero ? p : memset(p, 0, n);
}

/* p lies in a slab of another class, and is aligned as that is. So the thread has a cache of its own. */
static COLD void *align_again(void *p, unsigned c)
{
    struct cache *cache = my_cache;
    free_fast(p);
    return cache_refill_exact(cache, c) ? bin_take(&cache->bins[c]) : out_of_memory();
}

static void *aligned_large(size_t align, size_t n)
{
    void *p = align <= os->page_bytes() ? large_take(n) : NULL;
    return p != NULL ? p : take_large(n, align, false, "aligned_alloc");
}

void *core_aligned(size_t align, size_t n)
{
    if (align <= GRAIN)
        return malloc_fast(n);
    if (UNLIKELY(fast_paths_are_closed))
        return malloc_closed(n, align, "aligned_alloc");
    unsigned c = class_of_aligned(n, align);
    if (c == CLASS_COUNT)
        return aligned_large(align, n);
    size_t bytes = size_classes[c].size;
    if (class_is_wide(c) && sample_every == 0)
        return malloc_wide(bytes, true);
    void *p = malloc_fast(bytes);
    return LIKELY(((uintptr_t)p & (align - 1)) == 0) ? p : align_again(p, c);
}

size_t core_good_size_aligned(size_t n, size_t align)
{
    bool full = harden_level == HARDEN_FULL;
    bool is_exact = full || sample_every != 0;
    unsigned c =
        n > SMALL_MAX ? CLASS_COUNT : class_of_aligned(full ? n + HARDEN_TAIL_BYTES : n, align);
    if (c < CLASS_COUNT)
        return is_exact ? n : size_classes[c].size;
    if (is_exact && n <= PTRDIFF_MAX)
        return n;
    return n > PTRDIFF_MAX ? 0 : align_up(max_size(n, 1), os->page_bytes());
}

size_t core_good_size(size_t n)
{
    return core_good_size_aligned(n, 1);
}
