/* The lease: where the next mask comes from.
 *
 * States are scanned 64 at a time, a group. In this order: the same group again, if a good part of a batch was freed in it
 * (its memory is warm); the following groups that were offered before; the first groups again, if enough was freed behind
 * us; slots never offered, which may touch a new page. When there are none, the slab goes back to its shelf and another is
 * leased.
 *
 * A mask takes a batch: many small slots, few large ones, so that a program which frees what it just got keeps a small
 * footprint in the processor's caches and in memory. */
#include "cache/cache.h"
#include "slab/shelf.h"
#include "span/span.h"

enum {
    WARM_SHARE = 4,   /* the same group is taken again if it has a quarter of a batch */
    REWIND_SHARE = 8, /* start again once frees since the last start reach an eighth of what was offered */
};

static uint64_t scan_group(const struct slab *s, unsigned group)
{
    return zero_bytes(s->states + (size_t)group * GROUP_SLOTS, GROUP_SLOTS);
}

/* Bits of the slots in `group` that were offered before. */
static uint64_t offered_bits(const struct slab *s, unsigned group)
{
    unsigned first = group * GROUP_SLOTS;
    if (s->opened >= first + GROUP_SLOTS)
        return ~(uint64_t)0;
    return s->opened <= first ? 0 : ((uint64_t)1 << (s->opened - first)) - 1;
}

static unsigned offered_groups(const struct slab *s)
{
    return (s->opened + GROUP_SLOTS - 1U) / GROUP_SLOTS;
}

/* Free slots offered before, in the first group at or after `group` that has any. 0: none has. */
static uint64_t find_offered(const struct slab *s, unsigned *group)
{
    unsigned end = offered_groups(s);
    unsigned g = *group;
    for (; g + 1 < end; g++) {
        uint64_t mask = scan_group(s, g);
        if (mask != 0) {
            *group = g;
            return mask;
        }
    }
    *group = g;
    return g < end ? scan_group(s, g) & offered_bits(s, g) : 0;
}

static ALWAYS_INLINE bool has_four_bits(uint64_t mask)
{
    mask &= mask - 1;
    mask &= mask - 1;
    mask &= mask - 1;
    return mask != 0;
}

/* The free slots close behind the first one; if those are few, all. */
static ALWAYS_INLINE uint64_t choose_batch(uint64_t mask, unsigned batch)
{
    if (batch >= GROUP_SLOTS)
        return mask;
    uint64_t near = mask & ((((uint64_t)1 << batch) - 1) << lowest_bit(mask));
    return has_four_bits(near) ? near : mask;
}

static bool pays_to_rewind(const struct slab *s)
{
    int32_t frees = LEASE_TILL - atomic_load_relaxed(&s->till);
    return frees > (int32_t)(s->opened / REWIND_SHARE);
}

/* Pages that the mask's slots lie on: all purged? They may be touched from now on. */
static bool take_purged_mark(struct slab *s, uintptr_t from, uintptr_t to)
{
    unsigned first = (unsigned)((from - s->base) >> page_shift);
    unsigned last = (unsigned)((to - 1 - s->base) >> page_shift);
    uint64_t pages = (~(uint64_t)0 >> (63 - (last - first))) << first;
    bool all = (s->purged_pages & pages) == pages;
    s->purged_pages &= ~pages;
    return all;
}

/* Marks what the mask offers as offered; tells whether all of it is zero memory. */
static bool offer(struct slab *s, unsigned first, uint64_t mask, uint32_t size)
{
    unsigned low = first + lowest_bit(mask);
    unsigned end = first + highest_bit(mask) + 1;
    bool is_zero = false;
    if (end > s->opened) {
        is_zero = s->fresh && low >= s->opened;
        s->opened = (uint16_t)end;
    }
    if (UNLIKELY(s->purged_pages != 0))
        is_zero |= take_purged_mark(s, s->base + (uintptr_t)low * size, s->base + (uintptr_t)end * size);
    return is_zero;
}

static ALWAYS_INLINE void set_mask(struct bin *bin, struct lease *lease, unsigned c, unsigned group,
                                   uint64_t mask, bool is_zero)
{
    const struct slab *s = lease->slab;
    unsigned first = group * GROUP_SLOTS;
    uint32_t size = size_classes[c].size;
    bin->is_zero = is_zero;
    bin->states = (uint8_t *)(uintptr_t)(s->states + first);
    bin->base = s->base + (uintptr_t)first * size;
    bin->size = size;
    bin->mask = mask;
    lease->group = group;
    /* The slots' last users stored FREE with release: what they did there happened before what comes now. */
    atomic_fence_acquire();
}

static void offer_mask(struct bin *bin, struct lease *lease, unsigned c, unsigned group, uint64_t mask)
{
    mask = choose_batch(mask, class_batch(c));
    bool is_zero = offer(lease->slab, group * GROUP_SLOTS, mask, size_classes[c].size);
    set_mask(bin, lease, c, group, mask, is_zero);
}

/* Slots never offered: the rest of the last group that was, or the next. 0: none is left. */
static uint64_t find_fresh(const struct slab *s, unsigned *group)
{
    unsigned g = s->opened / GROUP_SLOTS;
    *group = g;
    return s->opened < s->slots ? scan_group(s, g) & ~offered_bits(s, g) : 0;
}

/* Slots of the same group that were freed since: their memory is warm. 0 if they are too few. */
static ALWAYS_INLINE uint64_t find_warm(const struct slab *s, unsigned group, unsigned c)
{
    uint64_t mask = scan_group(s, group) & offered_bits(s, group);
    return count_bits(mask) >= class_batch(c) / WARM_SHARE ? mask : 0;
}

static bool take_next_mask(struct bin *bin, struct lease *lease, unsigned c)
{
    struct slab *s = lease->slab;
    unsigned group = lease->group;
    uint64_t mask = find_warm(s, group, c);
    lease->warm = mask != 0;
    if (mask == 0) {
        group++;
        mask = find_offered(s, &group);
    }
    if (mask == 0 && pays_to_rewind(s)) {
        atomic_store_relaxed(&s->till, LEASE_TILL);
        group = 0;
        mask = find_offered(s, &group);
    }
    if (mask == 0)
        mask = find_fresh(s, &group);
    if (mask == 0)
        return false;
    offer_mask(bin, lease, c, group, mask);
    return true;
}

/* A slab just leased: from its beginning. It has a free slot, but for a race of frees that were counted and not yet made. */
static bool take_first_mask(struct bin *bin, struct lease *lease, unsigned c)
{
    unsigned group = 0;
    uint64_t mask = find_offered(lease->slab, &group);
    if (mask == 0)
        mask = find_fresh(lease->slab, &group);
    if (mask == 0)
        return false;
    offer_mask(bin, lease, c, group, mask);
    return true;
}

static NOINLINE bool refill_slow(struct cache *cache, unsigned c)
{
    struct lease *lease = &cache->leases[c];
    struct bin *bin = &cache->bins[c];
    if (cache == &no_cache || cache == &late_cache)
        return false;
    if (lease->slab != NULL && take_next_mask(bin, lease, c))
        return true;
    do {
        if (lease->slab != NULL)
            shelf_return(lease->slab);
        lease->warm = false;
        lease->slab = shelf_lease(c);
        if (lease->slab == NULL)
            return false;
    } while (!take_first_mask(bin, lease, c));
    return true;
}

/* The common cases inline: the same group is warm again, or the next group was offered before and has free slots. Of eight
 * groups in a row, one looks back (in the slow path) whether the program frees what it just got. */
bool cache_refill(struct cache *cache, unsigned c)
{
    struct lease *lease = &cache->leases[c];
    const struct slab *s = lease->slab;
    if (UNLIKELY(s == NULL || s->purged_pages != 0))
        return refill_slow(cache, c);
    unsigned group = lease->group;
    uint64_t mask;
    if (lease->warm) {
        mask = find_warm(s, group, c);
    } else {
        group++;
        if (group % 8 == 1 || (group + 1) * GROUP_SLOTS > s->opened)
            return refill_slow(cache, c);
        mask = scan_group(s, group);
    }
    if (mask == 0)
        return refill_slow(cache, c);
    set_mask(&cache->bins[c], lease, c, group, choose_batch(mask, class_batch(c)), false);
    return true;
}
