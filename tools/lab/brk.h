/*
 * A simulated heap source: the program break of one process, with the semantics of sbrk(2).
 *
 * The break is the end of the heap. It starts at the heap's first byte; every engine of the lab
 * gets its memory only by moving it, so the largest distance it ever had is the engine's peak
 * heap. The range is reserved once and costs memory only where an engine touches it.
 *
 * Invariants
 *   B1  start <= end <= start + limit_bytes
 *   B2  peak_bytes >= end - start, and never falls
 *
 * Not thread-safe: one source belongs to one simulated heap.
 */
#ifndef RATION_LAB_BRK_H
#define RATION_LAB_BRK_H

#include <stddef.h>
#include <stdint.h>

struct brk {
    char *start;
    char *end;
    size_t limit_bytes;
    size_t peak_bytes;
    size_t n_calls; /* calls that moved the break */
    void *mapping;
    size_t mapping_bytes;
};

/*
 * Reserve a range for a heap of at most `limit_bytes` (any number; 1 or more). `start` is aligned
 * to 1 GiB when the range is that large and to the page otherwise, so that results do not depend
 * on where the system placed it. Returns 0, or -1 with errno from mmap.
 */
int brk_open(struct brk *brk, size_t limit_bytes);
void brk_close(struct brk *brk);

/*
 * Move the break by `increment` bytes, which may be negative, and return where it was; 0 reads
 * it. Returns (void *)-1 with errno ENOMEM, the break unmoved, when it would leave the range.
 * Memory above a lowered break is lost: it reads as zero when the break is raised again.
 */
void *brk_move(struct brk *brk, intptr_t increment);

static inline size_t brk_bytes(const struct brk *brk)
{
    return (size_t)(brk->end - brk->start);
}

#endif
