/* The window: the range of addresses that libration hands out, and the map that finds a slab from an address.
 *
 * Addresses are cheap, memory is not: nothing is reserved. The window is a random range far from where the kernel puts
 * mappings by itself, and pages are mapped in it piece by piece (OS_MAP_EXACT), so that VmSize, RLIMIT_AS and strict
 * overcommit count what is in use only. Where the kernel refuses such addresses, a smaller range is reserved without
 * access and mapped over piece by piece; the rest of the library sees no difference.
 *
 * Invariants (window_check):
 *  I1  base is a multiple of UNIT_BYTES, and unit_count <= unit_limit.
 *  I2  map[u] is not null for every u < unit_count: a slab's record, or &no_slab.
 *  I3  map[u] covers u: the slab's start and length contain the unit; no_slab is never written. What a record covers
 *      the slab layer knows (slab_covers).
 *
 * The fields are read without a lock by every free(); they and the map's entries are written under the span lock, map
 * entries before the unit_count that makes them reachable.
 *
 * A small program's map lies in the library's own data; beyond FIRST_UNITS it moves to its place far away, once. Who still
 * looks into the first one finds there what was true when it moved: each slab that was made later was handed to him by
 * something that happened after the move. */
#ifndef RATION_AREA_WINDOW_H
#define RATION_AREA_WINDOW_H

#include "base/atomics.h"
#include "os/pages.h"
#include "sizeclass/sizeclass.h"

struct slab;

enum { FIRST_UNITS = 32 }; /* 2 MiB */

struct window {
    uintptr_t base;    /* first address; WINDOW_CLOSED until opened */
    size_t unit_count; /* units that have a map entry */
    struct slab **map; /* unit -> slab */
    size_t unit_limit; /* units of the whole window */
    bool reserved;     /* addresses were reserved: map over them */
} LINE_ALIGNED;

extern struct window window HIDDEN;

/* No address of a program is near it: a free that reads the base before the window opened, and the count after, finds no
 * unit for null nor for any small number. */
#define WINDOW_CLOSED ((uintptr_t)1 << 63)

static inline bool window_is_open(void)
{
    return window.base != WINDOW_CLOSED;
}

/* Chooses the window and maps its first `first_bytes`. False if the system gives no memory. Call once, span lock held. */
bool window_open(size_t first_bytes);

/* Maps more of the window. False if refused: nothing has changed. Span lock held. */
bool window_map(enum pages_reason why, uintptr_t start, size_t bytes);

/* Makes the first `units` units known to the map, new ones as `no_slab`. False if out of memory. Span lock held. */
bool window_cover(size_t units, struct slab *no_slab);

/* The number of the first broken invariant, or 0. covers(map[u], u) answers for I3. Nobody else uses the window. */
int window_check(bool (*covers)(const struct slab *s, size_t unit));

/* map[unit, unit + n) := entry. Span lock held: the map may move. */
void window_enter(size_t unit, unsigned n, struct slab *entry);

/* The unit of an address, or a number >= unit_count if the window does not hold it. */
static ALWAYS_INLINE size_t window_unit(uintptr_t address)
{
    return (address - atomic_load_settled(&window.base)) >> UNIT_SHIFT;
}

#endif
