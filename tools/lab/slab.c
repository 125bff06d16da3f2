/*
 * Slabs: blocks without headers. Requests up to 1024 bytes are rounded up to one of 48 size
 * classes and live in slabs of up to 64 equal slots; larger ones live in runs of their own. Slabs
 * and runs are made of grains of 64 bytes, with best fit over sizes of free runs and immediate
 * merging, so that an empty slab serves any other class.
 *
 * Blocks of 128 KiB and more are mappings of their own, which grow by moving their pages: a large
 * array that grows leaves no hole behind.
 *
 * Nothing but payload is in the memory of a live block. Outside, and charged to the heap: two
 * bits per grain (run begins here; first or last grain of a live run) and a record per run.
 *
 * A slab has a twelfth of the slots that its class uses already, so what a class may hold in vain
 * stays small beside what it uses; a program with three objects of a class does not pay for 64.
 */
#include "slab.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

static struct slab_heap *slab_of(const struct ration_heap *heap)
{
    return (struct slab_heap *)(uintptr_t)heap;
}

/* ---- classes ----------------------------------------------------------------------------- */

static unsigned class_for(size_t size)
{
    if (size <= 512)
        return size == 0 ? 0 : (unsigned)((size - 1) / 16);
    return 32 + (unsigned)((size - 513) / 32);
}

static size_t class_bytes(unsigned class)
{
    return class < 32 ? 16 * ((size_t) class + 1) : 512 + 32 * ((size_t) class - 31);
}

/* ---- records ----------------------------------------------------------------------------- */

static size_t bucket_of(const struct slab_heap *slab, size_t grain)
{
    return (size_t)((uint64_t)grain * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (slab->n_buckets - 1);
}

static void enter_record(struct slab_heap *slab, struct record *record)
{
    const size_t bucket = bucket_of(slab, record->first_grain);
    record->next_in_bucket = slab->buckets[bucket];
    slab->buckets[bucket] = record;
}

static void widen_buckets(struct slab_heap *slab)
{
    struct record **old = slab->buckets;
    const size_t n_old = slab->n_buckets;
    slab->n_buckets = n_old > 0 ? 2 * n_old : 256;
    slab->buckets = lab_allocate(slab->n_buckets, sizeof(struct record *));
    for (size_t i = 0; i < n_old; i++) {
        for (struct record *record = old[i], *next; record != NULL; record = next) {
            next = record->next_in_bucket;
            enter_record(slab, record);
        }
    }
    free(old);
}

static struct record *open_record(struct slab_heap *slab, size_t first, size_t n_grains,
                                  unsigned class)
{
    if (slab->n_records >= slab->n_buckets)
        widen_buckets(slab);
    struct record *record = lab_allocate(1, sizeof *record);
    record->first_grain = first;
    record->n_grains = n_grains;
    record->class = class;
    enter_record(slab, record);
    slab->n_records++;
    space_charge_table(slab->engine.space, record_bytes);
    return record;
}

static void close_record(struct slab_heap *slab, struct record *record)
{
    struct record **link = &slab->buckets[bucket_of(slab, record->first_grain)];
    while (*link != record)
        link = &(*link)->next_in_bucket;
    *link = record->next_in_bucket;
    slab->n_records--;
    space_charge_table(slab->engine.space, -(intptr_t)record_bytes);
    free(record);
}

static bool is_mapped(const struct slab_heap *slab, const void *address)
{
    const struct brk *maps = &slab->engine.space->maps;
    return (size_t)((const char *)address - maps->start) < maps->limit_bytes;
}

/* The number under which a record is found; of a mapping it is one that no run has. */
static size_t grain_of(const struct slab_heap *slab, const void *address)
{
    return (size_t)((uintptr_t)address - (uintptr_t)slab->base) >> grain_shift;
}

/* The record of the run that holds `address`: back to the grain where a run begins. */
static struct record *record_at(const struct slab_heap *slab, const void *address)
{
    size_t grain = grain_of(slab, address);
    while (!is_mapped(slab, address) && !slab_has_bit(slab->begins, grain))
        grain--;
    struct record *record = slab->buckets[bucket_of(slab, grain)];
    while (record->first_grain != grain)
        record = record->next_in_bucket;
    return record;
}

static size_t slot_bytes(const struct record *record)
{
    return record->class == large_class ? record->n_grains << grain_shift
                                        : class_bytes(record->class);
}

/* ---- slabs ------------------------------------------------------------------------------- */

static void push_partial(struct slab_heap *slab, struct record *record)
{
    record->previous = NULL;
    record->next = slab->partial[record->class];
    if (record->next != NULL)
        record->next->previous = record;
    slab->partial[record->class] = record;
}

static void drop_partial(struct slab_heap *slab, struct record *record)
{
    if (record->previous != NULL)
        record->previous->next = record->next;
    else
        slab->partial[record->class] = record->next;
    if (record->next != NULL)
        record->next->previous = record->previous;
}

static size_t grains_for(unsigned class, uint32_t slots)
{
    return align_up(slots * class_bytes(class), grain_bytes) >> grain_shift;
}

/* Fewer slots than planned if that saves the heap from growing: a hole that holds some is used, as
 * a whole, before the break moves. */
static uint32_t slots_for_next_slab(struct slab_heap *slab, unsigned class)
{
    const size_t least = 1 + (least_slab_bytes - 1) / class_bytes(class);
    size_t planned = slab->live_slots[class] / growth_share;
    planned = planned < least ? least : planned > most_slots ? most_slots : planned;
    if (runs_search(slab, grains_for(class, (uint32_t)planned)) != NULL)
        return (uint32_t)planned;
    const struct free_run *hole = runs_search_below(slab, grains_for(class, (uint32_t)planned),
                                                    grains_for(class, (uint32_t)least));
    if (hole == NULL)
        return (uint32_t)planned;
    return (uint32_t)((hole->n_grains << grain_shift) / class_bytes(class));
}

static struct record *open_slab(struct slab_heap *slab, unsigned class)
{
    const uint32_t slots = slots_for_next_slab(slab, class);
    const size_t grains = grains_for(class, slots);
    const size_t first = runs_take(slab, grains, grain_bytes);
    if (first == SIZE_MAX)
        return NULL;
    struct record *record = open_record(slab, first, grains, class);
    const size_t fitting = (grains << grain_shift) / class_bytes(class);
    record->n_slots = (uint32_t)(fitting < most_slots ? fitting : most_slots);
    record->free_slots = ~UINT64_C(0) >> (64 - record->n_slots);
    push_partial(slab, record);
    return record;
}

static void *take_slot(struct slab_heap *slab, unsigned class)
{
    engine_turn(&slab->engine, class);
    struct record *record = slab->partial[class];
    if (record == NULL)
        record = open_slab(slab, class);
    if (record == NULL)
        return NULL;
    const unsigned slot = (unsigned)__builtin_ctzll(record->free_slots);
    slab->engine.steps++;
    record->free_slots &= record->free_slots - 1;
    slab->live_slots[class]++;
    if (record->free_slots == 0)
        drop_partial(slab, record);
    return slab_grain_address(slab, record->first_grain) + slot * class_bytes(class);
}

static size_t page_grains(size_t bytes)
{
    return align_up(bytes, space_page_bytes) >> grain_shift;
}

static void *take_mapping(struct slab_heap *slab, size_t size)
{
    void *block = space_map(slab->engine.space, size);
    if (block != NULL)
        open_record(slab, grain_of(slab, block), page_grains(size), large_class);
    return block;
}

static void *take_large(struct slab_heap *slab, size_t size, size_t alignment)
{
    if (size >= least_mapped && alignment <= space_page_bytes)
        return take_mapping(slab, size);
    const size_t grains = (size >> grain_shift) + ((size & (grain_bytes - 1)) != 0);
    const size_t first = runs_take(slab, grains, alignment > grain_bytes ? alignment : grain_bytes);
    if (first == SIZE_MAX)
        return NULL;
    open_record(slab, first, grains, large_class);
    return slab_grain_address(slab, first);
}

static void *slab_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct slab_heap *slab = slab_of(heap);
    engine_begin(&slab->engine);
    engine_event(&slab->engine, RATION_EVENT_REQUEST, 0, NULL, NULL, size);
    const size_t need = alignment > 16 && size < grain_bytes ? grain_bytes : size;
    const bool is_small = need <= most_small && alignment <= 16;
    void *block = NULL;
    if (is_small)
        block = take_slot(slab, class_for(need));
    else if (need <= slab->engine.space->limit_bytes)
        block = take_large(slab, need, alignment);
    size_t usable = 0;
    if (block != NULL)
        usable = is_small ? class_bytes(class_for(need)) : slot_bytes(record_at(slab, block));
    engine_event(&slab->engine, block != NULL ? RATION_EVENT_TAKE : RATION_EVENT_FAIL, 0, block,
                 NULL, block != NULL ? usable : size);
    engine_end_alloc(&slab->engine, usable, block != NULL);
    return block;
}

static void give_slot(struct slab_heap *slab, struct record *record, const void *block)
{
    const size_t offset =
        (size_t)((const char *)block - slab_grain_address(slab, record->first_grain));
    const uint64_t all = ~UINT64_C(0) >> (64 - record->n_slots);
    if (record->free_slots == 0)
        push_partial(slab, record);
    record->free_slots |= UINT64_C(1) << (offset / class_bytes(record->class));
    slab->engine.steps++;
    slab->live_slots[record->class]--;
    if (record->free_slots != all)
        return;
    drop_partial(slab, record);
    runs_give(slab, record->first_grain, record->n_grains);
    close_record(slab, record);
}

static void slab_free(struct ration_heap *heap, void *block)
{
    struct slab_heap *slab = slab_of(heap);
    struct record *record = record_at(slab, block);
    const size_t usable = slot_bytes(record);
    engine_begin(&slab->engine);
    engine_event(&slab->engine, RATION_EVENT_RELEASE, 0, block, NULL, usable);
    if (record->class != large_class) {
        give_slot(slab, record, block);
    } else {
        if (is_mapped(slab, block))
            space_unmap(slab->engine.space, block);
        else
            runs_give(slab, record->first_grain, record->n_grains);
        close_record(slab, record);
    }
    engine_end_free(&slab->engine, usable);
}

static size_t slab_usable(const struct ration_heap *heap, const void *block)
{
    return slot_bytes(record_at(slab_of(heap), block));
}

/* Grains behind a large block, from a free run there or from the break. */
static bool extend_large(struct slab_heap *slab, struct record *record, size_t more)
{
    const size_t end = record->first_grain + record->n_grains;
    struct free_run *above = NULL;
    if (end < slab->n_grains && slab_has_bit(slab->edge_is_live, end))
        return false;
    if (end < slab->n_grains)
        above = (struct free_run *)slab_grain_address(slab, end);
    const bool is_last = end + (above != NULL ? above->n_grains : 0) == slab->n_grains;
    if ((above == NULL || above->n_grains < more) && !is_last)
        return false;
    if (above != NULL && above->n_grains >= more)
        runs_remove(slab, above);
    else if ((above = runs_grow(slab, more)) == NULL)
        return false;
    const size_t found = above->n_grains;
    runs_mark(slab, record->first_grain, record->n_grains, false);
    record->n_grains += more;
    runs_mark(slab, record->first_grain, record->n_grains, true);
    if (found > more)
        runs_insert(slab, end + more, found - more);
    return true;
}

static void shrink_large(struct slab_heap *slab, struct record *record, size_t n_grains)
{
    const size_t rest = record->n_grains - n_grains;
    if (rest == 0)
        return;
    runs_mark(slab, record->first_grain, record->n_grains, false);
    record->n_grains = n_grains;
    runs_mark(slab, record->first_grain, n_grains, true);
    runs_give(slab, record->first_grain + n_grains, rest);
}

static void *slab_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct slab_heap *slab = slab_of(heap);
    struct record *record = record_at(slab, block);
    const size_t before = slot_bytes(record);
    if (record->class != large_class)
        return size <= before && class_for(size) + 4 > record->class ? block : NULL;
    if (is_mapped(slab, block)) /* growing may move it: slab_resize */
        return size <= before && size > before / 2 ? block : NULL;
    if (size <= most_small || size > slab->engine.space->limit_bytes)
        return NULL;
    const size_t grains = (size >> grain_shift) + ((size & (grain_bytes - 1)) != 0);
    engine_begin(&slab->engine);
    if (grains <= record->n_grains)
        shrink_large(slab, record, grains);
    else if (!extend_large(slab, record, grains - record->n_grains))
        return NULL;
    slab->engine.stats.live_usable_bytes += slot_bytes(record) - before;
    engine_event(&slab->engine, RATION_EVENT_RESIZE, 0, block, NULL, slot_bytes(record));
    return block;
}

static void *slab_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct slab_heap *slab = slab_of(heap);
    if (!is_mapped(slab, block) || size < least_mapped)
        return engine_resize(heap, block, size);
    struct record *record = record_at(slab, block);
    const size_t before = slot_bytes(record);
    engine_begin(&slab->engine);
    void *moved = space_remap(slab->engine.space, block, size);
    if (moved == NULL)
        return NULL;
    close_record(slab, record);
    record = open_record(slab, grain_of(slab, moved), page_grains(size), large_class);
    slab->engine.stats.live_usable_bytes += slot_bytes(record) - before;
    engine_event(&slab->engine, RATION_EVENT_RESIZE, 0, moved, NULL, slot_bytes(record));
    return moved;
}

/* ---- walk -------------------------------------------------------------------------------- */

static int walk_slab(const struct slab_heap *slab, const struct record *record,
                     ration_walk_fn *visit, void *context)
{
    char *from = slab_grain_address(slab, record->first_grain);
    const size_t bytes = record->n_grains << grain_shift;
    if (record->class == large_class)
        return engine_visit(visit, context, from, bytes, 0, RATION_BLOCK_LIVE);
    const size_t slot = class_bytes(record->class);
    int ended = 0;
    for (uint32_t i = 0; i < record->n_slots && ended == 0; i++)
        ended = engine_visit(visit, context, from + i * slot, slot, 0,
                             (record->free_slots >> i & 1) != 0 ? RATION_BLOCK_FREE
                                                                : RATION_BLOCK_LIVE);
    const size_t used = record->n_slots * slot;
    if (ended == 0 && used < bytes)
        ended = engine_visit(visit, context, from + used, bytes - used, 0, RATION_BLOCK_TABLE);
    return ended;
}

static int slab_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct slab_heap *slab = slab_of(heap);
    int ended = 0;
    for (size_t grain = 0; grain < slab->n_grains && ended == 0;) {
        char *at = slab_grain_address(slab, grain);
        if (slab_has_bit(slab->begins, grain)) {
            const struct record *record = record_at(slab, at);
            ended = walk_slab(slab, record, visit, context);
            grain += record->n_grains;
        } else {
            const size_t n_grains = ((const struct free_run *)at)->n_grains;
            ended = engine_visit(visit, context, at, n_grains << grain_shift, 0, RATION_BLOCK_FREE);
            grain += n_grains;
        }
    }
    const struct space *space = slab->engine.space;
    for (size_t i = 0; i < space->n_mappings && ended == 0; i++)
        ended = engine_visit(visit, context, space->maps.start + space->mappings[i].offset,
                             space->mappings[i].bytes, 0, RATION_BLOCK_LIVE);
    return ended;
}

static void slab_destroy(struct ration_heap *heap)
{
    struct slab_heap *slab = slab_of(heap);
    for (size_t i = 0; i < slab->n_buckets; i++) {
        for (struct record *record = slab->buckets[i], *next; record != NULL; record = next) {
            next = record->next_in_bucket;
            free(record);
        }
    }
    free(slab->buckets);
    free(slab->begins);
    free(slab->edge_is_live);
}

static int slab_open(struct lab_heap *lab, const struct lab_choices *choices,
                     ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "slab",
                                               .alloc = slab_alloc,
                                               .resize = slab_resize,
                                               .try_resize = slab_try_resize,
                                               .free = slab_free,
                                               .owns = engine_owns,
                                               .usable_size = slab_usable,
                                               .walk = slab_walk,
                                               .check = engine_check,
                                               .stats = engine_stats,
                                               .destroy = slab_destroy};
    (void)choices;
    (void)message;
    struct slab_heap *slab = engine_open(lab, sizeof *slab, &ops, 16, observe, context);
    slab->base = lab->space.brk.start;
    runs_extend_tables(slab, 1);
    return 0;
}

const struct lab_strategy strategy_slab = {
    .name = "slab",
    .what = "equal slots without headers, up to 64 a slab; records outside, charged to the heap",
    .in_all = true,
    .least_block = 16,
    .open = slab_open,
};
