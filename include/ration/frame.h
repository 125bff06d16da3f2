/* A frame: a stretch of a program in which allocation is forbidden, counted, or served from an
 * arena. For the render loop that must not miss its deadline, the audio callback, the handler that
 * must not wait for a lock.
 *
 *     struct ration_frame frame;
 *     ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, NULL);
 *     ration_frame_guard(&frame, heap);        the heaps that it concerns
 *     …
 *     ration_frame_end(&frame);
 *
 * States: OPEN from begin to end. A heap has at most one frame at a time: guarding it with a second
 * one nests, the inner frame decides, and its end brings the outer one back. Frames end in the
 * reverse order of their beginnings.
 *
 * Threads: a frame and the heaps that it guards belong to one thread while it is open. A shared
 * pool may not be guarded: it would be every thread's. The direct functions of pools and arenas
 * (ration_pool_alloc …) are guarded as well as those of heap.h. */
#ifndef RATION_FRAME_H
#define RATION_FRAME_H

#include <ration/arena.h>
#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ration_frame_mode {
    RATION_FRAME_FORBID, /* each allocation is a "forbidden allocation"; if the handler returns, it
                            is served */
    RATION_FRAME_COUNT,  /* each allocation is counted and served as usual */
    RATION_FRAME_ARENA,  /* each allocation comes from the arena and is gone when the frame ends */
};

enum { RATION_FRAME_HEAPS = 8 };

/* The figures may be read while the frame is open and after its end; the rest is private. */
struct ration_frame {
    const char *name;
    const char *file; /* where it began */
    unsigned line;
    enum ration_frame_mode mode;
    uint64_t n_allocs; /* allocations inside, refused and failed ones included; of the inner frame
                          alone */
    uint64_t bytes;    /* sum of what they asked for */
    size_t largest_bytes;    /* the largest of them */
    const void *last_caller; /* return address of the last one */
    struct ration_arena *arena;
    struct ration_mark mark; /* of the arena at the beginning */
    unsigned n_guarded;
    struct {
        struct ration_heap *heap;
        struct ration_frame *outer; /* what guarded it before */
    } guarded[RATION_FRAME_HEAPS];
    struct ration_frame *outer_of_thread;   /* frames that cover malloc nest per thread */
    void (*uncover)(struct ration_frame *); /* set: covers malloc */
};

/* Opens a frame. `arena` is needed for ARENA and ignored otherwise; it must not itself be guarded.
 */
void ration_frame_begin_at(struct ration_frame *frame, const char *name,
                           enum ration_frame_mode mode, struct ration_arena *arena,
                           const char *file, unsigned line);

#define ration_frame_begin(frame, name, mode, arena)                                               \
    ration_frame_begin_at((frame), (name), (mode), (arena), __FILE__, __LINE__)

/* Puts `heap` under the frame. Returns 0, or -1 if the frame has RATION_FRAME_HEAPS heaps already,
 * or if it is a shared pool. */
int ration_frame_guard(struct ration_frame *frame, struct ration_heap *heap);

/* Closes the frame: releases its heaps and, in mode ARENA, rewinds the arena to where the frame
 * began. */
void ration_frame_end(struct ration_frame *frame);

/* --- the process's malloc --- */

/* Puts this thread's malloc, calloc, realloc, aligned_alloc and the like, and operator new, under
 * the frame until it ends. Returns 0, or -1 if nothing in the program can tell: link
 * libration-frame.a with `-Wl,-u,ration_malloc_hooks_set` (it passes every call on to the next
 * malloc: that of a preloaded or linked libration.so, or of the C library), or
 * libration-frame-static.a in the same way (it brings libration along).
 *
 * In mode ARENA a block outlives the frame no more than any other block of the arena: what the
 * frame allocates must be freed inside it, or never. A realloc of an older block moves it into the
 * arena. */
int ration_frame_cover_malloc(struct ration_frame *frame);

/* The seam to whoever defines malloc: it defines ration_malloc_hooks_set(), to which heaps refer
 * weakly. While a table is set, it calls `alloc` before it serves any allocation of any thread, and
 * hands out what that returns unless it is NULL; it calls `free` and `resize` before it looks at a
 * block, and is done if they return true. NULL ends all. It must not hold a lock during the calls;
 * the calls never call malloc. */
struct ration_malloc_hooks {
    void *(*alloc)(size_t size, size_t alignment, const void *caller);
    bool (*free)(void *block);
    /* True: `*result` is what realloc returns. */
    bool (*resize)(void *block, size_t size, const void *caller, void **result);
    /* True: `*bytes` is what malloc_usable_size returns. */
    bool (*usable_size)(const void *block, size_t *bytes);
};

int ration_malloc_hooks_set(const struct ration_malloc_hooks *hooks) __attribute__((weak));

#ifdef __cplusplus
}
#endif

#endif
