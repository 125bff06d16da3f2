/* Frames over the process's malloc: the heaps' side of the seam in frame.h. Whoever defines malloc
 * calls in here. */
#include "base/atomics.h"
#include "heaps/internal.h"
#include <ration/frame.h>

static THREAD_LOCAL struct ration_frame
    *innermost;             /* of the frames of this thread that cover malloc */
static uint32_t n_covering; /* in the whole process */
static uint32_t hooks_lock;

static void *on_alloc(size_t size, size_t alignment, const void *caller)
{
    struct ration_frame *frame = innermost;
    if (frame == NULL)
        return NULL;
    innermost = NULL; /* a handler that allocates is not reported again */
    ration_frame_note(frame, NULL, size, caller);
    void *block = NULL;
    if (frame->arena != NULL)
        block = frame->arena->heap.ops->alloc(&frame->arena->heap, size, alignment);
    innermost = frame;
    return block;
}

/* The arena of a frame of this thread that holds the block; NULL if none does. */
static struct ration_heap *find_arena(const void *block)
{
    for (struct ration_frame *frame = innermost; frame != NULL; frame = frame->outer_of_thread)
        if (frame->arena != NULL && frame->arena->heap.ops->owns(&frame->arena->heap, block))
            return &frame->arena->heap;
    return NULL;
}

static bool on_free(void *block)
{
    struct ration_heap *arena = find_arena(block);
    if (arena != NULL)
        arena->ops->free(arena, block);
    return arena != NULL;
}

static bool on_resize(void *block, size_t size, const void *caller, void **result)
{
    struct ration_heap *arena = find_arena(block);
    if (arena == NULL)
        return false;
    struct ration_frame *frame = innermost;
    innermost = NULL;
    ration_frame_note(frame, NULL, size, caller);
    *result = arena->ops->resize(arena, block, size);
    innermost = frame;
    return true;
}

static bool on_usable_size(const void *block, size_t *bytes)
{
    struct ration_heap *arena = find_arena(block);
    if (arena != NULL)
        *bytes = arena->ops->usable_size(arena, block);
    return arena != NULL;
}

/* Sets the hooks when the first frame begins and clears them when the last one ends. */
static int count_covering(int change)
{
    static const struct ration_malloc_hooks hooks = {
        .alloc = on_alloc, .free = on_free, .resize = on_resize, .usable_size = on_usable_size};
    while (atomic_exchange_acquire(&hooks_lock, 1U) != 0) /* pairs with the store below */
        cpu_relax();
    bool was_covering = n_covering != 0;
    n_covering += (uint32_t)change;
    int result = 0;
    if (was_covering != (n_covering != 0))
        result = ration_malloc_hooks_set(n_covering != 0 ? &hooks : NULL);
    if (result != 0)
        n_covering -= (uint32_t)change;
    atomic_store_release(&hooks_lock, 0U);
    return result;
}

static void uncover(struct ration_frame *frame)
{
    innermost = frame->outer_of_thread;
    count_covering(-1);
}

int ration_frame_cover_malloc(struct ration_frame *frame)
{
    if (ration_malloc_hooks_set == NULL || frame->uncover != NULL || count_covering(1) != 0)
        return -1;
    frame->outer_of_thread = innermost;
    frame->uncover = uncover;
    innermost = frame;
    return 0;
}
