/* Looking at a buddy heap without changing it. */
#include "heaps/buddy_internal.h"

/* Numbers of the invariants in buddy.h. */
enum { I_ROW = 1, I_PLACE, I_LISTED, I_LINKS, I_MERGED, I_BITMAP, I_COUNTERS };

static int visit_table(uintptr_t from, uintptr_t to, ration_walk_fn *visit, void *context)
{
    if (from == to)
        return 0;
    struct ration_block part = {.address = (void *)from,
                                .bytes = to - from,
                                .requested_bytes = RATION_UNKNOWN,
                                .state = RATION_BLOCK_TABLE};
    return visit(&part, context);
}

int ration_buddy_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct ration_buddy *buddy = buddy_of(heap);
    int stop = visit_table(buddy->start, buddy->base, visit, context);
    size_t offset = 0;
    while (stop == 0 && offset < buddy->bytes) {
        uint8_t entry = *entry_at(buddy, offset);
        if (entry == ENTRY_INSIDE)
            return 0; /* damaged: ration_heap_check() tells where */
        size_t bytes = size_of_order(entry & ENTRY_ORDER);
        void *address = (void *)(buddy->base + offset);
        struct ration_block block = {
            address, bytes,          address,
            bytes,   RATION_UNKNOWN, entry & ENTRY_LIVE ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE};
        stop = visit(&block, context);
        offset += bytes;
    }
    if (stop != 0)
        return stop;
    return visit_table(buddy->base + buddy->bytes, buddy->base + buddy->end_bytes, visit, context);
}

struct totals {
    size_t live_blocks, live_bytes, free_blocks, free_bytes;
};

static int check_entry(const struct ration_buddy *buddy, size_t offset, struct totals *totals,
                       struct ration_finding *finding)
{
    uintptr_t address = buddy->base + offset;
    uint8_t entry = *entry_at(buddy, offset);
    unsigned order = entry & ENTRY_ORDER;
    bool is_live = (entry & ENTRY_LIVE) != 0;
    bool is_free = (entry & ENTRY_FREE) != 0;
    if (is_live == is_free || order < buddy->min_order || order > buddy->max_order)
        return finding_set(finding, I_ROW, address, "the table has no block where one must begin");
    if ((offset & (size_of_order(order) - 1)) != 0 || size_of_order(order) > buddy->bytes - offset)
        return finding_set(finding, I_PLACE, address,
                           "a block lies where no block of its size may");
    for (size_t at = size_of_order(buddy->min_order); at < size_of_order(order);
         at += size_of_order(buddy->min_order))
        if (*entry_at(buddy, offset + at) != ENTRY_INSIDE)
            return finding_set(finding, I_ROW, address + at,
                               "the table has a block that overlaps another");
    if (is_free && has_free_buddy(buddy, offset, order))
        return finding_set(finding, I_MERGED, address, "two buddies are both free");
    *(is_live ? &totals->live_blocks : &totals->free_blocks) += 1;
    *(is_live ? &totals->live_bytes : &totals->free_bytes) += size_of_order(order);
    return 0;
}

static int check_list(const struct ration_buddy *buddy, unsigned order, size_t n_free,
                      size_t *listed, struct ration_finding *finding)
{
    const node *before = NULL;
    for (const node *block = buddy->first[order]; block != NULL; block = block->next) {
        if (!is_free_node(buddy, block, order) || ++*listed > n_free)
            return finding_set(finding, I_LISTED, (uintptr_t)block,
                               "a list holds what is no free block of its size");
        if (block->prev != before)
            return finding_set(finding, I_LINKS, (uintptr_t)block,
                               "the links of a list do not agree in both directions");
        before = block;
    }
    bool bit = (buddy->nonempty >> order) & 1;
    if (bit != (buddy->first[order] != NULL))
        return finding_set(finding, I_BITMAP, (uintptr_t)&buddy->nonempty,
                           "the bitmap is wrong about a list");
    return 0;
}

void ration_buddy_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_buddy *buddy = buddy_of(heap);
    struct totals totals = {0};
    for (size_t offset = 0; offset < buddy->bytes;
         offset += size_of_order(*entry_at(buddy, offset) & ENTRY_ORDER))
        if (check_entry(buddy, offset, &totals, finding))
            return;
    size_t listed = 0;
    for (unsigned order = 0; order < RATION_BUDDY_LEVELS; order++)
        if (check_list(buddy, order, totals.free_blocks, &listed, finding))
            return;
    if (listed != totals.free_blocks) {
        finding_set(finding, I_LISTED, 0, "a free block is in no list");
        return;
    }
    const struct ration_heap_stats *s = &buddy->stats;
    if (s->live_blocks != totals.live_blocks || s->live_usable_bytes != totals.live_bytes ||
        s->free_blocks != totals.free_blocks || s->free_bytes != totals.free_bytes)
        finding_set(finding, I_COUNTERS, (uintptr_t)s, "the counters do not agree with the blocks");
}

void ration_buddy_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_buddy *buddy = buddy_of(heap);
    *stats = buddy->stats;
    stats->live_requested_bytes = RATION_UNKNOWN;
    if (buddy->nonempty != 0)
        stats->largest_free_bytes = size_of_order(highest_bit(buddy->nonempty));
    stats->largest_request_bytes = stats->largest_free_bytes;
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}
