/* The slow paths of malloc, calloc and aligned allocation. */
#include "core/core.h"
#include "core/fast_path.h"
#include "core/large.h"
#include "core/life.h"

#include <errno.h>
#include <string.h>

void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static void *malloc_large(size_t n)
{
    if (UNLIKELY(life_cache() == NULL) && my_cache == &no_cache)
        return out_of_memory();
    return large_alloc(n, 1, false);
}

/* The thread has no cache yet, or none any more, or memory is out. */
static COLD void *malloc_without_mask(unsigned c)
{
    struct cache *cache = life_cache();
    void *p = NULL;
    /* Making the cache may have allocated, and so have filled the bin. */
    if (cache != NULL && (cache->bins[c].mask != 0 || cache_refill(cache, c)))
        p = bin_take(&cache->bins[c]);
    else if (my_cache == &late_cache)
        p = life_late_alloc(c);
    return p != NULL ? p : out_of_memory();
}

NOINLINE void *malloc_slow(size_t n)
{
    if (UNLIKELY(n > SMALL_MAX))
        return malloc_large(n);
    unsigned c = class_of(n);
    struct cache *cache = my_cache;
    if (LIKELY(cache_refill(cache, c)))
        return bin_take(&cache->bins[c]);
    return malloc_without_mask(c);
}

/* Slots are whole grains: for short blocks a loop of grains is quicker than finding out how memset would do it. */
static ALWAYS_INLINE void *zero_small(void *p, size_t n)
{
    typedef uint64_t grain __attribute__((vector_size(GRAIN), may_alias));
    if (n > 256)
        return memset(p, 0, n);
    for (size_t i = 0; i < n; i += GRAIN)
        *(grain *)((char *)p + i) = (grain){0, 0};
    return p;
}

static NOINLINE void *calloc_slow(size_t n)
{
    void *p = malloc_slow(n);
    if (p == NULL)
        return NULL;
    /* The refill tells; a late thread's cache is not ours to ask, and its masks say nothing. */
    return my_cache->bins[class_of(n)].is_zero ? p : memset(p, 0, n);
}

static ALWAYS_INLINE void *calloc_small(size_t n)
{
    struct bin *bin = &my_cache->bins[class_of(n)];
    OPAQUE(bin);
    if (UNLIKELY(bin->mask == 0))
        return calloc_slow(n);
    uint32_t is_zero = bin->is_zero;
    void *p = bin_take(bin);
    return is_zero ? p : zero_small(p, n);
}

void *core_calloc(size_t count, size_t size)
{
    size_t n;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &n)))
        return out_of_memory();
    if (LIKELY(n <= SMALL_MAX))
        return calloc_small(n);
    if (UNLIKELY(life_cache() == NULL) && my_cache == &no_cache)
        return out_of_memory();
    return large_alloc(n, 1, true);
}

void *core_aligned(size_t align, size_t n)
{
    if (align <= GRAIN)
        return malloc_fast(n);
    unsigned c = class_of_aligned(n, align);
    if (c < CLASS_COUNT)
        return malloc_fast(size_classes[c].size);
    if (UNLIKELY(life_cache() == NULL) && my_cache == &no_cache)
        return out_of_memory();
    return large_alloc(n, align, false);
}

size_t core_good_size(size_t n)
{
    if (n <= SMALL_MAX)
        return size_classes[class_of(n)].size;
    if (n > PTRDIFF_MAX)
        return 0;
    return align_up(n, os->page_bytes());
}
