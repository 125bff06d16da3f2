/* What the kinds of heaps share and a program does not see. Every name that the archive exports
 * begins with ration_, so that it links into any program. */
#ifndef RATION_HEAPS_INTERNAL_H
#define RATION_HEAPS_INTERNAL_H

#include "base/bits.h"
#include "base/compiler.h"
#include <ration/frame.h>
#include <ration/heap.h>
#include <ration/registry.h>
#include <string.h>

/* Hands a misuse to the handler. Returns if the handler does; the caller then changes nothing. */
HIDDEN void ration_misuse_report(const struct ration_misuse *misuse);

/* The common case: `block` and `block_bytes` are NULL and 0 if no block is concerned. */
HIDDEN void ration_heap_report(const struct ration_heap *heap, enum ration_misuse_kind kind,
                               const void *address, const char *operation, const char *detail,
                               const void *block, size_t block_bytes);

/* Enough for any use: no heap manages more, and sums of two sizes below it do not overflow. */
#define HEAP_SIZE_MAX ((size_t)PTRDIFF_MAX)

/* Ends an operation's count of steps. */
static inline void steps_record(struct ration_steps *steps, uint64_t n)
{
    steps->last = n;
    steps->all += n;
    if (n > steps->max)
        steps->max = n;
}

/* A block was handed out / given back: the counters that every kind keeps. */
static inline void stats_count_live(struct ration_heap_stats *stats, size_t usable)
{
    stats->live_blocks++;
    stats->live_usable_bytes += usable;
    if (stats->live_usable_bytes > stats->live_usable_peak)
        stats->live_usable_peak = stats->live_usable_bytes;
}

static inline void stats_count_dead(struct ration_heap_stats *stats, size_t usable)
{
    stats->live_blocks--;
    stats->live_usable_bytes -= usable;
}

#define STATS_FIGURE(type, member, figure)                                                         \
    {                                                                                              \
        offsetof(type, member) + offsetof(struct ration_heap_stats, figure), 0, 0                  \
    }

/* Where tools find the figures of a kind that keeps them in a struct ration_heap_stats (registry.h).
 */
#define FIGURES_OF_STATS(type, member)                                                             \
    {                                                                                              \
        [RATION_FIGURE_HEAP_BYTES] = STATS_FIGURE(type, member, heap_bytes),                       \
        [RATION_FIGURE_LIVE_BYTES] = STATS_FIGURE(type, member, live_usable_bytes),                \
        [RATION_FIGURE_LIVE_BLOCKS] = STATS_FIGURE(type, member, live_blocks),                     \
        [RATION_FIGURE_ALLOCS] = STATS_FIGURE(type, member, n_allocs),                             \
        [RATION_FIGURE_FREES] = STATS_FIGURE(type, member, n_frees),                               \
        [RATION_FIGURE_FAILURES] = STATS_FIGURE(type, member, n_failures),                         \
    }

static inline int finding_set(struct ration_finding *finding, unsigned invariant, uintptr_t address,
                              const char *text)
{
    finding->invariant = invariant;
    finding->address = (const void *)address;
    finding->text = text;
    return 1;
}

/* --- passthrough (passthrough.c) --- */

/* What a heap that passes through keeps of its limits. */
struct passthrough_limits {
    size_t bytes;       /* sum of requests; HEAP_SIZE_MAX: none */
    size_t block_bytes; /* each request; HEAP_SIZE_MAX: none */
    size_t blocks;      /* live blocks; SIZE_MAX: none */
    size_t least;       /* a block has at least so many bytes, whatever was asked for */
};

/* Called at the end of every kind's init. If blocks are to come from plain malloc, replaces the
 * heap's operations and returns true. */
HIDDEN bool ration_passthrough_begin(struct ration_heap *heap, struct passthrough_limits limits);

/* Gives `block` to plain free when the heap, whose handle may lie in it, has ended. */
HIDDEN void ration_passthrough_adopt(struct ration_heap *heap, void *block);

/* For arenas: a point in the order of allocations, and freeing every block that came after it. */
HIDDEN uint64_t ration_passthrough_mark(const struct ration_heap *heap);
HIDDEN void ration_passthrough_rewind(struct ration_heap *heap, uint64_t mark);

/* --- the C library, where there is one (libc.c) --- */

/* NULL members where the program has no such function. */
struct libc_calls {
    int (*posix_memalign)(void **out, size_t alignment, size_t bytes);
    void (*free)(void *block);
    long (*write)(int file, const void *bytes, size_t n);
    void (*abort)(void);
    int (*at_exit)(void (*function)(void *), void *argument, void *dso);
    char *(*secure_getenv)(const char *name);
    int (*dladdr)(const void *address, void *info); /* info: a struct libc_place */
    void *(*dlsym)(void *library, const char *name);
};

HIDDEN struct libc_calls ration_libc(void);

/* What dladdr(3) fills. */
struct libc_place {
    const char *file;
    void *file_start;
    const char *symbol; /* NULL: none is known */
    void *symbol_start;
};

/* Whether the RATION variable has `key` with exactly this value. */
HIDDEN bool ration_libc_option_is(const char *key, const char *value);

/* --- guarded heaps (frame.c): heap->frame is set --- */

/* Counts an allocation; reports it if the frame forbids. `heap` is NULL for the process's malloc.
 */
HIDDEN void ration_frame_note(struct ration_frame *frame, const struct ration_heap *heap,
                              size_t size, const void *caller);
/* Notes an allocation, then makes it, in the frame's arena if it has one. */
HIDDEN void *ration_frame_alloc(struct ration_heap *heap, size_t alignment, size_t size,
                                const void *caller);
/* Whether `block` was served by the frame's arena; frees it there if so. */
HIDDEN bool ration_frame_free(struct ration_heap *heap, void *block);
HIDDEN bool ration_frame_has(const struct ration_heap *heap, const void *block);
/* Only for a block that ration_frame_has(). */
HIDDEN void *ration_frame_resize(struct ration_heap *heap, void *block, size_t size,
                                 const void *caller);
HIDDEN size_t ration_frame_usable_size(const struct ration_heap *heap, const void *block);

#endif
