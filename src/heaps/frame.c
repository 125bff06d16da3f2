#include "heaps/internal.h"
#include <ration/frame.h>

void ration_frame_begin_at(struct ration_frame *frame, const char *name,
                           enum ration_frame_mode mode, struct ration_arena *arena,
                           const char *file, unsigned line)
{
    *frame = (struct ration_frame){
        .name = name != NULL ? name : "unnamed",
        .file = file,
        .line = line,
        .mode = mode,
    };
    if (mode == RATION_FRAME_ARENA && arena != NULL) {
        frame->arena = arena;
        frame->mark = ration_arena_mark(arena);
    }
}

int ration_frame_guard(struct ration_frame *frame, struct ration_heap *heap)
{
    if (frame->n_guarded == RATION_FRAME_HEAPS || heap->is_shared)
        return -1;
    frame->guarded[frame->n_guarded].heap = heap;
    frame->guarded[frame->n_guarded].outer = heap->frame;
    frame->n_guarded++;
    heap->frame = frame;
    return 0;
}

void ration_frame_end(struct ration_frame *frame)
{
    while (frame->n_guarded > 0) {
        frame->n_guarded--;
        frame->guarded[frame->n_guarded].heap->frame = frame->guarded[frame->n_guarded].outer;
    }
    if (frame->uncover != NULL)
        frame->uncover(frame);
    frame->uncover = NULL;
    if (frame->arena != NULL)
        ration_arena_rewind(frame->arena, frame->mark);
    frame->arena = NULL;
}

void ration_frame_note(struct ration_frame *frame, const struct ration_heap *heap, size_t size,
                       const void *caller)
{
    frame->n_allocs++;
    frame->bytes += size;
    frame->largest_bytes = max_size(frame->largest_bytes, size);
    frame->last_caller = caller;
    if (frame->mode != RATION_FRAME_FORBID)
        return;
    struct ration_misuse misuse = {
        .kind = RATION_FORBIDDEN_ALLOCATION,
        .address = caller,
        .heap = heap,
        .operation = heap != NULL ? "alloc" : "malloc",
        .detail = "an allocation where the program forbids it; the address is that of the call",
        .block_bytes = size,
        .advice = "allocate before the frame begins, or serve the frame from an arena "
                  "(RATION_FRAME_ARENA)",
        .frame = frame,
    };
    ration_misuse_report(&misuse);
}

/* The arena may itself be the guarded heap: its operations are called past the guard. */
void *ration_frame_alloc(struct ration_heap *heap, size_t alignment, size_t size,
                         const void *caller)
{
    struct ration_frame *frame = heap->frame;
    ration_frame_note(frame, heap, size, caller);
    struct ration_heap *serving = frame->arena != NULL ? &frame->arena->heap : heap;
    return serving->ops->alloc(serving, size, alignment);
}

/* The innermost frame of this heap whose arena holds the block; NULL if none does. */
static struct ration_arena *find_arena(const struct ration_heap *heap, const void *block)
{
    const struct ration_frame *frame = heap->frame;
    while (frame != NULL) {
        struct ration_arena *arena = frame->arena;
        if (arena != NULL && &arena->heap != heap && arena->heap.ops->owns(&arena->heap, block))
            return arena;
        const struct ration_frame *outer = NULL;
        for (unsigned i = 0; i < frame->n_guarded; i++)
            if (frame->guarded[i].heap == heap)
                outer = frame->guarded[i].outer;
        frame = outer != frame ? outer : NULL;
    }
    return NULL;
}

bool ration_frame_has(const struct ration_heap *heap, const void *block)
{
    return find_arena(heap, block) != NULL;
}

bool ration_frame_free(struct ration_heap *heap, void *block)
{
    struct ration_arena *arena = find_arena(heap, block);
    if (arena != NULL)
        arena->heap.ops->free(&arena->heap, block);
    return arena != NULL;
}

void *ration_frame_resize(struct ration_heap *heap, void *block, size_t size, const void *caller)
{
    struct ration_arena *arena = find_arena(heap, block);
    ration_frame_note(heap->frame, heap, size, caller);
    return arena->heap.ops->resize(&arena->heap, block, size);
}

size_t ration_frame_usable_size(const struct ration_heap *heap, const void *block)
{
    const struct ration_arena *arena = find_arena(heap, block);
    return arena->heap.ops->usable_size(&arena->heap, block);
}
