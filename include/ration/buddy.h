/* The buddy heap: blocks of powers of two over memory of the caller, in bounded time.
 *
 * A free block of 2^k bytes is cut in halves until a half would be too small for the request; the
 * two halves are buddies, and when both are free they become one block again. A byte per smallest
 * block tells what begins there; it lives in a table apart from the blocks, so every misuse is
 * recognised exactly and a live block has no header at all. Addresses count from `base`: the buddy
 * of the block at offset o of size s is at o XOR s. The memory need not be a power of two: what
 * does not fit the largest block is a row of smaller ones that never find a buddy.
 *
 * States of a block: FREE (in the list of its size), LIVE (the program's), INSIDE (a smallest block
 * that is no block of its own but part of a larger one).
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  the table's entries describe a row of blocks without gap or overlap, exactly as long as the
 * memory; I2  each block's offset is a multiple of its size, and no block reaches past the end; I3
 * every free block is in the list of its size, and the lists hold nothing else; I4  the links of
 * every list agree in both directions; I5  no two buddies of one size are both free; I6  the bitmap
 * of sizes has a bit for each list that is not empty, and no other; I7  the counters agree with the
 * blocks.
 *
 * Threads: one at a time.
 *
 * Bounds, with L = log2(largest block / smallest block): an allocation takes 1 step to find the
 * size and at most L splits; a free at most L merges. A step is one list head, split or merge, so
 * alloc_steps.max <= L + 1 and free_steps.max <= L + 1. Both hold for every sequence of calls.
 *
 * Source: Knowlton, "A Fast Storage Allocator" (1965); Knuth, The Art of Computer Programming
 * 1, 2.5. */
#ifndef RATION_BUDDY_H
#define RATION_BUDDY_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most memory that one buddy heap manages. */
#define RATION_BUDDY_MAX_BYTES ((size_t)1 << 40)

/* Bytes of table that a heap over `bytes` bytes with smallest block `min_block` needs when kept
 * apart. */
#define RATION_BUDDY_TABLE_BYTES(bytes, min_block) ((bytes) / (min_block))

struct ration_buddy_options {
    const char *name;
    size_t min_block; /* smallest block, a power of two, at least 16; 0: 32 */
    size_t alignment; /* the first block begins at a multiple of this (a power of two); 0: of
                         min_block. A block of 2^k bytes is aligned to the smaller of 2^k and what
                         the first block's address happens to be a multiple of; a request for a
                         larger alignment fails. */
    void *table; /* memory for the table, RATION_BUDDY_TABLE_BYTES; NULL: taken from the end of the
                    buffer */
    size_t table_bytes;
    ration_observe_fn *observe; /* events REQUEST, CLASS, REMOVE, SPLIT, TAKE, FAIL, RELEASE, MERGE,
                                   INSERT, RESIZE */
    void *observe_context;
};

enum { RATION_BUDDY_LEVELS = 41 };

/* A buddy heap. Everything but `heap` is private. */
struct ration_buddy {
    struct ration_heap heap;
    uintptr_t start;  /* of the memory that the heap accounts for */
    uintptr_t base;   /* offset 0: the first block */
    size_t bytes;     /* from base; a multiple of the smallest block */
    size_t end_bytes; /* from base to the end of what the heap accounts for: padding and a table in
                         the buffer */
    uint8_t *table;   /* an entry per smallest block */
    unsigned min_order; /* log2 of the smallest block */
    unsigned max_order; /* log2 of the largest possible block */
    uint64_t nonempty;  /* bit k: the list of 2^k is not empty */
    struct ration_buddy_node *first[RATION_BUDDY_LEVELS];
    ration_observe_fn *observe;
    void *observe_context;
    struct ration_heap_stats stats;
};

/* Starts a heap over `buffer`. `options` NULL means a zeroed struct. Returns &buddy->heap, or NULL
 * if the buffer has no room for one block and its table, is larger than RATION_BUDDY_MAX_BYTES, or
 * an option is not as described. */
struct ration_heap *ration_buddy_init(struct ration_buddy *buddy, void *buffer, size_t bytes,
                                      const struct ration_buddy_options *options);

void ration_buddy_observe(struct ration_buddy *buddy, ration_observe_fn *observe, void *context);

/* L of the bounds above. */
unsigned ration_buddy_levels(const struct ration_buddy *buddy);

#ifdef __cplusplus
}
#endif

#endif
