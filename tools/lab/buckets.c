/*
 * Buckets, simple segregated storage: one list per power of two, no split, no merge. A request is
 * rounded up to the next power of two, the head of its list serves it, free pushes it back; a
 * page of the break, once it holds blocks of one size, holds them forever.
 *
 * The size of a block is that of its page: a byte per page, outside the pages, tells it.
 */
#include "engine.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

enum { n_classes = 48, page_shift = 12, padding_class = 255 };

struct buckets {
    struct engine engine;
    char *base; /* first page */
    unsigned min_shift;
    char *first[n_classes]; /* head of each list; links are inside the blocks */
    char *fresh[n_classes]; /* rest of the class's newest page, not carved yet */
    char *fresh_end[n_classes];
    uint8_t *class_of_page;
    size_t n_pages;
    size_t pages_capacity;
};

static struct buckets *buckets_of(const struct ration_heap *heap)
{
    return (struct buckets *)(uintptr_t)heap;
}

/* A block of 4 bytes has room for a short link only: the distance from the base in steps of 4. */
static char *read_link(const struct buckets *buckets, const char *block, unsigned shift)
{
    uint64_t distance = 0;
    memcpy(&distance, block, shift < 3 ? 4 : 8);
    return distance == 0 ? NULL : buckets->base + (distance - 1) * 4;
}

static void write_link(const struct buckets *buckets, char *block, unsigned shift, const char *to)
{
    const uint64_t distance = to == NULL ? 0 : (uint64_t)(to - buckets->base) / 4 + 1;
    memcpy(block, &distance, shift < 3 ? 4 : 8);
}

static unsigned class_for(const struct buckets *buckets, size_t bytes)
{
    unsigned shift = buckets->min_shift;
    while (((size_t)1 << shift) < bytes)
        shift++;
    return shift;
}

static unsigned class_at(const struct buckets *buckets, const void *block)
{
    return buckets->class_of_page[(size_t)((const char *)block - buckets->base) >> page_shift];
}

/* Take pages from the break for class `shift`. Returns 0, or -1. */
static int grow(struct buckets *buckets, unsigned shift, size_t alignment)
{
    const size_t block = (size_t)1 << shift;
    const size_t bytes = block < space_page_bytes ? space_page_bytes : block;
    char *end = space_move_break(buckets->engine.space, 0);
    const size_t gap = align_up((uintptr_t)end, alignment) - (uintptr_t)end;
    if (space_move_break(buckets->engine.space, (intptr_t)(gap + bytes)) == (void *)-1)
        return -1;
    const size_t n = (gap + bytes) >> page_shift;
    if (buckets->n_pages + n > buckets->pages_capacity) {
        buckets->pages_capacity = 2 * (buckets->n_pages + n);
        buckets->class_of_page = lab_resize(buckets->class_of_page, buckets->pages_capacity, 1);
    }
    memset(buckets->class_of_page + buckets->n_pages, padding_class, gap >> page_shift);
    memset(buckets->class_of_page + buckets->n_pages + (gap >> page_shift), (int)shift,
           bytes >> page_shift);
    buckets->n_pages += n;
    space_charge_table(buckets->engine.space, (intptr_t)n);
    buckets->fresh[shift] = end + gap;
    buckets->fresh_end[shift] = end + gap + bytes;
    buckets->engine.stats.n_grows++;
    engine_event(&buckets->engine, RATION_EVENT_GROW, shift, end + gap, NULL, bytes);
    return 0;
}

/* The head of the list, or the first one that is aligned. */
static char *pop(struct buckets *buckets, unsigned shift, size_t alignment)
{
    char *before = NULL;
    for (char *block = buckets->first[shift]; block != NULL;
         before = block, block = read_link(buckets, block, shift)) {
        engine_examine(&buckets->engine, block, (size_t)1 << shift);
        if (((uintptr_t)block & (alignment - 1)) != 0)
            continue;
        char *after = read_link(buckets, block, shift);
        if (before != NULL)
            write_link(buckets, before, shift, after);
        else
            buckets->first[shift] = after;
        engine_event(&buckets->engine, RATION_EVENT_REMOVE, shift, block, NULL, (size_t)1 << shift);
        return block;
    }
    return NULL;
}

static char *carve(struct buckets *buckets, unsigned shift, size_t alignment)
{
    if (buckets->fresh[shift] == buckets->fresh_end[shift] && grow(buckets, shift, alignment) != 0)
        return NULL;
    char *block = buckets->fresh[shift];
    buckets->fresh[shift] += (size_t)1 << shift;
    return block;
}

static void *buckets_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct buckets *buckets = buckets_of(heap);
    engine_begin(&buckets->engine);
    char *block = NULL;
    const size_t bytes = size > alignment ? size : alignment;
    const unsigned shift = bytes >> (n_classes - 2) == 0 ? class_for(buckets, bytes) : 0;
    const size_t page_alignment = alignment > space_page_bytes ? alignment : space_page_bytes;
    engine_event(&buckets->engine, RATION_EVENT_REQUEST, shift, NULL, NULL, (size_t)1 << shift);
    if (shift != 0) {
        engine_turn(&buckets->engine, shift);
        block = pop(buckets, shift, alignment);
        if (block == NULL)
            block = carve(buckets, shift, page_alignment);
    }
    engine_event(&buckets->engine, block != NULL ? RATION_EVENT_TAKE : RATION_EVENT_FAIL, shift,
                 block, NULL, (size_t)1 << shift);
    engine_end_alloc(&buckets->engine, (size_t)1 << shift, block != NULL);
    return block;
}

static void buckets_free(struct ration_heap *heap, void *payload)
{
    struct buckets *buckets = buckets_of(heap);
    const unsigned shift = class_at(buckets, payload);
    const size_t bytes = (size_t)1 << shift;
    engine_begin(&buckets->engine);
    engine_event(&buckets->engine, RATION_EVENT_RELEASE, shift, payload, NULL, bytes);
    write_link(buckets, payload, shift, buckets->first[shift]);
    buckets->first[shift] = payload;
    engine_event(&buckets->engine, RATION_EVENT_INSERT, shift, payload, NULL, bytes);
    engine_end_free(&buckets->engine, bytes);
}

static size_t buckets_usable(const struct ration_heap *heap, const void *block)
{
    return (size_t)1 << class_at(buckets_of(heap), block);
}

static int walk_page(const struct buckets *buckets, const struct address_set *free_blocks,
                     char *page, ration_walk_fn *visit, void *context)
{
    const unsigned shift = class_at(buckets, page);
    const size_t block = (size_t)1 << shift;
    const size_t bytes = block < space_page_bytes ? space_page_bytes : block;
    const char *fresh = buckets->fresh[shift];
    for (char *at = page; at < page + bytes; at += block) {
        if (at == fresh && fresh < buckets->fresh_end[shift])
            return engine_visit(visit, context, at, (size_t)(page + bytes - at), 0,
                                RATION_BLOCK_FREE);
        const int ended =
            engine_visit(visit, context, at, block, 0,
                         address_set_has(free_blocks, at) ? RATION_BLOCK_FREE : RATION_BLOCK_LIVE);
        if (ended != 0)
            return ended;
    }
    return 0;
}

static int buckets_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct buckets *buckets = buckets_of(heap);
    struct address_set free_blocks = {0};
    for (unsigned shift = 0; shift < n_classes; shift++)
        for (char *block = buckets->first[shift]; block != NULL;
             block = read_link(buckets, block, shift))
            address_set_add(&free_blocks, block);
    address_set_sort(&free_blocks);
    int ended = 0;
    for (size_t page = 0; page < buckets->n_pages && ended == 0;) {
        char *at = buckets->base + (page << page_shift);
        const uint8_t class = buckets->class_of_page[page];
        if (class == padding_class) {
            ended = engine_visit(visit, context, at, space_page_bytes, 0, RATION_BLOCK_TABLE);
            page++;
            continue;
        }
        ended = walk_page(buckets, &free_blocks, at, visit, context);
        page += class > page_shift ? (size_t)1 << (class - page_shift) : 1;
    }
    address_set_drop(&free_blocks);
    return ended;
}

static void buckets_destroy(struct ration_heap *heap)
{
    free(buckets_of(heap)->class_of_page);
}

static int buckets_open(struct lab_heap *lab, const struct lab_choices *choices,
                        ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "buckets",
                                               .alloc = buckets_alloc,
                                               .resize = engine_resize,
                                               .try_resize = engine_try_resize,
                                               .free = buckets_free,
                                               .owns = engine_owns,
                                               .usable_size = buckets_usable,
                                               .walk = buckets_walk,
                                               .check = engine_check,
                                               .stats = engine_stats,
                                               .destroy = buckets_destroy};
    const size_t min_block = choices->min_block > 0 ? choices->min_block : 16;
    if (min_block < 4 || min_block > space_page_bytes || (min_block & (min_block - 1)) != 0) {
        *message = "the smallest block of buckets is a power of two from 4 to 4096";
        return -1;
    }
    struct buckets *buckets =
        engine_open(lab, sizeof *buckets, &ops, min_block < 16 ? min_block : 16, observe, context);
    buckets->min_shift = (unsigned)__builtin_ctzll(min_block);
    buckets->base = lab->space.brk.start;
    return 0;
}

const struct lab_strategy strategy_buckets = {
    .name = "buckets",
    .what = "a list per power of two; no split, no merge; a byte of table per page",
    .in_all = true,
    .least_block = 16,
    .open = buckets_open,
};
