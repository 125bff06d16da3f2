/* Invariants asserted while the program runs: in a build with -DRATION_CHECKED=ON, at the ends of slow paths. What is broken is
 * reported as a corrupt heap, by its number (docs/INVARIANTS.md). In any other build nothing is called. */
#ifndef RATION_CORE_CHECKED_H
#define RATION_CORE_CHECKED_H

#include "cache/cache.h"

/* The cache of the calling thread: C1 to C4, as far as one thread can tell. */
void checked_cache_slow(const struct cache *cache, const char *function);

/* The runs of the window, at every CHECKED_EACH-th call: the walk over them is long. */
enum { CHECKED_EACH = 64 };
void checked_runs_slow(const char *function);

static inline void checked_cache(const struct cache *cache, const char *function)
{
    if (CHECKED_BUILD)
        checked_cache_slow(cache, function);
}

static inline void checked_runs(const char *function)
{
    if (CHECKED_BUILD)
        checked_runs_slow(function);
}

#endif
