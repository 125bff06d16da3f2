#include "heaps/pool_internal.h"

enum { MOST_ALIGNMENT = 4096 };

static bool is_shared(const struct ration_pool *pool)
{
    return pool->heap.is_shared;
}

/* --- from address to object --- */

/* offset / stride, without dividing where that is exact. */
static inline size_t index_at(const struct ration_pool *pool, size_t offset)
{
    if (LIKELY(offset <= UINT32_MAX && pool->reciprocal != 0))
        return (size_t)(((unsigned __int128)offset * pool->reciprocal) >> 64);
    return offset / pool->stride;
}

/* The chunk whose objects contain the address; NULL if none does. */
static const pool_chunk *find_chunk(const struct ration_pool *pool, uintptr_t address)
{
    for (uint32_t at = atomic_load_acquire(&pool->n_chunks); at-- > 0;) { /* pairs with add_chunk */
        const pool_chunk *c = pool->chunks[at];
        if (address - c->objects < (size_t)c->n * pool->stride)
            return c;
    }
    return NULL;
}

/* --- chunks --- */

static size_t links_bytes(size_t n)
{
    return n * sizeof(uint32_t);
}

/* Where objects begin in a chunk of n that starts at `start`. */
static uintptr_t objects_at(const struct ration_pool *pool, uintptr_t start, size_t n)
{
    return align_up(start + sizeof(pool_chunk) + links_bytes(n), pool->options.alignment);
}

/* Makes a chunk of memory aligned to 8 and adds it. `n` objects fit. */
static void add_chunk(struct ration_pool *pool, uintptr_t start, size_t bytes, uint32_t n,
                      bool is_callers)
{
    pool_chunk *c = (pool_chunk *)start;
    c->objects = objects_at(pool, start, n);
    c->first = pool->capacity;
    c->n = n;
    c->bytes = is_callers ? 0 : bytes;
    c->start = start;
    c->end = start + bytes;
    c->links = (uint32_t *)(c + 1);
    atomic_add_relaxed(&pool->heap_bytes, bytes);
    pool->chunks[pool->n_chunks] = c;
    atomic_store_release(&pool->n_chunks,
                         pool->n_chunks + 1); /* pairs with chunk_of_number and find_chunk */
    atomic_store_release(&pool->capacity, pool->capacity + n); /* pairs with take_fresh */
}

static int take_chunk(struct ration_pool *pool, size_t n)
{
    const struct ration_source *source = pool->options.source;
    bool is_possible = source != NULL && pool->n_chunks < RATION_POOL_CHUNKS && n > 0 &&
                       n <= most_objects - pool->capacity &&
                       n <= HEAP_SIZE_MAX / 4 / (pool->stride + 4);
    if (!is_possible)
        return -1;
    size_t alignment = max_size(pool->options.alignment, 16);
    size_t bytes = objects_at(pool, 0, n) + n * pool->stride;
    bytes = align_up(bytes, alignment);
    void *memory = source->take(source->context, bytes, alignment);
    if (memory == NULL)
        return -1;
    add_chunk(pool, (uintptr_t)memory, bytes, (uint32_t)n, false);
    return 0;
}

static int use_buffer(struct ration_pool *pool)
{
    const struct ration_pool_options *o = &pool->options;
    uintptr_t start = align_up((uintptr_t)o->buffer, 16);
    uintptr_t end = (uintptr_t)o->buffer + o->buffer_bytes;
    if (start >= end || end - start < sizeof(pool_chunk))
        return -1;
    size_t n =
        o->n_objects != 0 ? o->n_objects : (end - start - sizeof(pool_chunk)) / (pool->stride + 4);
    n = min_size(n, most_objects);
    if (o->n_objects == 0)
        while (n > 0 && objects_at(pool, start, n) + n * pool->stride > end)
            n--;
    if (n == 0 || n > (end - start) / pool->stride ||
        objects_at(pool, start, n) + n * pool->stride > end)
        return -1;
    add_chunk(pool, start, end - start, (uint32_t)n, true);
    return 0;
}

/* --- the stack of free objects --- */

static uint64_t head_of(uint64_t count, uint32_t link)
{
    return count << 32 | link;
}

static uint64_t next_count(uint64_t head)
{
    return (head >> 32) + 1;
}

/* Number + 1 of an object from the stack, 0 if it is empty. */
static uint32_t pop_shared(struct ration_pool *pool)
{
    uint64_t head = atomic_load_acquire(&pool->head); /* pairs with push_shared */
    while (true) {
        uint32_t top = (uint32_t)head;
        if (top == 0)
            return 0;
        /* Another thread may have taken the object meanwhile: then the count has changed and the
         * link is not used. */
        uint32_t next = atomic_load_relaxed(link_at(pool, top - 1));
        if (atomic_cas_acquire(&pool->head, head, head_of(next_count(head), next)))
            return top;
        head = atomic_load_acquire(&pool->head);
    }
}

/* The caller has claimed the object: its link says busy. */
static void push_shared(struct ration_pool *pool, uint32_t number)
{
    uint32_t *link = link_at(pool, number);
    uint64_t head;
    do {
        head = atomic_load_acquire(&pool->head);
        atomic_store_relaxed(link, (uint32_t)head);
    } while (!atomic_cas_acquire(
        &pool->head, head, head_of(next_count(head), number + 1))); /* pairs with pop_shared */
}

static uint32_t pop_single(struct ration_pool *pool)
{
    uint32_t top = (uint32_t)pool->head;
    if (top != 0)
        pool->head = *link_at(pool, top - 1);
    return top;
}

/* --- fresh objects and growth --- */

/* Number + 1 of an object that was never handed out, 0 if there is none. */
static uint32_t take_fresh(struct ration_pool *pool)
{
    if (!is_shared(pool))
        return pool->n_used < pool->capacity ? ++pool->n_used : 0;
    uint32_t used = atomic_load_relaxed(&pool->n_used);
    while (used < atomic_load_acquire(&pool->capacity)) { /* pairs with add_chunk */
        if (atomic_cas_acquire(&pool->n_used, used, used + 1))
            return used + 1;
        used = atomic_load_relaxed(&pool->n_used);
    }
    return 0;
}

/* Doubles the pool unless another thread just did. Returns 0, or -1. */
static COLD int grow_slow(struct ration_pool *pool)
{
    if ((pool->options.flags & RATION_POOL_GROWING) == 0)
        return -1;
    while (atomic_exchange_acquire(&pool->grow_lock, 1U) != 0) /* pairs with the store below */
        cpu_relax();
    int result = 0;
    if (atomic_load_relaxed(&pool->n_used) >= pool->capacity) {
        result = take_chunk(pool, max_size(pool->capacity, pool->options.n_objects));
        if (result == 0)
            atomic_add_relaxed(&pool->n_grows, 1U);
    }
    atomic_store_release(&pool->grow_lock, 0U);
    return result;
}

/* Number + 1 of an object for the caller, 0 if there is none. */
static uint32_t take_number(struct ration_pool *pool)
{
    while (true) {
        uint32_t link = is_shared(pool) ? pop_shared(pool) : pop_single(pool);
        if (link == 0)
            link = take_fresh(pool);
        if (link == 0 && is_shared(pool))
            link = pop_shared(
                pool); /* given back meanwhile: only an empty stack with nothing fresh means full */
        if (link != 0 || grow_slow(pool) != 0)
            return link;
    }
}

/* --- the operations --- */

static void count(const struct ration_pool *pool, uint64_t *counter)
{
    if (is_shared(pool))
        atomic_add_relaxed(counter, 1U);
    else
        ++*counter;
}

static void *take_object(struct ration_pool *pool)
{
    uint32_t link = take_number(pool);
    if (UNLIKELY(link == 0)) {
        count(pool, &pool->n_failures);
        return NULL;
    }
    const pool_chunk *c = chunk_of_number(pool, link - 1);
    uint32_t index = link - 1 - c->first;
    atomic_store_relaxed(&c->links[index], link_live);
    count(pool, &pool->n_allocs);
    return (void *)(c->objects + (size_t)index * pool->stride);
}

void *ration_pool_alloc(struct ration_pool *pool)
{
    if (UNLIKELY(pool->heap.frame != NULL))
        return ration_frame_alloc(&pool->heap, pool->options.alignment, pool->options.object_bytes,
                                  __builtin_return_address(0));
    if (UNLIKELY(pool->heap.through != NULL))
        return pool->heap.ops->alloc(&pool->heap, pool->options.object_bytes,
                                     pool->options.alignment);
    return take_object(pool);
}

static void *pool_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_pool *pool = pool_of(heap);
    if (size > pool->options.object_bytes || alignment > pool->options.alignment) {
        count(pool, &pool->n_failures);
        return NULL;
    }
    return take_object(pool);
}

static COLD void report_misfit(const struct ration_pool *pool, const pool_chunk *c,
                               uintptr_t address, const char *operation)
{
    const struct ration_heap *heap = &pool->heap;
    size_t offset = c != NULL ? address - c->objects : 0;
    size_t index = offset / pool->stride;
    if (c == NULL || c->first + index >= atomic_load_relaxed(&pool->n_used)) {
        ration_heap_report(heap, RATION_INVALID_FREE, (void *)address, operation,
                           c == NULL ? "the address is not in this heap"
                                     : "this object has never been handed out",
                           NULL, 0);
        return;
    }
    const void *object = (void *)(c->objects + index * pool->stride);
    bool is_live = atomic_load_relaxed(&c->links[index]) == link_live;
    if (!is_live)
        ration_heap_report(heap, RATION_DOUBLE_FREE, (void *)address, operation,
                           "the object is free already", object, pool->options.object_bytes);
    else if ((address & (pool->options.alignment - 1)) != 0)
        ration_heap_report(heap, RATION_MISALIGNED_FREE, (void *)address, operation,
                           "the address is not aligned as every object of this pool is", object,
                           pool->options.object_bytes);
    else
        ration_heap_report(heap, RATION_INTERIOR_FREE, (void *)address, operation,
                           "the address lies inside a live object, not at its start", object,
                           pool->options.object_bytes);
}

/* The link of the object at this address and its number, or NULL after a report. The object was
 * live a moment ago. */
static uint32_t *resolve(const struct ration_pool *pool, const void *object, const char *operation,
                         uint32_t *number)
{
    const pool_chunk *c = find_chunk(pool, (uintptr_t)object);
    if (LIKELY(c != NULL)) {
        size_t offset = (uintptr_t)object - c->objects;
        size_t index = index_at(pool, offset);
        *number = c->first + (uint32_t)index;
        if (LIKELY(index * pool->stride == offset && *number < atomic_load_relaxed(&pool->n_used) &&
                   atomic_load_relaxed(&c->links[index]) == link_live))
            return &c->links[index];
    }
    report_misfit(pool, c, (uintptr_t)object, operation);
    return NULL;
}

static void give_object(struct ration_pool *pool, void *object)
{
    uint32_t number;
    uint32_t *link = resolve(pool, object, "free", &number);
    if (UNLIKELY(link == NULL))
        return;
    if (!is_shared(pool)) {
        *link = (uint32_t)pool->head;
        pool->head = number + 1;
    } else if (atomic_cas_acquire(link, link_live,
                                  link_busy)) { /* of several threads, one may free it */
        push_shared(pool, number);
    } else {
        report_misfit(pool, find_chunk(pool, (uintptr_t)object), (uintptr_t)object, "free");
        return;
    }
    count(pool, &pool->n_frees);
}

void ration_pool_free(struct ration_pool *pool, void *object)
{
    if (object == NULL)
        return;
    if (UNLIKELY(pool->heap.frame != NULL || pool->heap.through != NULL))
        ration_heap_free(&pool->heap, object);
    else
        give_object(pool, object);
}

static void pool_free(struct ration_heap *heap, void *block)
{
    give_object(pool_of(heap), block);
}

/* An object has one size: it stays where it is or cannot be had. */
static void *pool_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_pool *pool = pool_of(heap);
    uint32_t number;
    if (resolve(pool, block, "resize", &number) == NULL)
        return NULL;
    if (size <= pool->options.object_bytes)
        return block;
    count(pool, &pool->n_failures);
    return NULL;
}

static void *pool_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    uint32_t number;
    struct ration_pool *pool = pool_of(heap);
    return resolve(pool, block, "resize", &number) != NULL && size <= pool->options.object_bytes
               ? block
               : NULL;
}

static bool pool_owns(const struct ration_heap *heap, const void *address)
{
    return find_chunk(pool_of(heap), (uintptr_t)address) != NULL;
}

static size_t pool_usable_size(const struct ration_heap *heap, const void *block)
{
    uint32_t number;
    return resolve(pool_of(heap), block, "usable size", &number) != NULL
               ? pool_of(heap)->options.object_bytes
               : 0;
}

static void pool_destroy(struct ration_heap *heap)
{
    struct ration_pool *pool = pool_of(heap);
    const struct ration_source *source = pool->options.source;
    for (uint32_t i = pool->n_chunks; i-- > 0;)
        if (pool->chunks[i]->bytes != 0)
            source->give(source->context, pool->chunks[i], pool->chunks[i]->bytes);
    pool->n_chunks = 0;
    pool->capacity = 0;
    if (pool->created != NULL)
        source->give(source->context, pool->created, sizeof *pool);
}

static const struct ration_figures pool_figures = {
    .places = {
        [RATION_FIGURE_HEAP_BYTES] = {offsetof(struct ration_pool, heap_bytes), 0, 0},
        [RATION_FIGURE_LIVE_BYTES] = {offsetof(struct ration_pool, n_allocs),
                                      offsetof(struct ration_pool, n_frees),
                                      offsetof(struct ration_pool, options.object_bytes)},
        [RATION_FIGURE_LIVE_BLOCKS] = {offsetof(struct ration_pool, n_allocs),
                                       offsetof(struct ration_pool, n_frees), 0},
        [RATION_FIGURE_ALLOCS] = {offsetof(struct ration_pool, n_allocs), 0, 0},
        [RATION_FIGURE_FREES] = {offsetof(struct ration_pool, n_frees), 0, 0},
        [RATION_FIGURE_FAILURES] = {offsetof(struct ration_pool, n_failures), 0, 0},
    }};

static const struct ration_heap_ops pool_ops = {
    .kind = "pool",
    .alloc = pool_alloc,
    .resize = pool_resize,
    .try_resize = pool_try_resize,
    .free = pool_free,
    .owns = pool_owns,
    .usable_size = pool_usable_size,
    .walk = ration_pool_walk,
    .check = ration_pool_check,
    .stats = ration_pool_stats,
    .destroy = pool_destroy,
    .figures = &pool_figures,
};

/* --- the beginning --- */

static bool options_are_valid(const struct ration_pool_options *o)
{
    bool grows = (o->flags & RATION_POOL_GROWING) != 0;
    return o->object_bytes != 0 && o->object_bytes <= HEAP_SIZE_MAX / 2 &&
           (o->alignment == 0 ||
            (is_power_of_two(o->alignment) && o->alignment <= MOST_ALIGNMENT)) &&
           (o->flags & ~(unsigned)(RATION_POOL_GROWING | RATION_POOL_SHARED)) == 0 &&
           (o->source != NULL || (o->buffer != NULL && !grows));
}

struct ration_heap *ration_pool_init(struct ration_pool *pool,
                                     const struct ration_pool_options *options)
{
    *pool = (struct ration_pool){.options = *options};
    struct ration_pool_options *o = &pool->options;
    if (!options_are_valid(o))
        return NULL;
    if (o->alignment == 0)
        o->alignment = min_size((size_t)1 << lowest_bit(o->object_bytes), 16);
    pool->stride = align_up(o->object_bytes, o->alignment);
    if (pool->stride > 1 && pool->stride <= UINT32_MAX)
        pool->reciprocal =
            UINT64_MAX / pool->stride + 1; /* exact as long as offset * stride < 2^64 */
    ration_heap_init(&pool->heap, &pool_ops, o->name, o->alignment);
    pool->heap.is_shared = (o->flags & RATION_POOL_SHARED) != 0;
    bool is_bounded = (o->flags & RATION_POOL_GROWING) == 0 && o->n_objects != 0;
    if (ration_passthrough_begin(
            &pool->heap, (struct passthrough_limits){HEAP_SIZE_MAX, o->object_bytes,
                                                     is_bounded ? o->n_objects : SIZE_MAX, 0}))
        return &pool->heap;
    int failed = o->buffer != NULL ? use_buffer(pool) : take_chunk(pool, o->n_objects);
    return failed ? NULL : &pool->heap;
}
