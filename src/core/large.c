#include "core/large.h"

#include "base/bits.h"
#include "cache/cache.h"
#include "conf/conf.h"
#include "core/core.h"
#include "core/fence.h"
#include "core/harden.h"
#include "core/purge.h"
#include "core/sample.h"
#include "core/witness.h"
#include "os/os.h"
#include "slab/shelf.h"
#include "span/huge.h"
#include "span/kept.h"
#include "span/span.h"

#include <string.h>

_Static_assert((int)OWN_SHELVES <= (int)KEPT_ROWS, "a row for each number of shelves");

/* Moving pages costs a system call and page-table work, as much as copying some dozens of pages. */
#define MOVE_BYTES KIB(128)

/* Null: this block gets no fence. */
static COLD void *alloc_fenced(size_t n, size_t align, bool zero)
{
    if (harden_level == HARDEN_FULL)
        return fence_alloc(n, align, FENCE_AT_START, true, zero);
    if (harden_level == HARDEN_FAST && sample_large(FENCE_SHARE))
        return fence_alloc(n, align, FENCE_AT_START, false, zero);
    if (sample_every != 0 && sample_large(sample_every))
        return sample_alloc(n, align, zero);
    return NULL;
}

/* What is in the pocket merges with all else before fresh pages are taken. */
static NOINLINE void *take_before_pocket(size_t n, size_t align)
{
    void *p = span_alloc_used(n, align, RUN_LARGE);
    if (p == NULL)
        pocket_drop(&my_cache->pocket);
    return p;
}

static void *take_run(size_t n, size_t align, bool *is_zero)
{
    *is_zero = false;
    unsigned row = cache_shelf(my_cache);
    void *p = row != 0 && align <= os->page_bytes() ? kept_take(n, row) : NULL;
    if (p == NULL && !pocket_is_empty(&my_cache->pocket))
        p = take_before_pocket(n, align);
    if (p == NULL)
        p = span_alloc(n, align, RUN_LARGE, is_zero);
    if (UNLIKELY(p == NULL) && purge_reserves())
        p = span_alloc(n, align, RUN_LARGE, is_zero);
    return p;
}

/* What waits in the pocket is neither guarded nor sampled. */
void *large_take(size_t n)
{
    struct cache *cache = my_cache;
    if (n > POCKET_BYTES_EACH || !cache->is_owned || UNLIKELY(fences_are_on))
        return NULL;
    return pocket_take(&cache->pocket, n);
}

bool large_put(void *p)
{
    struct cache *cache = my_cache;
    if (!cache->is_owned || conf.purge_delay == 0 || UNLIKELY(fences_are_on))
        return false;
    size_t bytes = pocket_put(&cache->pocket, (uintptr_t)p);
    if (bytes == 0)
        return false;
    purge_note(bytes);
    return true;
}

void *large_alloc(size_t n, size_t align, bool zero)
{
    if (n >= ADDRESS_END || align >= ADDRESS_END) /* fails before anything is looked up */
        return out_of_memory();
    if (UNLIKELY(fences_are_on)) {
        void *fenced = alloc_fenced(n, align, zero);
        if (fenced != NULL)
            return fenced;
    }
    bool is_zero;
    void *p = take_run(max_size(n, 1), align, &is_zero);
    if (p == NULL)
        return out_of_memory();
    if (zero && !is_zero)
        memset(p, 0, n);
    if (n >= WITNESS_BYTES && is_zero && !zero)
        witness_fresh(p, n);
    return p;
}

bool large_is_live(const void *p, size_t *bytes)
{
    if (UNLIKELY(fences_are_on) && fence_is_live(p, bytes))
        return true;
    *bytes = span_in_use_bytes((uintptr_t)p, RUN_LARGE);
    return *bytes != 0;
}

static size_t free_run(uintptr_t p)
{
    bool may_keep = conf.purge_delay != 0 && LIKELY(!fences_are_on);
    unsigned row = may_keep ? cache_shelf(my_cache) : 0;
    size_t kept = row != 0 ? kept_put(p, row) : 0;
    return kept != 0 ? kept : span_release(p, RUN_LARGE);
}

bool large_free(void *p, const char *function)
{
    if (UNLIKELY(fences_are_on) && fence_free(p, function))
        return true;
    witness_ends(p);
    size_t bytes = free_run((uintptr_t)p);
    if (bytes == 0)
        return false;
    purge_note(bytes);
    return true;
}

/* Huge pages keep their size on the way between two places at multiples of it. */
static void *extend_or_move(void *p, size_t had, size_t n)
{
    if (span_extend(p, n))
        return p;
    return had >= MOVE_BYTES ? span_move(p, n, n >= WITNESS_BYTES ? HUGE_BYTES : 1) : NULL;
}

static void *grow(void *p, size_t had, size_t n)
{
    if (LIKELY(had < WITNESS_BYTES))
        return extend_or_move(p, had, n);
    bool is_trusted = witness_grows(p, had, n);
    void *q = extend_or_move(p, had, n);
    if (q != NULL && is_trusted)
        witness_grown(q, had, n);
    return q;
}

void *large_resize(void *p, size_t had, size_t n, const char *function)
{
    size_t fenced_bytes;
    if (n >= ADDRESS_END)
        return NULL;
    if (UNLIKELY(fences_are_on) && fence_is_live(p, &fenced_bytes))
        return fence_resize(p, n, function);
    if (n <= had) {
        witness_ends(p);
        span_trim(p, n);
        if (had - n >= os->page_bytes())
            purge_note(had - n);
        return p;
    }
    void *q = grow(p, had, n);
    purge_growth();
    return q;
}
