/* The parts of the fit heap: fit.c (the operations), fit_list.c (lists and searches), fit_grow.c
 * (the heap's end), fit_check.c (checking and counting). */
#ifndef RATION_HEAPS_FIT_INTERNAL_H
#define RATION_HEAPS_FIT_INTERNAL_H

#include "heaps/tag.h"
#include <ration/fit.h>

/* What a search looks for. */
struct fit_request {
    size_t bytes;     /* of the block, tag included */
    size_t alignment; /* of the payload */
};

static inline void fit_tell(const struct ration_fit *fit, enum ration_event_kind kind,
                            unsigned list, uintptr_t block, uintptr_t other, size_t bytes)
{
    if (UNLIKELY(fit->options.observe != NULL)) {
        struct ration_event event = {kind, list, (void *)block, (void *)other, bytes};
        fit->options.observe(fit->options.observe_context, &event);
    }
}

static inline bool fit_is_implicit(const struct ration_fit *fit)
{
    return fit->options.order == RATION_FIT_IMPLICIT;
}

/* --- fit_list.c --- */

enum { FIT_LOWEST_ORDER = 4 }; /* log2 of the smallest block */

/* The list of a block of this size. */
static inline unsigned fit_class(const struct ration_fit *fit, size_t bytes)
{
    if (fit->options.policy != RATION_FIT_SEGREGATED)
        return 0;
    unsigned order = highest_bit(bytes);
    unsigned step =
        (unsigned)(bytes >> (order - fit->class_shift)) & ((1U << fit->class_shift) - 1);
    return ((order - FIT_LOWEST_ORDER) << fit->class_shift) + step;
}

/* A free block that serves the request, still in its list; 0 if there is none. Counts its steps. */
HIDDEN uintptr_t ration_fit_search(struct ration_fit *fit, const struct fit_request *request);

static inline bool fit_serves(const struct ration_fit *fit, uintptr_t tag,
                              const struct fit_request *request)
{
    size_t size = tag_size(tag);
    if (size < request->bytes || tag_is_live(tag))
        return false;
    if (request->alignment <= fit->row.alignment)
        return true;
    size_t gap = tag_front_gap(tag, request->alignment);
    return gap <= size - request->bytes;
}

/* The tag of the block must say its size. Insert counts its steps. */
HIDDEN void ration_fit_insert(struct ration_fit *fit, uintptr_t tag);
HIDDEN void ration_fit_remove(struct ration_fit *fit, uintptr_t tag);

/* Puts `tag` where `old` is; only where ration_fit_keeps_place(). */
HIDDEN void ration_fit_replace(struct ration_fit *fit, uintptr_t old, uintptr_t tag);

/* Whether the rest of a block belongs exactly where the block was in its list. */
static inline bool fit_keeps_place(const struct ration_fit *fit)
{
    return fit->options.order == RATION_FIT_ADDRESS && fit->options.policy != RATION_FIT_SEGREGATED;
}

/* Whether the links around a free block, whose tag is sound, agree with it; reports and returns
 * false if the program wrote to it. */
HIDDEN bool ration_fit_links_are_sound(const struct ration_fit *fit, uintptr_t tag,
                                       const char *operation);

/* The same for a block of which nothing is known yet. */
HIDDEN bool ration_fit_free_is_sound(const struct ration_fit *fit, uintptr_t tag,
                                     const char *operation);

/* --- fit.c --- */

/* Makes the free block `tag` of `size`, which is in no list, one with its free neighbours, and
 * lists the result. */
HIDDEN uintptr_t ration_fit_merge_and_insert(struct ration_fit *fit, uintptr_t tag, size_t size);

/* --- fit_grow.c --- */

/* Moves the heap's end until its last block serves the request. Returns that block, or 0. */
HIDDEN uintptr_t ration_fit_grow_for(struct ration_fit *fit, const struct fit_request *request);

/* Starts a heap whose memory all comes from growing. Returns 0, or -1. */
HIDDEN int ration_fit_grow_first(struct ration_fit *fit);

/* Makes the free block behind the live last block at least `bytes` long. Returns 0, or -1. */
HIDDEN int ration_fit_grow_behind(struct ration_fit *fit, uintptr_t tag, size_t bytes);

/* --- fit_check.c --- */

HIDDEN void ration_fit_check(const struct ration_heap *heap, struct ration_finding *finding);
HIDDEN void ration_fit_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

#endif
