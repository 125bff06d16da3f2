/* The lease: where the next mask comes from.
 *
 * In this order: the same group again, if a good part of it was freed (its memory is warm); the following groups that were
 * offered before; the first groups again, if enough was freed behind us; the next group never offered, which may touch a
 * new page; whatever is left. When nothing is, the slab goes back to its shelf and another is leased. */
#include "cache/cache.h"
#include "slab/shelf.h"
#include "span/span.h"

enum {
    WARM_SHARE = 4,   /* the same group is taken again if at least a quarter of it is free */
    REWIND_SHARE = 8, /* start again once frees since the last start reach an eighth of what was offered */
};

struct position {
    struct slab *slab;
    unsigned class_index;
    unsigned group_slots;
    unsigned groups;        /* of the slab */
    unsigned opened_groups; /* offered before */
};

static struct position position_of(struct slab *s, unsigned c)
{
    unsigned g = class_group(c);
    return (struct position){
        .slab = s,
        .class_index = c,
        .group_slots = g,
        .groups = (s->slots + g - 1) / g,
        .opened_groups = s->opened / g,
    };
}

static uint64_t scan_group(const struct position *at, unsigned group)
{
    return zero_bytes(at->slab->states + (size_t)group * at->group_slots, at->group_slots);
}

/* The first group in [from, to) with a free slot, or `to`. */
static unsigned find_group(const struct position *at, unsigned from, unsigned to, uint64_t *mask)
{
    for (unsigned g = from; g < to; g++) {
        *mask = scan_group(at, g);
        if (*mask != 0)
            return g;
    }
    return to;
}

static bool has_many(uint64_t mask, unsigned wanted)
{
    while (wanted > 1 && mask != 0) {
        mask &= mask - 1;
        wanted--;
    }
    return mask != 0;
}

static unsigned frees_since_start(const struct slab *s)
{
    int32_t till = atomic_load_relaxed(&s->till);
    return till > LEASE_TILL ? 0 : (unsigned)(LEASE_TILL - till);
}

static bool pays_to_rewind(const struct position *at)
{
    unsigned offered = at->opened_groups * at->group_slots;
    return frees_since_start(at->slab) >= max_size(offered / REWIND_SHARE, 1);
}

/* Pages that the group's slots lie on: all purged? They may be touched from now on. */
static bool take_purged_mark(struct slab *s, uintptr_t from, uintptr_t to)
{
    unsigned first = (unsigned)((from - s->base) >> page_shift);
    unsigned last = (unsigned)((to - 1 - s->base) >> page_shift);
    uint64_t pages = (~(uint64_t)0 >> (63 - (last - first))) << first;
    bool all = (s->purged_pages & pages) == pages;
    s->purged_pages &= ~pages;
    return all;
}

static void open_mask(struct bin *bin, struct lease *lease, const struct position *at, unsigned group,
                      uint64_t mask)
{
    struct slab *s = at->slab;
    uint32_t size = size_classes[at->class_index].size;
    unsigned first = group * at->group_slots;
    unsigned end = first + at->group_slots;
    bool is_zero = false;
    if (end > s->opened) {
        s->opened = (uint16_t)end;
        is_zero = s->fresh;
    }
    bin->states = s->states + first;
    bin->base = s->base + (uintptr_t)first * size;
    bin->size = size;
    if (s->purged_pages != 0) {
        unsigned real_end = (unsigned)min_size(end, s->slots);
        is_zero |= take_purged_mark(s, bin->base, s->base + (uintptr_t)real_end * size);
    }
    bin->is_zero = is_zero;
    bin->mask = mask;
    lease->group = group;
    /* The slots' last users stored FREE with release: what they did there happened before what comes now. */
    atomic_fence_acquire();
}

static bool take_next_mask(struct bin *bin, struct lease *lease, unsigned c)
{
    struct position at = position_of(lease->slab, c);
    unsigned here = lease->group;
    uint64_t mask = here < at.opened_groups ? scan_group(&at, here) : 0;
    unsigned found = here;
    if (!has_many(mask, at.group_slots / WARM_SHARE)) {
        found = find_group(&at, here + 1, at.opened_groups, &mask);
        if (found >= at.opened_groups && pays_to_rewind(&at)) {
            atomic_store_relaxed(&at.slab->till, LEASE_TILL);
            found = find_group(&at, 0, at.opened_groups, &mask);
        }
        if (found >= at.opened_groups && found < at.groups)
            mask = scan_group(&at, found);
        if (found >= at.groups)
            return false;
    }
    open_mask(bin, lease, &at, found, mask);
    return true;
}

bool cache_refill(struct cache *cache, unsigned c)
{
    struct lease *lease = &cache->leases[c];
    struct bin *bin = &cache->bins[c];
    while (lease->slab == NULL || !take_next_mask(bin, lease, c)) {
        if (lease->slab != NULL)
            shelf_return(lease->slab);
        lease->slab = shelf_lease(c);
        if (lease->slab == NULL)
            return false;
        /* One before the first, so that the search begins at group 0. */
        lease->group = UINT32_MAX;
    }
    return true;
}
