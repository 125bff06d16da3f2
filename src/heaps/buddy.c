#include "heaps/buddy_internal.h"

enum { LOWEST_ORDER = 4, DEFAULT_ORDER = 5 };

static void tell(const struct ration_buddy *buddy, enum ration_event_kind kind, unsigned order,
                 size_t offset, size_t other)
{
    if (UNLIKELY(buddy->observe != NULL)) {
        struct ration_event event = {kind, order, (void *)(buddy->base + offset),
                                     kind == RATION_EVENT_SPLIT || kind == RATION_EVENT_MERGE
                                         ? (void *)(buddy->base + other)
                                         : NULL,
                                     size_of_order(order)};
        buddy->observe(buddy->observe_context, &event);
    }
}

static void tell_request(const struct ration_buddy *buddy, enum ration_event_kind kind,
                         unsigned order)
{
    if (UNLIKELY(buddy->observe != NULL)) {
        struct ration_event event = {.kind = kind, .list = order, .bytes = size_of_order(order)};
        buddy->observe(buddy->observe_context, &event);
    }
}

/* --- lists --- */

static void insert_free(struct ration_buddy *buddy, size_t offset, unsigned order)
{
    node *block = (node *)(buddy->base + offset);
    block->next = buddy->first[order];
    block->prev = NULL;
    if (block->next != NULL)
        block->next->prev = block;
    buddy->first[order] = block;
    buddy->nonempty |= (uint64_t)1 << order;
    *entry_at(buddy, offset) = (uint8_t)(ENTRY_FREE | order);
    buddy->stats.free_blocks++;
    buddy->stats.free_bytes += size_of_order(order);
    tell(buddy, RATION_EVENT_INSERT, order, offset, 0);
}

static void remove_free(struct ration_buddy *buddy, size_t offset, unsigned order)
{
    node *block = (node *)(buddy->base + offset);
    if (block->prev != NULL)
        block->prev->next = block->next;
    else
        buddy->first[order] = block->next;
    if (block->next != NULL)
        block->next->prev = block->prev;
    if (buddy->first[order] == NULL)
        buddy->nonempty &= ~((uint64_t)1 << order);
    *entry_at(buddy, offset) = ENTRY_INSIDE;
    buddy->stats.free_blocks--;
    buddy->stats.free_bytes -= size_of_order(order);
    tell(buddy, RATION_EVENT_REMOVE, order, offset, 0);
}

static bool links_are_sound(const struct ration_buddy *buddy, size_t offset, unsigned order,
                            const char *operation)
{
    const node *block = (const node *)(buddy->base + offset);
    bool sound = block->next == NULL ||
                 (is_free_node(buddy, block->next, order) && block->next->prev == block);
    if (block->prev == NULL)
        sound = sound && buddy->first[order] == block;
    else
        sound = sound && is_free_node(buddy, block->prev, order) && block->prev->next == block;
    if (UNLIKELY(!sound))
        ration_heap_report(
            &buddy->heap, RATION_USE_AFTER_FREE, block, operation,
            "the links in a free block were overwritten: the program wrote to it after freeing it",
            block, size_of_order(order));
    return sound;
}

/* --- allocation --- */

static unsigned order_for(const struct ration_buddy *buddy, size_t size)
{
    size = max_size(size, size_of_order(buddy->min_order));
    return size == 1 ? 0 : highest_bit(size - 1) + 1;
}

/* The order whose blocks serve a request, or RATION_BUDDY_LEVELS if none can. */
static unsigned order_for_request(const struct ration_buddy *buddy, size_t size, size_t alignment)
{
    size_t natural = buddy->base & -buddy->base; /* what offset 0 is aligned to */
    if (alignment > natural || size > size_of_order(buddy->max_order))
        return RATION_BUDDY_LEVELS;
    unsigned order = order_for(buddy, max_size(size, alignment));
    return order <= buddy->max_order ? order : RATION_BUDDY_LEVELS;
}

/* Halves the block, which is in no list, until it has the wanted order; upper halves become free.
 */
static void split_down(struct ration_buddy *buddy, size_t offset, unsigned from, unsigned to,
                       uint64_t *steps)
{
    for (unsigned order = from; order > to; order--) {
        size_t upper = offset + size_of_order(order - 1);
        ++*steps;
        buddy->stats.n_splits++;
        tell(buddy, RATION_EVENT_SPLIT, order, offset, upper);
        insert_free(buddy, upper, order - 1);
    }
}

static void *alloc_order(struct ration_buddy *buddy, unsigned order, uint64_t *steps)
{
    ++*steps;
    uint64_t fitting = order < RATION_BUDDY_LEVELS ? buddy->nonempty & (~(uint64_t)0 << order) : 0;
    if (fitting == 0)
        return NULL;
    unsigned from = lowest_bit(fitting);
    tell_request(buddy, RATION_EVENT_CLASS, from);
    size_t offset = (uintptr_t)buddy->first[from] - buddy->base;
    if (!links_are_sound(buddy, offset, from, "alloc"))
        return NULL;
    remove_free(buddy, offset, from);
    split_down(buddy, offset, from, order, steps);
    *entry_at(buddy, offset) = (uint8_t)(ENTRY_LIVE | order);
    stats_count_live(&buddy->stats, size_of_order(order));
    tell(buddy, RATION_EVENT_TAKE, order, offset, 0);
    return (void *)(buddy->base + offset);
}

static void *alloc_counted(struct ration_buddy *buddy, size_t size, size_t alignment,
                           uint64_t *steps)
{
    unsigned order = order_for_request(buddy, size, alignment);
    if (order < RATION_BUDDY_LEVELS)
        tell_request(buddy, RATION_EVENT_REQUEST, order);
    void *block = alloc_order(buddy, order, steps);
    if (block == NULL) {
        buddy->stats.n_failures++;
        tell_request(buddy, RATION_EVENT_FAIL, order < RATION_BUDDY_LEVELS ? order : 0);
        return NULL;
    }
    buddy->stats.n_allocs++;
    return block;
}

static void *buddy_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_buddy *buddy = buddy_of(heap);
    uint64_t steps = 0;
    void *block = alloc_counted(buddy, size, alignment, &steps);
    steps_record(&buddy->stats.alloc_steps, steps);
    return block;
}

/* --- free --- */

/* Start of the block that contains the offset: entries inside a block are ENTRY_INSIDE. Cold. */
static COLD size_t find_start(const struct ration_buddy *buddy, size_t offset)
{
    size_t at = align_down(offset, size_of_order(buddy->min_order));
    while (at > 0 && *entry_at(buddy, at) == ENTRY_INSIDE)
        at -= size_of_order(buddy->min_order);
    return at;
}

static COLD void report_misfit(const struct ration_buddy *buddy, size_t offset,
                               const char *operation)
{
    const struct ration_heap *heap = &buddy->heap;
    const void *address = (void *)(buddy->base + offset);
    if ((offset & (min_size(size_of_order(buddy->min_order), 16) - 1)) != 0) {
        ration_heap_report(heap, RATION_MISALIGNED_FREE, address, operation,
                           "the address is not aligned as every block of this heap is", NULL, 0);
        return;
    }
    size_t start = find_start(buddy, offset);
    uint8_t entry = *entry_at(buddy, start);
    const void *block = (void *)(buddy->base + start);
    size_t bytes = size_of_order(entry & ENTRY_ORDER);
    if ((entry & ENTRY_LIVE) != 0)
        ration_heap_report(heap, RATION_INTERIOR_FREE, address, operation,
                           "the address lies inside a live block, not at its start", block, bytes);
    else
        ration_heap_report(heap, RATION_DOUBLE_FREE, address, operation,
                           start == offset ? "the block is free already"
                                           : "the address lies in memory that is free already",
                           block, bytes);
}

/* The offset of a live block, or SIZE_MAX after a report. */
static size_t resolve(const struct ration_buddy *buddy, const void *block, const char *operation)
{
    size_t offset = (uintptr_t)block - buddy->base;
    if (UNLIKELY(offset >= buddy->bytes)) {
        ration_heap_report(&buddy->heap, RATION_INVALID_FREE, block, operation,
                           "the address is not in this heap", NULL, 0);
        return SIZE_MAX;
    }
    bool starts_block = (offset & (size_of_order(buddy->min_order) - 1)) == 0;
    if (UNLIKELY(!starts_block || (*entry_at(buddy, offset) & ENTRY_LIVE) == 0)) {
        report_misfit(buddy, offset, operation);
        return SIZE_MAX;
    }
    return offset;
}

static unsigned order_at(const struct ration_buddy *buddy, size_t offset)
{
    return *entry_at(buddy, offset) & ENTRY_ORDER;
}

/* Whether every buddy that the block would merge with is as the heap left it. */
static bool is_mergeable_soundly(const struct ration_buddy *buddy, size_t offset, unsigned order)
{
    for (; has_free_buddy(buddy, offset, order); order++) {
        if (!links_are_sound(buddy, offset ^ size_of_order(order), order, "free"))
            return false;
        offset = min_size(offset, offset ^ size_of_order(order));
    }
    return true;
}

/* Frees the block, which is in no list, and merges it upward. */
static void merge_up(struct ration_buddy *buddy, size_t offset, unsigned order, uint64_t *steps)
{
    while (has_free_buddy(buddy, offset, order)) {
        size_t other = offset ^ size_of_order(order);
        ++*steps;
        remove_free(buddy, other, order);
        *entry_at(buddy, offset) = ENTRY_INSIDE;
        offset = min_size(offset, other);
        order++;
        buddy->stats.n_merges++;
        tell(buddy, RATION_EVENT_MERGE, order, offset, offset + size_of_order(order - 1));
    }
    insert_free(buddy, offset, order);
}

static void free_block(struct ration_buddy *buddy, size_t offset, uint64_t *steps)
{
    unsigned order = order_at(buddy, offset);
    ++*steps;
    tell(buddy, RATION_EVENT_RELEASE, order, offset, 0);
    stats_count_dead(&buddy->stats, size_of_order(order));
    buddy->stats.n_frees++;
    merge_up(buddy, offset, order, steps);
}

static void buddy_free(struct ration_heap *heap, void *block)
{
    struct ration_buddy *buddy = buddy_of(heap);
    size_t offset = resolve(buddy, block, "free");
    if (offset == SIZE_MAX || !is_mergeable_soundly(buddy, offset, order_at(buddy, offset)))
        return;
    uint64_t steps = 0;
    free_block(buddy, offset, &steps);
    steps_record(&buddy->stats.free_steps, steps);
}

/* --- resize --- */

/* How often the block could double in place: as long as it is the lower half and the upper half is
 * free. */
static bool is_growable_to(const struct ration_buddy *buddy, size_t offset, unsigned order,
                           unsigned wanted)
{
    for (; order < wanted; order++) {
        if ((offset & size_of_order(order)) != 0 || !has_free_buddy(buddy, offset, order) ||
            !links_are_sound(buddy, offset ^ size_of_order(order), order, "resize"))
            return false;
    }
    return true;
}

/* Makes the block of order `wanted` where it is. Returns 0, or -1 if that is impossible. */
static int resize_in_place(struct ration_buddy *buddy, size_t offset, unsigned wanted,
                           uint64_t *steps)
{
    unsigned order = order_at(buddy, offset);
    ++*steps;
    if (wanted == RATION_BUDDY_LEVELS || !is_growable_to(buddy, offset, order, wanted))
        return -1;
    stats_count_dead(&buddy->stats, size_of_order(order));
    for (unsigned at = order; at < wanted; at++) {
        ++*steps;
        remove_free(buddy, offset + size_of_order(at), at);
        buddy->stats.n_merges++;
        tell(buddy, RATION_EVENT_MERGE, at + 1, offset, offset + size_of_order(at));
    }
    split_down(buddy, offset, order, wanted, steps);
    *entry_at(buddy, offset) = (uint8_t)(ENTRY_LIVE | wanted);
    stats_count_live(&buddy->stats, size_of_order(wanted));
    if (wanted != order)
        tell(buddy, RATION_EVENT_RESIZE, wanted, offset, 0);
    return 0;
}

static void *buddy_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_buddy *buddy = buddy_of(heap);
    size_t offset = resolve(buddy, block, "resize");
    if (offset == SIZE_MAX)
        return NULL;
    uint64_t steps = 0;
    int failed = resize_in_place(buddy, offset, order_for_request(buddy, size, 1), &steps);
    steps_record(&buddy->stats.resize_steps, steps);
    return failed ? NULL : block;
}

static void *move_block(struct ration_buddy *buddy, size_t offset, size_t size, uint64_t *steps)
{
    unsigned order = order_at(buddy, offset);
    if (!is_mergeable_soundly(buddy, offset, order))
        return NULL;
    void *moved = alloc_counted(buddy, size, buddy->heap.default_alignment, steps);
    if (moved == NULL)
        return NULL;
    memcpy(moved, (void *)(buddy->base + offset), min_size(size_of_order(order), size));
    free_block(buddy, offset, steps);
    return moved;
}

static void *buddy_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_buddy *buddy = buddy_of(heap);
    size_t offset = resolve(buddy, block, "resize");
    if (offset == SIZE_MAX)
        return NULL;
    uint64_t steps = 0;
    if (resize_in_place(buddy, offset, order_for_request(buddy, size, 1), &steps) != 0)
        block = move_block(buddy, offset, size, &steps);
    steps_record(&buddy->stats.resize_steps, steps);
    return block;
}

/* --- the rest of the interface --- */

static bool buddy_owns(const struct ration_heap *heap, const void *address)
{
    const struct ration_buddy *buddy = buddy_of(heap);
    return (uintptr_t)address - buddy->base < buddy->bytes;
}

static size_t buddy_usable_size(const struct ration_heap *heap, const void *block)
{
    const struct ration_buddy *buddy = buddy_of(heap);
    size_t offset = resolve(buddy, block, "usable size");
    return offset != SIZE_MAX ? size_of_order(order_at(buddy, offset)) : 0;
}

static void buddy_destroy(struct ration_heap *heap)
{
    struct ration_buddy *buddy = buddy_of(heap);
    buddy->bytes = 0;
    buddy->nonempty = 0;
}

static const struct ration_figures buddy_figures = {
    .places = FIGURES_OF_STATS(struct ration_buddy, stats)};

static const struct ration_heap_ops buddy_ops = {
    .kind = "buddy",
    .alloc = buddy_alloc,
    .resize = buddy_resize,
    .try_resize = buddy_try_resize,
    .free = buddy_free,
    .owns = buddy_owns,
    .usable_size = buddy_usable_size,
    .walk = ration_buddy_walk,
    .check = ration_buddy_check,
    .stats = ration_buddy_stats,
    .destroy = buddy_destroy,
    .figures = &buddy_figures,
};

/* --- the beginning --- */

/* Decides where blocks and table lie. Returns 0, or -1 if there is no room. */
static int place(struct ration_buddy *buddy, uintptr_t start, size_t bytes,
                 const struct ration_buddy_options *o)
{
    size_t min_block = size_of_order(buddy->min_order);
    uintptr_t base = align_up(start, max_size(o->alignment, min_block));
    if (base < start || base - start >= bytes)
        return -1;
    size_t room = bytes - (base - start);
    size_t n = o->table != NULL ? room / min_block : room / (min_block + 1);
    if (n == 0 || (o->table != NULL && o->table_bytes < n))
        return -1;
    buddy->start = start;
    buddy->base = base;
    buddy->bytes = n * min_block;
    buddy->end_bytes = o->table != NULL ? buddy->bytes : room;
    buddy->table = o->table != NULL ? o->table : (uint8_t *)(base + buddy->bytes);
    buddy->max_order = highest_bit(buddy->bytes);
    memset(buddy->table, ENTRY_INSIDE, n);
    return 0;
}

/* Lists the memory as the largest blocks that may begin where they do. */
static void insert_all(struct ration_buddy *buddy)
{
    size_t offset = 0;
    while (offset < buddy->bytes) {
        unsigned order = highest_bit(buddy->bytes - offset);
        if (offset != 0 && lowest_bit(offset) < order)
            order = lowest_bit(offset);
        insert_free(buddy, offset, order);
        offset += size_of_order(order);
    }
}

struct ration_heap *ration_buddy_init(struct ration_buddy *buddy, void *buffer, size_t bytes,
                                      const struct ration_buddy_options *options)
{
    struct ration_buddy_options o = {0};
    if (options != NULL)
        o = *options;
    *buddy = (struct ration_buddy){0};
    bool valid = (o.min_block == 0 ||
                  (is_power_of_two(o.min_block) && highest_bit(o.min_block) >= LOWEST_ORDER)) &&
                 (o.alignment == 0 || is_power_of_two(o.alignment));
    if (buffer == NULL || !valid || bytes > RATION_BUDDY_MAX_BYTES)
        return NULL;
    buddy->min_order = o.min_block != 0 ? highest_bit(o.min_block) : DEFAULT_ORDER;
    if (place(buddy, (uintptr_t)buffer, bytes, &o) != 0)
        return NULL;
    ration_heap_init(&buddy->heap, &buddy_ops, o.name, 16);
    insert_all(buddy);
    buddy->stats.heap_bytes = buddy->base + buddy->end_bytes - buddy->start;
    buddy->stats.heap_bytes_peak = buddy->stats.heap_bytes;
    ration_buddy_observe(buddy, o.observe, o.observe_context);
    ration_passthrough_begin(&buddy->heap,
                             (struct passthrough_limits){buddy->bytes, HEAP_SIZE_MAX, SIZE_MAX, 0});
    return &buddy->heap;
}

void ration_buddy_observe(struct ration_buddy *buddy, ration_observe_fn *observe, void *context)
{
    buddy->observe = observe;
    buddy->observe_context = context;
}

unsigned ration_buddy_levels(const struct ration_buddy *buddy)
{
    return buddy->max_order - buddy->min_order;
}
