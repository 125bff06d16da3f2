/* What buddy.c (the operations) and buddy_look.c (looking without changing) share. */
#ifndef RATION_HEAPS_BUDDY_INTERNAL_H
#define RATION_HEAPS_BUDDY_INTERNAL_H

#include "heaps/internal.h"
#include <ration/buddy.h>

/* An entry of the table: what begins at this smallest block. */
enum { ENTRY_INSIDE = 0, ENTRY_FREE = 0x40, ENTRY_LIVE = 0x80, ENTRY_ORDER = 0x3f };

/* What lies in the first 16 bytes of a free block. */
struct ration_buddy_node {
    struct ration_buddy_node *next;
    struct ration_buddy_node *prev;
} __attribute__((may_alias));

typedef struct ration_buddy_node node;

static inline struct ration_buddy *buddy_of(const struct ration_heap *heap)
{
    return (struct ration_buddy *)(uintptr_t)heap;
}

static inline size_t size_of_order(unsigned order)
{
    return (size_t)1 << order;
}

static inline uint8_t *entry_at(const struct ration_buddy *buddy, size_t offset)
{
    return &buddy->table[offset >> buddy->min_order];
}

/* Whether `block` is the address of a free block of this order: links of a block that the program
 * wrote to are not. */
static inline bool is_free_node(const struct ration_buddy *buddy, const node *block, unsigned order)
{
    size_t offset = (uintptr_t)block - buddy->base;
    return offset < buddy->bytes && (offset & (size_of_order(order) - 1)) == 0 &&
           *entry_at(buddy, offset) == (ENTRY_FREE | order);
}

/* Whether the buddy of the block of this order is free as a whole. */
static inline bool has_free_buddy(const struct ration_buddy *buddy, size_t offset, unsigned order)
{
    size_t other = offset ^ size_of_order(order);
    return order < buddy->max_order && other + size_of_order(order) <= buddy->bytes &&
           *entry_at(buddy, other) == (ENTRY_FREE | order);
}

/* --- buddy_look.c --- */

HIDDEN int ration_buddy_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context);
HIDDEN void ration_buddy_check(const struct ration_heap *heap, struct ration_finding *finding);
HIDDEN void ration_buddy_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

#endif
