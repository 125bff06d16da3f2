/* Beginnings and ends: of the process's heap, of a thread's cache, of a forked child. */
#ifndef RATION_CORE_LIFE_H
#define RATION_CORE_LIFE_H

#include "cache/cache.h"

/* The calling thread's cache, made if it has none; null if out of memory, or if the thread is past its end (then
 * my_cache is &late_cache). */
struct cache *life_cache(void);

/* Locks everything, in rank order: nobody's slow path moves until life_unlock. Used around fork and malloc_disable. */
void life_lock(void);
void life_unlock(void);

/* The fast paths are closed: from now on the thread reaches its cache through life_cache alone. */
void life_hide_cache(void);

/* A slot from the cache that threads share when they are past their end; null if out of memory. */
void *life_late_alloc(unsigned c);

#endif
