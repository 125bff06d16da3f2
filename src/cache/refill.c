/* The lease: where the next mask comes from.
 *
 * States are scanned 64 at a time, a group. In this order: the same group again, if a good part of
 * a batch was freed in it (its memory is warm); the following groups that were offered before; the
 * first groups again, if enough was freed behind us; slots never offered, which may touch a new
 * page. When there are none, the slab goes back to its shelf and another is leased.
 *
 * A mask takes a batch: many small slots, few large ones, so that a program which frees what it
 * just got keeps a small footprint in the processor's caches and in memory. Where a batch's places
 * hold fewer than eight free slots, it takes all of the group. */
#include "cache/cache.h"
#include "slab/shelf.h"
#include "span/span.h"

enum {
    WARM_SHARE = 4, /* the same group is taken again if it has a quarter of a batch, */
    FEW_SLOTS = 8,  /* and no fewer than these */
    REWIND_SHARE =
        6, /* start again once this share of what was offered was freed since the start */
    FRESH_SLOTS = 12, /* taken at once though they lie on several fresh pages */
    STRIDE = 12,      /* groups after which a pass looks back whether its last group is warm */
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

static bool pays_to_rewind(const struct slab *s)
{
    int32_t frees = LEASE_TILL - atomic_load_relaxed(&s->till);
    return frees > (int32_t)(s->opened / REWIND_SHARE);
}

/* The groups that are looked at without the slow path: when warm this one, else the next ones, if all of their slots were offered
 * before, or the next, if that is the last of which some were. None while pages are purged: masks of these want their mark off,
 * which the slow path does. */
static void set_course(struct bin *bin, bool is_warm)
{
    const struct slab *s = bin->slab;
    unsigned next = bin->group + !is_warm;
    size_t stop = s->opened / GROUP_SLOTS;
    bin->step = !is_warm;
    bin->offered = ~(uint64_t)0;
    if (LIKELY(!is_warm && next < stop)) {
        stop = min_size(next + STRIDE, stop);
    } else {
        stop = min_size(next + 1, offered_groups(s));
        bin->offered = offered_bits(s, next);
    }
    bin->stop = s->purged_pages != 0 ? 0 : (uint16_t)stop;
}

/* Fewer slots are not worth a mask while there are others. */
static unsigned enough_of(unsigned batch)
{
    return batch <= FEW_SLOTS ? batch : (unsigned)max_size(batch / WARM_SHARE, FEW_SLOTS);
}

/* A batch's places, or where free slots are sparse the whole group: each mask costs the same. */
static uint64_t choose_places(const struct bin *bin, uint64_t mask)
{
    unsigned batch = batch_of(bin->size);
    uint64_t places = ~(uint64_t)0 >> (GROUP_SLOTS - batch);
    uint64_t near = mask & (places << lowest_bit_wide(mask));
    bool is_dense = batch == GROUP_SLOTS || count_bits(near) >= enough_of(batch);
    return is_dense ? places : ~(uint64_t)0;
}

static bool offer_mask(struct bin *bin, unsigned group, uint64_t mask, bool is_warm)
{
    bin->window = choose_places(bin, mask);
    mask &= bin->window << lowest_bit_wide(mask);
    bool is_zero = slab_offer(bin->slab, group * GROUP_SLOTS, mask);
    bin_set_mask(bin, group, mask, is_zero);
    set_course(bin, is_warm);
    return true;
}

/* As many slots from `slot` on as begin on the same page; of a new slab those that end on it as well, perhaps none. */
static unsigned slots_to_page_end(const struct slab *s, unsigned slot)
{
    uint32_t size = size_classes[s->class_index].size;
    size_t start = (size_t)slot * size;
    size_t page_end = ((start >> page_shift) + 1) << page_shift;
    return (unsigned)((page_end - start + (slot == 0 ? 0 : size - 1)) / size);
}

/* Slots never offered: the rest of the last group that was, or the next; no more than one fresh page of them, or a
 * few, since a program that frees what it gets shall not touch more. 0: none is left. */
static uint64_t find_fresh(const struct slab *s, unsigned *group)
{
    unsigned g = s->opened / GROUP_SLOTS;
    *group = g;
    if (s->opened >= s->slots)
        return 0;
    uint64_t mask = scan_group(s, g) & ~offered_bits(s, g);
    unsigned most = slots_to_page_end(s, s->opened);
    unsigned end = s->opened % GROUP_SLOTS + (most > FRESH_SLOTS ? most : FRESH_SLOTS);
    return end >= GROUP_SLOTS ? mask : mask & (((uint64_t)1 << end) - 1);
}

/* Slots of the same group that were freed since: their memory is warm. 0 if they are too few. */
static uint64_t find_warm(const struct bin *bin, unsigned group)
{
    uint64_t mask = scan_group(bin->slab, group) & offered_bits(bin->slab, group);
    return count_bits(mask) >= enough_of(batch_of(bin->size)) ? mask : 0;
}

static bool take_next_mask(struct bin *bin)
{
    struct slab *s = bin->slab;
    unsigned group = bin->group;
    uint64_t mask = find_warm(bin, group);
    if (mask != 0)
        return offer_mask(bin, group, mask, true);
    group++;
    mask = find_offered(s, &group);
    if (mask == 0 && pays_to_rewind(s)) {
        atomic_store_relaxed(&s->till, LEASE_TILL);
        group = 0;
        mask = find_offered(s, &group);
    }
    if (mask == 0)
        mask = find_fresh(s, &group);
    return mask != 0 && offer_mask(bin, group, mask, false);
}

/* A slab just leased: from its beginning. It has a free slot, but for a race of frees that were
 * counted and not yet made. */
static bool take_first_mask(struct bin *bin)
{
    unsigned group = 0;
    uint64_t mask = find_offered(bin->slab, &group);
    if (mask == 0)
        mask = find_fresh(bin->slab, &group);
    return mask != 0 && offer_mask(bin, group, mask, false);
}

static bool lease_another(struct bin *bin, unsigned c, uint8_t own, bool is_exact)
{
    bin->stop = 0;
    bin->slab = shelf_exchange(bin->slab, c, own, is_exact);
    if (bin->slab == NULL)
        return false;
    bin->size = size_classes[bin->slab->class_index].size;
    return true;
}

static bool lease_mask(struct cache *cache, unsigned c, bool is_exact)
{
    struct bin *bin = &cache->bins[c];
    while (lease_another(bin, c, cache_shelf(cache), is_exact)) {
        if (take_first_mask(bin))
            return true;
    }
    return false;
}

NOINLINE bool cache_refill_slow(struct cache *cache, unsigned c)
{
    struct bin *bin = &cache->bins[c];
    if (!cache->is_owned)
        return false;
    if (bin->slab != NULL && take_next_mask(bin))
        return true;
    /* For another thread, which has no cache any more, only what is aligned as the class says. */
    return lease_mask(cache, c, cache != my_cache);
}

COLD bool cache_refill_exact(struct cache *cache, unsigned c)
{
    if (!cache->is_owned)
        return false;
    cache->bins[c].mask = 0;
    return lease_mask(cache, c, true);
}

bool cache_refill(struct cache *cache, unsigned c)
{
    return bin_refill(&cache->bins[c]) || cache_refill_slow(cache, c);
}

void *cache_take(struct cache *cache, unsigned c)
{
    struct bin *bin = &cache->bins[c];
    if (class_is_wide(c))
        return bin->n_kept != 0 ? keep_take_last(bin) : keep_take_from_shelf(cache, c, true);
    return bin->mask != 0 || cache_refill(cache, c) ? bin_take(bin) : NULL;
}
