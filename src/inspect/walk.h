/* The live blocks of this process in address order, without locks. */
#ifndef RATION_INSPECT_WALK_H
#define RATION_INSPECT_WALK_H

#include "inspect/view.h"

#include <ration/stats.h>

/* One zone: a slab or a large block. `slab` is a copy, or null for a large block. */
struct walk_zone {
    uintptr_t start;
    size_t bytes;
    const struct slab *slab;
};

/* Calls visit for each zone in address order that overlaps [from, to); stops when it returns not 0,
 * and returns that. */
int walk_zones(uintptr_t from, uintptr_t to, int (*visit)(const struct walk_zone *zone, void *arg),
               void *arg);

/* Calls visit for each live block that starts in [base, base + bytes). */
void walk_blocks(uintptr_t base, size_t bytes,
                 void (*visit)(uintptr_t block, size_t usable, void *arg), void *arg);

/* The bytes that the program asked for, of the live block at `block` in the slab of a copy, or
 * RATION_UNKNOWN: only hardening at its full level records them. */
size_t walk_requested(const struct slab *copy, uintptr_t block);

#endif
