/*
 * Zones, the allocator of the ft_malloc exercise: requests up to 128 bytes (TINY) and up to 1024
 * (SMALL) are carved from zones that are mapped for at least a hundred of the largest ones; every
 * larger request (LARGE) is a mapping of its own and is unmapped by free.
 *
 * Layout of a zone: [zone][block][data][block][data]…, one big free block at first, split on
 * demand. Freed blocks of TINY and SMALL stay in their zone and merge with free neighbours.
 */
#include "engine.h"
#include <string.h>

enum { tiny_max = 128, small_max = 1024, n_kinds = 2, least_data = 16 };

struct block {
    struct block *next; /* by address, inside the zone */
    struct block *previous;
    struct zone *zone;
    size_t bytes_and_live; /* data bytes, a multiple of 16; bit 0: live */
};

struct zone {
    struct zone *next;
    struct zone *previous;
    struct block *first;
    size_t bytes; /* of the mapping */
    size_t kind;  /* 0 TINY, 1 SMALL, 2 LARGE */
    size_t reserved;
};

_Static_assert(sizeof(struct block) == 32 && sizeof(struct zone) == 48, "the exercise's layout");

struct zones {
    struct engine engine;
    struct zone *zones[n_kinds + 1]; /* LARGE ones only for the walk */
    bool is_best_fit;
    bool merges;
};

static struct zones *zones_of(const struct ration_heap *heap)
{
    return (struct zones *)(uintptr_t)heap;
}

static size_t data_bytes(const struct block *block)
{
    return block->bytes_and_live & ~(size_t)15;
}

static bool is_live(const struct block *block)
{
    return (block->bytes_and_live & 1) != 0;
}

static char *data_of(struct block *block)
{
    return (char *)(block + 1);
}

static struct block *block_of(const void *data)
{
    return (struct block *)(uintptr_t)data - 1;
}

static size_t zone_bytes(size_t kind)
{
    const size_t most = kind == 0 ? tiny_max : small_max;
    return align_up(sizeof(struct zone) + 100 * (most + sizeof(struct block)), space_page_bytes);
}

static struct zone *map_zone(struct zones *zones, size_t kind, size_t bytes)
{
    struct zone *zone = space_map(zones->engine.space, bytes);
    if (zone == NULL)
        return NULL;
    *zone = (struct zone){.next = zones->zones[kind],
                          .first = (struct block *)(zone + 1),
                          .bytes = align_up(bytes, space_page_bytes),
                          .kind = kind};
    if (zone->next != NULL)
        zone->next->previous = zone;
    zones->zones[kind] = zone;
    *zone->first = (struct block){
        .zone = zone, .bytes_and_live = zone->bytes - sizeof *zone - sizeof(struct block)};
    zones->engine.stats.n_grows++;
    engine_event(&zones->engine, RATION_EVENT_GROW, (unsigned)kind, zone, NULL, zone->bytes);
    engine_event(&zones->engine, RATION_EVENT_INSERT, (unsigned)kind, zone->first, NULL,
                 zone->bytes - sizeof *zone);
    return zone;
}

/* Data that a free block must have so that `size` bytes at `alignment` fit, with a free block of
 * its own in front of them where the alignment needs a gap. */
static size_t bytes_wanted(size_t size, size_t alignment)
{
    return alignment <= 16 ? size : size + alignment + sizeof(struct block) + least_data;
}

static struct block *search(struct zones *zones, size_t kind, size_t wanted)
{
    struct block *best = NULL;
    for (struct zone *zone = zones->zones[kind]; zone != NULL; zone = zone->next) {
        for (struct block *block = zone->first; block != NULL; block = block->next) {
            engine_examine(&zones->engine, block, sizeof *block + data_bytes(block));
            if (is_live(block) || data_bytes(block) < wanted)
                continue;
            if (best == NULL || data_bytes(block) < data_bytes(best))
                best = block;
            if (!zones->is_best_fit)
                return best;
        }
    }
    return best;
}

/* Cut `block` so that it keeps `keep` data bytes; the rest becomes a block of its own. */
static struct block *split(struct zones *zones, struct block *block, size_t keep)
{
    struct block *rest = (struct block *)(data_of(block) + keep);
    engine_event(&zones->engine, RATION_EVENT_SPLIT, (unsigned)block->zone->kind, block, rest,
                 sizeof *block + data_bytes(block));
    *rest = (struct block){.next = block->next,
                           .previous = block,
                           .zone = block->zone,
                           .bytes_and_live = data_bytes(block) - keep - sizeof *rest};
    if (rest->next != NULL)
        rest->next->previous = rest;
    block->next = rest;
    block->bytes_and_live = keep | (block->bytes_and_live & 1);
    zones->engine.stats.n_splits++;
    engine_event(&zones->engine, RATION_EVENT_INSERT, (unsigned)block->zone->kind, rest, NULL,
                 sizeof *rest + data_bytes(rest));
    return rest;
}

static struct block *carve(struct zones *zones, struct block *block, size_t size, size_t alignment)
{
    engine_event(&zones->engine, RATION_EVENT_REMOVE, (unsigned)block->zone->kind, block, NULL,
                 sizeof *block + data_bytes(block));
    if (((uintptr_t)data_of(block) & (alignment - 1)) != 0) {
        const uintptr_t from = (uintptr_t)data_of(block) + sizeof *block + least_data;
        const size_t lead = align_up(from, alignment) - sizeof *block - (uintptr_t)data_of(block);
        block = split(zones, block, lead);
    }
    if (data_bytes(block) >= size + sizeof *block + least_data)
        split(zones, block, size);
    block->bytes_and_live |= 1;
    engine_event(&zones->engine, RATION_EVENT_TAKE, (unsigned)block->zone->kind, block, NULL,
                 sizeof *block + data_bytes(block));
    return block;
}

static struct block *take(struct zones *zones, size_t size, size_t alignment)
{
    const size_t wanted = bytes_wanted(size, alignment);
    const size_t kind = wanted <= tiny_max ? 0 : wanted <= small_max ? 1 : 2;
    struct block *block = kind < 2 ? search(zones, kind, wanted) : NULL;
    if (block == NULL) {
        const size_t bytes =
            kind < 2 ? zone_bytes(kind) : sizeof(struct zone) + sizeof(struct block) + wanted;
        struct zone *zone = map_zone(zones, kind, bytes);
        if (zone == NULL)
            return NULL;
        block = zone->first;
    }
    if (kind < 2)
        return carve(zones, block, size, alignment);
    if (((uintptr_t)data_of(block) & (alignment - 1)) != 0)
        return carve(zones, block, size, alignment);
    block->bytes_and_live |= 1;
    engine_event(&zones->engine, RATION_EVENT_TAKE, 2, block, NULL,
                 sizeof *block + data_bytes(block));
    return block;
}

static void *zones_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct zones *zones = zones_of(heap);
    const size_t rounded = align_up(size > 0 ? size : 1, 16);
    engine_begin(&zones->engine);
    engine_event(&zones->engine, RATION_EVENT_REQUEST, 0, NULL, NULL,
                 rounded + sizeof(struct block));
    struct block *block = rounded >= size ? take(zones, rounded, alignment) : NULL;
    if (block == NULL)
        engine_event(&zones->engine, RATION_EVENT_FAIL, 0, NULL, NULL, rounded);
    engine_end_alloc(&zones->engine, block != NULL ? data_bytes(block) : 0, block != NULL);
    return block != NULL ? data_of(block) : NULL;
}

/* `block` swallows the free neighbour above it. */
static void merge_next(struct zones *zones, struct block *block)
{
    struct block *above = block->next;
    const unsigned kind = (unsigned)block->zone->kind;
    engine_event(&zones->engine, RATION_EVENT_REMOVE, kind, above, NULL,
                 sizeof *above + data_bytes(above));
    block->bytes_and_live += sizeof *above + data_bytes(above);
    block->next = above->next;
    if (block->next != NULL)
        block->next->previous = block;
    zones->engine.stats.n_merges++;
    engine_event(&zones->engine, RATION_EVENT_MERGE, kind, block, above,
                 sizeof *block + data_bytes(block));
}

static void unmap_zone(struct zones *zones, struct zone *zone)
{
    if (zone->next != NULL)
        zone->next->previous = zone->previous;
    if (zone->previous != NULL)
        zone->previous->next = zone->next;
    else
        zones->zones[zone->kind] = zone->next;
    engine_event(&zones->engine, RATION_EVENT_SHRINK, (unsigned)zone->kind, zone, NULL,
                 zone->bytes);
    space_unmap(zones->engine.space, zone);
}

static void zones_free(struct ration_heap *heap, void *data)
{
    struct zones *zones = zones_of(heap);
    struct block *block = block_of(data);
    const size_t usable = data_bytes(block);
    const unsigned kind = (unsigned)block->zone->kind;
    engine_begin(&zones->engine);
    zones->engine.steps++;
    engine_event(&zones->engine, RATION_EVENT_RELEASE, kind, block, NULL, sizeof *block + usable);
    block->bytes_and_live &= ~(size_t)1;
    if (kind == 2) {
        unmap_zone(zones, block->zone);
        engine_end_free(&zones->engine, usable);
        return;
    }
    if (zones->merges && block->next != NULL && !is_live(block->next))
        merge_next(zones, block);
    if (zones->merges && block->previous != NULL && !is_live(block->previous)) {
        block = block->previous;
        merge_next(zones, block);
    }
    engine_event(&zones->engine, RATION_EVENT_INSERT, kind, block, NULL,
                 sizeof *block + data_bytes(block));
    engine_end_free(&zones->engine, usable);
}

static size_t zones_usable(const struct ration_heap *heap, const void *data)
{
    (void)heap;
    return data_bytes(block_of(data));
}

/* Grows into the free block above. */
static void *zones_try_resize(struct ration_heap *heap, void *data, size_t size)
{
    struct zones *zones = zones_of(heap);
    struct block *block = block_of(data);
    const size_t before = data_bytes(block);
    const size_t rounded = align_up(size > 0 ? size : 1, 16);
    if (rounded < size)
        return NULL;
    if (rounded > before) {
        struct block *above = block->next;
        if (above == NULL || is_live(above) || before + sizeof *above + data_bytes(above) < rounded)
            return NULL;
        merge_next(zones, block);
        if (data_bytes(block) >= rounded + sizeof *block + least_data)
            split(zones, block, rounded);
        engine_event(&zones->engine, RATION_EVENT_RESIZE, (unsigned)block->zone->kind, block, NULL,
                     sizeof *block + data_bytes(block));
    }
    zones->engine.stats.live_usable_bytes += data_bytes(block) - before;
    return data;
}

static int walk_zone(const struct zone *zone, ration_walk_fn *visit, void *context)
{
    int ended = engine_visit(visit, context, zone, sizeof *zone, 0, RATION_BLOCK_TABLE);
    for (struct block *block = zone->first; block != NULL && ended == 0; block = block->next)
        ended = engine_visit(visit, context, block, sizeof *block + data_bytes(block),
                             sizeof *block, is_live(block) ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE);
    return ended;
}

/* The space knows the mappings in address order, and each begins with a zone. */
static int zones_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct space *space = zones_of(heap)->engine.space;
    int ended = 0;
    for (size_t i = 0; i < space->n_mappings && ended == 0; i++)
        ended = walk_zone((const struct zone *)(space->maps.start + space->mappings[i].offset),
                          visit, context);
    return ended;
}

static int zones_open(struct lab_heap *lab, const struct lab_choices *choices,
                      ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "zones",
                                               .alloc = zones_alloc,
                                               .resize = engine_resize,
                                               .try_resize = zones_try_resize,
                                               .free = zones_free,
                                               .owns = engine_owns,
                                               .usable_size = zones_usable,
                                               .walk = zones_walk,
                                               .check = engine_check,
                                               .stats = engine_stats,
                                               .destroy = engine_destroy};
    const bool is_best = choices->fit != NULL && strcmp(choices->fit, "best") == 0;
    if (choices->fit != NULL && !is_best && strcmp(choices->fit, "first") != 0) {
        *message = "zones search by first or best fit";
        return -1;
    }
    struct zones *zones = engine_open(lab, sizeof *zones, &ops, 16, observe, context);
    zones->is_best_fit = is_best;
    zones->merges = choices->coalesce == NULL || strcmp(choices->coalesce, "never") != 0;
    return 0;
}

const struct lab_strategy strategy_zones = {
    .name = "zones",
    .what = "TINY, SMALL and LARGE of the ft_malloc exercise; 32-byte headers, mappings only",
    .in_all = true,
    .header_bytes = 32,
    .least_block = 48,
    .open = zones_open,
};
