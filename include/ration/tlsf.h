/* TLSF, two-level segregated fit: good fit in constant time over memory of the caller, for
 * real-time programs.
 *
 * Free blocks are kept in lists by size: the first level is the power of two, the second cuts each
 * power of two into 16 equal steps. A bitmap per level finds the first list that is not empty and
 * whose every block is large enough with two bit scans, so nothing is ever searched. Blocks have
 * the tags of the fit heap (8 bytes for a live block) and merge with free neighbours at once. The
 * price: a request is rounded up to the next list's size, so it can fail although one block of its
 * own list would have been large enough (at most 1/16 of the size is left unused for that reason).
 *
 * States of a block: FREE (in the list of its size), LIVE (the program's, but for the tag).
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  the row of blocks fills the heap exactly and ends with the end mark;
 *   I2  every tag's check value fits its address and contents;
 *   I3  every size is a multiple of 16, at least 16;
 *   I4  every tag tells the truth about the block before it, and every free block above 16 bytes
 * repeats its size in its last 8 bytes; I5  no two free blocks are neighbours; I6  every free block
 * is in exactly one list, the one for its size, and a list holds nothing else; I7  the links of
 * every list agree in both directions; I8  both bitmaps have a bit for each list that is not empty,
 * and no other; I9  the counters agree with the blocks.
 *
 * Threads: one at a time.
 *
 * Bounds, for every sequence of calls and independent of the number and size of blocks: an
 * allocation takes at most RATION_TLSF_ALLOC_STEPS steps and a free at most RATION_TLSF_FREE_STEPS,
 * a step being one bitmap word, one list head or one neighbour looked at. A resize that moves also
 * copies.
 *
 * Source: Masmano, Ripoll, Crespo, Real, "TLSF: a New Dynamic Memory Allocator for Real-Time
 * Systems" (ECRTS 2004). */
#ifndef RATION_TLSF_H
#define RATION_TLSF_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RATION_TLSF_MAX_BYTES ((size_t)1 << 35)

enum {
    RATION_TLSF_STEPS = 16, /* lists per power of two */
    RATION_TLSF_LEVELS =
        29, /* one for everything below 256 bytes, one for each power of two from there */
    RATION_TLSF_ALLOC_STEPS =
        6, /* bound: 3 bitmap words, 1 list head, 2 insertions of what is left over */
    RATION_TLSF_FREE_STEPS = 5,    /* bound: 2 neighbours, 2 removals, 1 insertion */
    RATION_TLSF_RESIZE_STEPS = 12, /* bound: 1 neighbour, then an allocation and a free */
};

struct ration_tlsf_options {
    const char *name;
    ration_observe_fn *observe; /* events REQUEST, CLASS, REMOVE, SPLIT, TAKE, FAIL, RELEASE, MERGE,
                                   INSERT, RESIZE */
    void *observe_context;
    uint64_t secret; /* mixed into every tag's check value, for heaps that face hostile writes */
};

/* A TLSF heap. Everything but `heap` is private. */
struct ration_tlsf {
    struct ration_heap heap;
    struct ration_row row;
    uint32_t first_level;                      /* bit f: some list of level f is not empty */
    uint32_t second_level[RATION_TLSF_LEVELS]; /* bit s: list (f, s) is not empty */
    uint32_t first[RATION_TLSF_LEVELS][RATION_TLSF_STEPS];
    ration_observe_fn *observe;
    void *observe_context;
    struct ration_heap_stats stats;
};

/* Starts a heap over `buffer`, which holds the blocks alone; this struct is kept elsewhere by the
 * caller. `options` NULL means a zeroed struct. Returns &tlsf->heap, or NULL if the buffer has no
 * room for one block or is larger than RATION_TLSF_MAX_BYTES. */
struct ration_heap *ration_tlsf_init(struct ration_tlsf *tlsf, void *buffer, size_t bytes,
                                     const struct ration_tlsf_options *options);

void ration_tlsf_observe(struct ration_tlsf *tlsf, ration_observe_fn *observe, void *context);

#ifdef __cplusplus
}
#endif

#endif
