/* Looking at a pool without changing it. */
#include "heaps/pool_internal.h"

/* Numbers of the invariants in pool.h. */
enum { I_CHUNKS = 1, I_USED, I_STACK, I_LOST, I_COUNTERS };

static int visit_table(uintptr_t from, uintptr_t to, ration_walk_fn *visit, void *context)
{
    if (from == to)
        return 0;
    struct ration_block part = {.address = (void *)from,
                                .bytes = to - from,
                                .requested_bytes = RATION_UNKNOWN,
                                .state = RATION_BLOCK_TABLE};
    return visit(&part, context);
}

static bool object_is_live(const struct ration_pool *pool, const pool_chunk *c, uint32_t index)
{
    return c->first + index < pool->n_used && c->links[index] == link_live;
}

static int walk_chunk(const struct ration_pool *pool, const pool_chunk *c, ration_walk_fn *visit,
                      void *context)
{
    size_t object_bytes = pool->options.object_bytes;
    int stop = visit_table(c->start, c->objects, visit, context);
    for (uint32_t i = 0; i < c->n && stop == 0; i++) {
        void *object = (void *)(c->objects + (size_t)i * pool->stride);
        bool is_live = object_is_live(pool, c, i);
        struct ration_block block = {object,
                                     pool->stride,
                                     object,
                                     object_bytes,
                                     is_live ? object_bytes : RATION_UNKNOWN,
                                     is_live ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE};
        stop = visit(&block, context);
    }
    return stop != 0
               ? stop
               : visit_table(c->objects + (size_t)c->n * pool->stride, c->end, visit, context);
}

/* The chunk with the lowest address above `after` (0: of all). */
static const pool_chunk *find_next_by_address(const struct ration_pool *pool, uintptr_t after)
{
    const pool_chunk *lowest = NULL;
    for (uint32_t i = 0; i < pool->n_chunks; i++) {
        const pool_chunk *c = pool->chunks[i];
        if (c->start > after && (lowest == NULL || c->start < lowest->start))
            lowest = c;
    }
    return lowest;
}

int ration_pool_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct ration_pool *pool = pool_of(heap);
    int stop = 0;
    for (const pool_chunk *c = find_next_by_address(pool, 0); c != NULL && stop == 0;
         c = find_next_by_address(pool, c->start))
        stop = walk_chunk(pool, c, visit, context);
    return stop;
}

static int check_chunks(const struct ration_pool *pool, struct ration_finding *finding)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < pool->n_chunks; i++) {
        const pool_chunk *c = pool->chunks[i];
        if (c->first != next || c->n > most_objects - next)
            return finding_set(finding, I_CHUNKS, (uintptr_t)c,
                               "a chunk does not continue the numbering of objects");
        next += c->n;
    }
    if (next != pool->capacity)
        return finding_set(finding, I_CHUNKS, (uintptr_t)&pool->capacity,
                           "the chunks' objects do not add up to the capacity");
    if (pool->n_used > pool->capacity)
        return finding_set(finding, I_USED, (uintptr_t)&pool->n_used,
                           "more objects are used than there are");
    return 0;
}

void ration_pool_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_pool *pool = pool_of(heap);
    if (check_chunks(pool, finding))
        return;
    uint32_t live = 0;
    for (uint32_t number = 0; number < pool->n_used; number++)
        live += *link_at(pool, number) == link_live;
    uint32_t stacked = 0;
    for (uint32_t link = (uint32_t)pool->head; link != 0; link = *link_at(pool, link - 1)) {
        bool is_wrong = link > pool->n_used || *link_at(pool, link - 1) >= link_busy ||
                        ++stacked > pool->n_used;
        if (is_wrong) {
            finding_set(finding, I_STACK, (uintptr_t)&pool->head,
                        "the stack holds a live object, or one twice");
            return;
        }
    }
    if (live + stacked != pool->n_used)
        finding_set(finding, I_LOST, 0, "a used object is neither live nor in the stack");
    else if (pool->n_allocs - pool->n_frees != live)
        finding_set(finding, I_COUNTERS, (uintptr_t)&pool->n_allocs,
                    "the counters do not agree with the live objects");
}

void ration_pool_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_pool *pool = pool_of(heap);
    size_t object_bytes = pool->options.object_bytes;
    uint64_t n_frees =
        atomic_load_relaxed(&pool->n_frees); /* first: so live cannot come out negative */
    uint64_t n_allocs = atomic_load_relaxed(&pool->n_allocs);
    size_t live = (size_t)(n_allocs - n_frees);
    stats->heap_bytes = atomic_load_relaxed(&pool->heap_bytes);
    stats->heap_bytes_peak = stats->heap_bytes;
    stats->live_blocks = live;
    stats->live_usable_bytes = live * object_bytes;
    stats->live_requested_bytes = RATION_UNKNOWN;
    stats->live_usable_peak =
        atomic_load_relaxed(&pool->n_used) *
        object_bytes; /* a fresh object is taken only when all used ones are live */
    stats->free_blocks = atomic_load_relaxed(&pool->capacity) - live;
    stats->free_bytes = stats->free_blocks * pool->stride;
    stats->largest_free_bytes = stats->free_blocks != 0 ? pool->stride : 0;
    stats->largest_request_bytes = stats->free_blocks != 0 ? object_bytes : 0;
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
    stats->n_allocs = n_allocs;
    stats->n_frees = n_frees;
    stats->n_failures = atomic_load_relaxed(&pool->n_failures);
    stats->n_grows = atomic_load_relaxed(&pool->n_grows);
}
