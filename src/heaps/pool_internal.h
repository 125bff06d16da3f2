/* What pool.c (the operations) and pool_look.c (looking without changing) share. */
#ifndef RATION_HEAPS_POOL_INTERNAL_H
#define RATION_HEAPS_POOL_INTERNAL_H

#include "base/atomics.h"
#include "heaps/internal.h"
#include <ration/pool.h>

/* A link: number + 1 of the next free object, 0 at the end of the stack, or a state. */
static const uint32_t link_live = UINT32_MAX;
static const uint32_t link_busy = UINT32_MAX - 1; /* claimed by the thread that is pushing it */
static const uint32_t most_objects = UINT32_MAX - 2;

/* A chunk: this record, a link per object, the objects. Written before it is published and never
 * again, but for links and objects. */
struct ration_pool_chunk {
    uintptr_t objects;
    uint32_t first; /* number of its first object */
    uint32_t n;
    size_t bytes; /* taken from the source; 0: the caller's buffer */
    uintptr_t start;
    uintptr_t end;
    uint32_t *links;
};

typedef struct ration_pool_chunk pool_chunk;

static inline struct ration_pool *pool_of(const struct ration_heap *heap)
{
    return (struct ration_pool *)(uintptr_t)heap;
}

static inline pool_chunk *chunk_of_number(const struct ration_pool *pool, uint32_t number)
{
    uint32_t at = atomic_load_acquire(&pool->n_chunks) -
                  1; /* pairs with add_chunk; half of all objects are in the last */
    while (pool->chunks[at]->first > number)
        at--;
    return pool->chunks[at];
}

static inline uint32_t *link_at(const struct ration_pool *pool, uint32_t number)
{
    const pool_chunk *c = chunk_of_number(pool, number);
    return &c->links[number - c->first];
}

/* --- pool_look.c --- */

HIDDEN int ration_pool_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context);
HIDDEN void ration_pool_check(const struct ration_heap *heap, struct ration_finding *finding);
HIDDEN void ration_pool_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

#endif
