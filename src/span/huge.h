/* Huge pages, where they cannot bloat.
 *
 * A page of 2 MiB costs one fault where small ones cost 512, and far fewer misses of the address cache. But it is
 * resident as a whole from its first touch on. So they are asked for on evidence only that the memory will be used:
 *   - for a slab, if the slabs before it in the window were filled (slab/slab.c);
 *   - for a large block, if the program filled others of that size (core/witness.h);
 *   - where 2 MiB of fresh memory lie in one;
 *   - and while they are worth their price (span/huge_price.h).
 * What is resident without need is then a share of the heap, and the rest of one huge page. A range that is purged wants
 * no huge pages any more, as the kernel would otherwise join its small ones again later, the purged ones included.
 *
 * States of a chunk, 2 MiB of the window at a multiple of 2 MiB: plain (at first); huge (asked for since the heap last
 * began to use it); and plain again, once a part of it was purged.
 *
 * Invariants (huge_check):
 *  G1  a huge chunk lies below `mapped`, as a whole. */
#ifndef RATION_SPAN_HUGE_H
#define RATION_SPAN_HUGE_H

#include "base/bits.h"
#include "os/os.h"

#include <stdbool.h>

#define HUGE_BYTES MIB(2)
enum { HUGE_PAGES = 512 }; /* of 4 KiB; with other pages there are no huge ones */

/* No huge page is asked for: by the configuration, set before the heap opens, or as the system gives none, found out when
 * the window outgrows its first piece. */
extern bool huge_never HIDDEN;

/* Whether huge pages can be asked for at all. The window is open. */
bool huge_is_possible(void);

/* Whether a chunk begins in the range: only then is there one to ask for. */
static inline bool huge_begins_in(uintptr_t start, size_t bytes)
{
    return (start - 1) / HUGE_BYTES != (start + bytes - 1) / HUGE_BYTES;
}

/* The range is a part of a run in use, was fresh, and will be filled: asks for its chunks, and touches some of
 * these. with_rest: also for the last one that begins in it, if what follows is free and fresh as well. Takes the span
 * lock. */
void huge_ask(uintptr_t start, size_t bytes, bool with_rest);

/* Of the pages [first, first + pages): how many can be purged from the first on without splitting a huge page, which takes
 * as long (170 us measured) as purging 600 small ones; whole ones cost next to nothing (7 us). Caller: span lock. */
size_t huge_whole(size_t first, size_t pages);

/* A range is about to be purged or unmapped: its chunks become plain. Nobody uses the range meanwhile. No lock. */
void huge_leave(const struct os_range *range);

/* 1 if invariant G1 is broken, or 0. */
int huge_check(void);

#endif
