#include "core/core.h"
#include "core/events.h"
#include "core/fast_path.h"
#include "core/harden.h"
#include "core/large.h"

#include <string.h>

/* Always a slot that may hold the new size's class, also when shrinking: a later free_sized names the new size. */
static void *resize_by_copy(void *p, size_t had, size_t n)
{
    void *q = malloc_fast(n);
    if (q == NULL)
        return NULL;
    memcpy(q, p, min_size(had, n));
    free_fast(p);
    return q;
}

/* Whether the block at p is what a request of n might get. */
static bool may_stay(const void *p, size_t had, size_t n)
{
    if (n == had)
        return true;
    if (UNLIKELY(harden_level == HARDEN_FULL) && slab_is_guarded(slab_of((uintptr_t)p)))
        return false;
    return n <= SMALL_MAX && slot_may_hold(had, class_of(n));
}

static void *resize(void *p, size_t had, size_t n, const char *function)
{
    if (may_stay(p, had, n))
        return p;
    if (had > SMALL_MAX && n > SMALL_MAX) {
        void *q = large_resize(p, had, n, function);
        if (q != NULL)
            return q;
    }
    return resize_by_copy(p, had, n);
}

/* The same while somebody listens: the old block is told as freed before anything happens to it (E3). */
static COLD void *resize_told(void *p, size_t had, size_t n, const char *function)
{
    void *q = NULL;
    events_tell_realloc(p, function);
    if (may_stay(p, had, n))
        q = p;
    else if (had > SMALL_MAX && n > SMALL_MAX)
        q = large_resize(p, had, n, function);
    if (q == NULL && (q = malloc_quietly(n, 1)) != NULL) {
        memcpy(q, p, min_size(had, n));
        free_quietly(p, function);
    }
    events_tell_realloc_end(p, q, n, function);
    return q;
}

void *core_realloc(void *p, size_t n, const char *function)
{
    if (p == NULL)
        return malloc_fast(n);
    size_t had;
    if (!core_is_live(p, &had, function))
        return NULL;
    if (n == 0) {
        if (UNLIKELY(fast_paths_are_closed))
            free_slow(p, function);
        else
            free_fast(p);
        return NULL;
    }
    return UNLIKELY(events_are_on) ? resize_told(p, had, n, function) : resize(p, had, n, function);
}
