/* Huge pages, where they cannot bloat.
 *
 * A page of 2 MiB costs one fault where small ones cost 512, and far fewer misses of the address cache. But it is
 * resident as a whole from its first touch on. So huge pages are asked for only where all of these hold:
 *   - the heap is large: HUGE_FROM bytes of slots were offered to the program;
 *   - its slabs are filled: of their bytes all but one part in UNFILLED_SHARE were offered. Many threads with a slab for
 *     each class, of which they use a page, are no such heap;
 *   - it is for a slab, not for a large block that may never be touched;
 *   - 2 MiB of fresh memory lie in one.
 * What is resident without need is then at most that part, and the rest of one huge page. A range that is purged wants no
 * huge pages any more, as the kernel would otherwise join its small ones again later, the purged ones included.
 *
 * States of a chunk, 2 MiB of the window at a multiple of 2 MiB: plain (at first); huge (asked for since the heap last
 * began to use it); and plain again, once a part of it was purged.
 *
 * Invariants (huge_check):
 *  G1  a huge chunk lies below `mapped`, as a whole. */
#ifndef RATION_SPAN_HUGE_H
#define RATION_SPAN_HUGE_H

#include "os/os.h"

#include <stdbool.h>

/* Set once, early: no huge page is asked for. */
extern bool huge_never HIDDEN;

/* Bytes of slots that the slabs in use have offered so far; the slab layer counts them. A hint: relaxed. */
extern size_t huge_offered_bytes HIDDEN;

/* A run of fresh pages was taken for a slab: asks for huge pages where it enters a chunk that is free but for the run.
 * Caller: span lock. */
void huge_enter(size_t first, size_t pages);

/* A range is about to be purged or unmapped: its chunks become plain. Nobody uses the range meanwhile. No lock. */
void huge_leave(const struct os_range *range);

/* 1 if invariant G1 is broken, or 0. */
int huge_check(void);

#endif
