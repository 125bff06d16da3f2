#include "heaps/internal.h"
#include <ration/pool.h>

struct ration_pool *ration_pool_create(const char *name, size_t object_bytes, size_t n_objects,
                                       unsigned flags)
{
    const struct ration_source *source = ration_source_malloc();
    struct ration_pool *pool =
        source->take(source->context, sizeof *pool, _Alignof(struct ration_pool));
    if (pool == NULL)
        return NULL;
    struct ration_pool_options options = {
        .name = name,
        .object_bytes = object_bytes,
        .n_objects = n_objects,
        .flags = flags,
        .source = source,
    };
    if (ration_pool_init(pool, &options) == NULL) {
        source->give(source->context, pool, sizeof *pool);
        return NULL;
    }
    if (pool->heap.through != NULL)
        ration_passthrough_adopt(&pool->heap, pool);
    else
        pool->created = pool;
    ration_heap_publish(&pool->heap);
    return pool;
}
