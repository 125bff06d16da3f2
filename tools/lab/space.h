/*
 * The memory of one simulated heap: a break (brk.h) and page mappings beside it, both in address
 * ranges of their own, so that offsets are the same in every run. Tables that a strategy keeps
 * outside of both are charged here too, because a real allocator would pay for them.
 *
 * size of the heap = break + mappings + tables; its maximum is what utilisation divides by.
 *
 * Not thread-safe.
 */
#ifndef RATION_LAB_SPACE_H
#define RATION_LAB_SPACE_H

#include "brk.h"
#include <stdbool.h>

enum { space_page_bytes = 4096 };

struct space_mapping {
    size_t offset; /* from the start of the range of mappings */
    size_t bytes;
};

struct space {
    struct brk brk;
    struct brk maps;                /* range of mappings; its break is never moved */
    struct space_mapping *mappings; /* by address */
    size_t n_mappings;
    size_t mappings_capacity;
    size_t mapped_bytes;
    size_t table_bytes;
    size_t limit_bytes;
    size_t peak_bytes;
    size_t n_system_calls; /* simulated: moves of the break, maps and unmaps */
};

/* `limit_bytes` bounds break and mappings together. Returns 0, or -1 with errno. */
int space_open(struct space *space, size_t limit_bytes);
void space_close(struct space *space);

static inline size_t space_bytes(const struct space *space)
{
    return brk_bytes(&space->brk) + space->mapped_bytes + space->table_bytes;
}

/* sbrk on this heap; see brk_move. */
void *space_move_break(struct space *space, intptr_t increment);

/* Map `bytes` (rounded up to pages), at the lowest place; NULL when the limit is reached. */
void *space_map(struct space *space, size_t bytes);
/* Make what space_map returned `bytes` long (rounded up), by moving its pages if there is no room
 * behind it: as mremap does, old and new never count both. Returns the address, or NULL when the
 * limit is reached. */
void *space_remap(struct space *space, void *address, size_t bytes);
/* Unmap what space_map returned. */
void space_unmap(struct space *space, void *address);

/* Tables outside the break grow or shrink by `bytes`. */
void space_charge_table(struct space *space, intptr_t bytes);

/* Does [address, address + bytes) lie in memory that the heap owns now? */
bool space_holds(const struct space *space, const void *address, size_t bytes);

#endif
