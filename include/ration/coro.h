/* Stacks for coroutines and threads of one's own, each above a guard page that stops an overflow at
 * once.
 *
 * All stacks lie in one range of addresses that is taken from a source when the heap starts; memory
 * behind it is provided as it is touched. Between two stacks is a guard. An entry for each stack in
 * a table apart says whether it is free, so every misuse is recognised exactly. Freed stacks are
 * handed out again, last freed first, as they are.
 *
 * As a heap: ration_heap_alloc(heap, n) returns the lowest usable address of a stack if n is at
 * most stack_bytes, else NULL; stacks are aligned to pages.
 *
 * States of a stack: FRESH (never used, no guard yet), LIVE, FREE.
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  the list of free stacks holds no stack twice and no live one;
 *   I2  every stack that was ever handed out is live or in the list;
 *   I3  the counters agree with the table.
 *
 * Threads: one at a time. Needs an operating system with mmap. */
#ifndef RATION_CORO_H
#define RATION_CORO_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ration_stacks_options {
    const char *name;
    size_t stack_bytes; /* usable bytes of each, rounded up to pages; 0: 64 KiB */
    size_t guard_bytes; /* untouchable below each, rounded up to pages; 0: one page */
    size_t n_stacks;    /* at most so many at once; at least 1 */
    const struct ration_source *source; /* must have `protect`; NULL: ration_source_system() */
};

/* Everything but `heap` is private. */
struct ration_stacks {
    struct ration_heap heap;
    struct ration_stacks_options options;
    uintptr_t start;     /* of the range: the table, then guard, stack, guard, stack … */
    size_t bytes;        /* of the range */
    size_t table_bytes;  /* whole pages */
    uint32_t *entries;   /* an entry per stack: its state, or the next free one */
    uint32_t first_free; /* number + 1; 0: none */
    uint32_t n_used;     /* stacks below have been handed out before */
    struct ration_heap_stats stats;
};

/* Starts the heap. Returns &stacks->heap, or NULL if an option is not as described or the source
 * has no memory. */
struct ration_heap *ration_stacks_init(struct ration_stacks *stacks,
                                       const struct ration_stacks_options *options);

/* The end of a live stack: where a stack that grows downward starts. Page-aligned. */
void *ration_stack_top(const struct ration_stacks *stacks, void *stack);

/* Bytes of the stack's deepest use so far, by all its users: from the lowest byte that is not zero
 * to its top. Linear in the unused part. */
size_t ration_stack_used_bytes(const struct ration_stacks *stacks, void *stack);

#ifdef __cplusplus
}
#endif

#endif
