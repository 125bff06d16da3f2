#include "engine.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

void engine_begin(struct engine *engine)
{
    engine->steps = 0;
}

static void note_steps(struct ration_steps *steps, uint64_t last)
{
    steps->last = last;
    steps->all += last;
    if (last > steps->max)
        steps->max = last;
}

void engine_end_alloc(struct engine *engine, size_t usable, bool succeeded)
{
    struct ration_heap_stats *stats = &engine->stats;
    note_steps(&stats->alloc_steps, engine->steps);
    if (!succeeded) {
        stats->n_failures++;
        return;
    }
    stats->n_allocs++;
    stats->live_blocks++;
    stats->live_usable_bytes += usable;
    if (stats->live_usable_bytes > stats->live_usable_peak)
        stats->live_usable_peak = stats->live_usable_bytes;
}

void engine_end_free(struct engine *engine, size_t usable)
{
    struct ration_heap_stats *stats = &engine->stats;
    note_steps(&stats->free_steps, engine->steps);
    stats->n_frees++;
    stats->live_blocks--;
    stats->live_usable_bytes -= usable;
}

void *engine_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    return size <= heap->ops->usable_size(heap, block) ? block : NULL;
}

void *engine_resize(struct ration_heap *heap, void *block, size_t size)
{
    if (heap->ops->try_resize(heap, block, size) != NULL)
        return block;
    const size_t old = heap->ops->usable_size(heap, block);
    void *moved = heap->ops->alloc(heap, size, heap->default_alignment);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old < size ? old : size);
    heap->ops->free(heap, block);
    return moved;
}

static int add_part(const struct ration_block *block, void *context)
{
    struct ration_heap_stats *stats = context;
    if (block->state == RATION_BLOCK_FREE) {
        stats->free_blocks++;
        stats->free_bytes += block->bytes;
        if (block->bytes > stats->largest_free_bytes)
            stats->largest_free_bytes = block->bytes;
    }
    return 0;
}

void engine_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct engine *engine = engine_of(heap);
    *stats = engine->stats;
    stats->heap_bytes = space_bytes(engine->space);
    stats->heap_bytes_peak = engine->space->peak_bytes;
    stats->live_requested_bytes = RATION_UNKNOWN;
    heap->ops->walk(heap, add_part, stats);
    stats->largest_request_bytes = RATION_UNKNOWN;
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}

void engine_destroy(struct ration_heap *heap)
{
    (void)heap;
}

/* What the check has seen so far. */
struct audit {
    const struct engine *engine;
    struct ration_finding *finding;
    const char *end; /* of the part before */
    size_t live_blocks;
    size_t live_usable_bytes;
};

static int reject(struct audit *audit, unsigned number, const void *address, const char *text)
{
    *audit->finding =
        (struct ration_finding){.invariant = number, .address = address, .text = text};
    return 1;
}

static int audit_part(const struct ration_block *block, void *context)
{
    struct audit *audit = context;
    const char *from = block->address;
    const struct space *space = audit->engine->space;
    const bool is_first_mapping =
        from >= space->maps.start && audit->end != NULL && audit->end <= space->brk.end;
    if (audit->end != NULL && from < audit->end && !is_first_mapping)
        return reject(audit, 1, from, "parts come in address order without overlap");
    if (!space_holds(space, from, block->bytes))
        return reject(audit, 3, from, "every part lies in memory that the heap owns");
    audit->end = from + block->bytes;
    if (block->state == RATION_BLOCK_LIVE) {
        audit->live_blocks++;
        audit->live_usable_bytes += block->usable_bytes;
    }
    return 0;
}

void engine_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    struct audit audit = {.engine = engine_of(heap), .finding = finding};
    if (heap->ops->walk(heap, audit_part, &audit) != 0)
        return;
    const struct ration_heap_stats *stats = &audit.engine->stats;
    if (audit.live_blocks != stats->live_blocks ||
        audit.live_usable_bytes != stats->live_usable_bytes)
        reject(&audit, 2, NULL, "the live parts agree with the counters");
}

bool engine_owns(const struct ration_heap *heap, const void *address)
{
    return space_holds(engine_of(heap)->space, address, 1);
}

void address_set_add(struct address_set *set, const void *address)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity > 0 ? 2 * set->capacity : 256;
        set->at = lab_resize(set->at, set->capacity, sizeof *set->at);
    }
    set->at[set->count++] = (uintptr_t)address;
}

static int compare_addresses(const void *left, const void *right)
{
    const uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;
    return (a > b) - (a < b);
}

void address_set_sort(struct address_set *set)
{
    if (set->count > 0)
        qsort(set->at, set->count, sizeof *set->at, compare_addresses);
}

bool address_set_has(const struct address_set *set, const void *address)
{
    const uintptr_t key = (uintptr_t)address;
    return set->count > 0 &&
           bsearch(&key, set->at, set->count, sizeof key, compare_addresses) != NULL;
}

void address_set_drop(struct address_set *set)
{
    free(set->at);
}

void *engine_open(struct lab_heap *lab, size_t bytes, const struct ration_heap_ops *ops,
                  size_t alignment, ration_observe_fn *observe, void *context)
{
    struct engine *engine = lab_allocate(1, bytes);
    ration_heap_init(&engine->heap, ops, lab->strategy->name, alignment);
    engine->space = &lab->space;
    engine->observe = observe;
    engine->observe_context = context;
    lab->engine = engine;
    lab->heap = &engine->heap;
    lab->alignment = alignment;
    return engine;
}
