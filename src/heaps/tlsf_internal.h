/* What tlsf.c (the operations) and tlsf_look.c (looking without changing) share. */
#ifndef RATION_HEAPS_TLSF_INTERNAL_H
#define RATION_HEAPS_TLSF_INTERNAL_H

#include "heaps/tag.h"
#include <ration/tlsf.h>

/* Level 0 holds sizes below 256 in steps of 16; level f > 0 holds the power of two f + 7, in 16
 * steps. */
enum { STEP_SHIFT = 4, LINEAR_ORDER = 8, TLSF_ALIGNMENT = 16 };

struct list_index {
    unsigned level, step;
};

static inline struct ration_tlsf *tlsf_of(const struct ration_heap *heap)
{
    return (struct ration_tlsf *)(uintptr_t)heap;
}

/* The list of a block of this size. */
static inline struct list_index list_of(size_t bytes)
{
    if (bytes < (size_t)1 << LINEAR_ORDER)
        return (struct list_index){0, (unsigned)(bytes >> STEP_SHIFT)};
    unsigned order = highest_bit(bytes);
    unsigned step = (unsigned)(bytes >> (order - STEP_SHIFT)) & (RATION_TLSF_STEPS - 1);
    return (struct list_index){order - LINEAR_ORDER + 1, step};
}

static inline unsigned list_number(struct list_index list)
{
    return list.level * RATION_TLSF_STEPS + list.step;
}

/* --- tlsf_look.c --- */

HIDDEN void ration_tlsf_check(const struct ration_heap *heap, struct ration_finding *finding);
HIDDEN void ration_tlsf_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

#endif
