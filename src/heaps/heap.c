#include "base/atomics.h"
#include "heaps/internal.h"

/* --- the operations: what is the same for every kind --- */

static bool is_possible(size_t size, size_t alignment)
{
    return size <= HEAP_SIZE_MAX && is_power_of_two(alignment) && alignment <= HEAP_SIZE_MAX - size;
}

static inline void *alloc_from(struct ration_heap *heap, size_t alignment, size_t size,
                               const void *caller)
{
    if (UNLIKELY(!is_possible(size, alignment)))
        return NULL;
    if (UNLIKELY(heap->frame != NULL))
        return ration_frame_alloc(heap, alignment, size, caller);
    return heap->ops->alloc(heap, size, alignment);
}

/* The default alignment needs no check, and no size comes near the sum that could overflow. */
static inline void *alloc_plain(struct ration_heap *heap, size_t size, const void *caller)
{
    if (UNLIKELY(size > HEAP_SIZE_MAX / 2 || heap->frame != NULL))
        return alloc_from(heap, heap->default_alignment, size, caller);
    return heap->ops->alloc(heap, size, heap->default_alignment);
}

void *ration_heap_alloc(struct ration_heap *heap, size_t size)
{
    return alloc_plain(heap, size, __builtin_return_address(0));
}

void *ration_heap_alloc_aligned(struct ration_heap *heap, size_t alignment, size_t size)
{
    return alloc_from(heap, alignment, size, __builtin_return_address(0));
}

void *ration_heap_alloc_zeroed(struct ration_heap *heap, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = alloc_from(heap, heap->default_alignment, bytes, __builtin_return_address(0));
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

/* A frame sees a resize that cannot stay in place as an allocation. */
static COLD void *resize_in_frame(struct ration_heap *heap, void *block, size_t size,
                                  const void *caller)
{
    if (!ration_frame_has(heap, block)) {
        if (heap->ops->try_resize(heap, block, size) != NULL)
            return block;
        size_t old_size = heap->ops->usable_size(heap, block);
        void *moved =
            old_size != 0 ? ration_frame_alloc(heap, heap->default_alignment, size, caller) : NULL;
        if (moved == NULL)
            return NULL;
        memcpy(moved, block, min_size(old_size, size));
        heap->ops->free(heap, block);
        return moved;
    }
    return ration_frame_resize(heap, block, size, caller);
}

void *ration_heap_resize(struct ration_heap *heap, void *block, size_t size)
{
    const void *caller = __builtin_return_address(0);
    if (block == NULL)
        return alloc_from(heap, heap->default_alignment, size, caller);
    if (UNLIKELY(size > HEAP_SIZE_MAX))
        return NULL;
    if (UNLIKELY(heap->frame != NULL))
        return resize_in_frame(heap, block, size, caller);
    return heap->ops->resize(heap, block, size);
}

void *ration_heap_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    if (block == NULL || size > HEAP_SIZE_MAX ||
        (heap->frame != NULL && ration_frame_has(heap, block)))
        return NULL;
    return heap->ops->try_resize(heap, block, size);
}

void ration_heap_free(struct ration_heap *heap, void *block)
{
    if (block == NULL)
        return;
    if (UNLIKELY(heap->frame != NULL) && ration_frame_free(heap, block))
        return;
    heap->ops->free(heap, block);
}

void ration_heap_free_sized(struct ration_heap *heap, void *block, size_t size)
{
    size_t usable = ration_heap_usable_size(heap, block); /* reports an address that is no block */
    bool is_known = block != NULL && (usable != 0 || size == 0);
    if (is_known && size > usable)
        ration_heap_report(heap, RATION_SIZE_MISMATCH, block, "free",
                           "the size handed back is larger than the block", block, usable);
    else if (is_known)
        ration_heap_free(heap, block);
}

bool ration_heap_owns(const struct ration_heap *heap, const void *address)
{
    return heap->ops->owns(heap, address);
}

size_t ration_heap_usable_size(const struct ration_heap *heap, const void *block)
{
    if (block == NULL)
        return 0;
    if (UNLIKELY(heap->frame != NULL) && ration_frame_has(heap, block))
        return ration_frame_usable_size(heap, block);
    return heap->ops->usable_size(heap, block);
}

int ration_heap_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    return heap->ops->walk(heap, visit, context);
}

unsigned ration_heap_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    struct ration_finding found = {
        .invariant = 0, .address = NULL, .text = "every invariant holds"};
    heap->ops->check(heap, &found);
    if (finding != NULL)
        *finding = found;
    return found.invariant;
}

void ration_heap_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    *stats = (struct ration_heap_stats){0};
    heap->ops->stats(heap, stats);
}

const char *ration_heap_name(const struct ration_heap *heap)
{
    return heap->name;
}

const char *ration_heap_kind(const struct ration_heap *heap)
{
    return heap->ops->kind;
}

void ration_heap_init(struct ration_heap *heap, const struct ration_heap_ops *ops, const char *name,
                      size_t default_alignment)
{
    *heap = (struct ration_heap){
        .ops = ops,
        .name = name != NULL ? name : "unnamed",
        .default_alignment = default_alignment,
    };
}

/* --- after the end: every operation is a use after free --- */

static void report_ended(const struct ration_heap *heap, const void *block, const char *operation)
{
    ration_heap_report(heap, RATION_USE_AFTER_FREE, block != NULL ? block : heap, operation,
                       "the heap was destroyed before this call", NULL, 0);
}

static void *ended_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    report_ended(heap, NULL, "alloc");
    return NULL;
}

static void *ended_resize(struct ration_heap *heap, void *block, size_t size)
{
    (void)size;
    report_ended(heap, block, "resize");
    return NULL;
}

static void ended_free(struct ration_heap *heap, void *block)
{
    report_ended(heap, block, "free");
}

static bool ended_owns(const struct ration_heap *heap, const void *address)
{
    (void)heap;
    (void)address;
    return false;
}

static size_t ended_usable_size(const struct ration_heap *heap, const void *block)
{
    report_ended(heap, block, "usable size");
    return 0;
}

static int ended_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    (void)heap;
    (void)visit;
    (void)context;
    return 0;
}

static void ended_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    (void)heap;
    (void)finding;
}

static void ended_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    (void)heap;
    (void)stats;
}

static void ended_destroy(struct ration_heap *heap)
{
    report_ended(heap, NULL, "destroy");
}

static const struct ration_heap_ops ended_ops = {
    .kind = "destroyed",
    .alloc = ended_alloc,
    .resize = ended_resize,
    .try_resize = ended_resize,
    .free = ended_free,
    .owns = ended_owns,
    .usable_size = ended_usable_size,
    .walk = ended_walk,
    .check = ended_check,
    .stats = ended_stats,
    .destroy = ended_destroy,
};

void ration_heap_destroy(struct ration_heap *heap)
{
    const struct ration_heap_ops *ops = heap->ops;
    ration_heap_unpublish(heap);
    if (ops != &ended_ops)
        heap->ops = &ended_ops;
    ops->destroy(heap);
}
