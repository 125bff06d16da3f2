#include "inspect/walk.h"

#include "core/fence.h"
#include "core/harden.h"
#include "record/record.h"

static bool fill_zone(const struct view *v, const struct view_run *run, union slab_copy *copy,
                      struct walk_zone *zone)
{
    *zone = (struct walk_zone){
        .start = view_address(v, run->first),
        .bytes = run->pages << v->page_shift,
    };
    if (run->kind == RUN_LARGE)
        return true;
    zone->slab = &copy->slab;
    return run->kind == RUN_SLAB && view_slab(v, run->first, copy);
}

int walk_zones(uintptr_t from, uintptr_t to, int (*visit)(const struct walk_zone *zone, void *arg),
               void *arg)
{
    struct view v;
    struct view_cursor cursor;
    struct view_run run;
    union slab_copy copy;
    struct walk_zone zone;
    int stop = 0;
    if (view_open(&v, 0) != VIEW_OK || v.base == 0)
        return 0;
    view_begin(&cursor, &v, 0);
    while (stop == 0 && view_next(&cursor, &run)) {
        uintptr_t start = view_address(&v, run.first);
        if (start >= to)
            break;
        if (start + (run.pages << v.page_shift) > from && fill_zone(&v, &run, &copy, &zone))
            stop = visit(&zone, arg);
    }
    return stop;
}

struct block_visit {
    uintptr_t base;
    size_t bytes;
    void (*visit)(uintptr_t block, size_t usable, void *arg);
    void *arg;
};

struct large_block {
    uintptr_t start;
    size_t bytes;
    size_t requested;
};

/* A block with guards need not begin where its pages do. */
static struct large_block block_in(const struct walk_zone *zone)
{
    const struct fence *f = fences_are_on ? fence_at_pages(zone->start) : NULL;
    if (f == NULL)
        return (struct large_block){zone->start, zone->bytes, record_requested(zone->start)};
    return (struct large_block){f->start, f->bytes, f->is_exact ? f->bytes : RATION_UNKNOWN};
}

static int visit_zone(const struct walk_zone *zone, void *arg)
{
    const struct block_visit *b = arg;
    const struct slab *s = zone->slab;
    if (s == NULL) {
        struct large_block block = block_in(zone);
        if (block.start - b->base < b->bytes)
            b->visit(block.start, block.bytes, b->arg);
        return 0;
    }
    uint32_t size = size_classes[s->class_index].size;
    for (unsigned i = 0; i < s->slots; i++) {
        uintptr_t block = s->base + (uintptr_t)i * size;
        if (block - b->base < b->bytes && s->states[i] == SLOT_LIVE)
            b->visit(block, size, b->arg);
    }
    return 0;
}

void walk_blocks(uintptr_t base, size_t bytes,
                 void (*visit)(uintptr_t block, size_t usable, void *arg), void *arg)
{
    struct block_visit b = {.base = base, .bytes = bytes, .visit = visit, .arg = arg};
    uintptr_t end = bytes > UINTPTR_MAX - base ? UINTPTR_MAX : base + bytes;
    walk_zones(base, end, visit_zone, &b);
}

/* Read from the block's end, which stays mapped a purge_delay longer than the block lives. */
size_t walk_requested(const struct slab *copy, uintptr_t block)
{
    if (harden_level != HARDEN_FULL || !slab_is_guarded(copy))
        return record_requested(block);
    const struct slab *s = slab_of(block);
    size_t bytes;
    bool is_live = s != &no_slab && harden_is_live(s, (const void *)block, &bytes);
    return is_live ? bytes : RATION_UNKNOWN;
}

struct walk {
    ration_walk_fn *visit;
    void *context;
};

static int visit_block(const struct walk *w, uintptr_t address, size_t usable, size_t requested)
{
    /* What was asked for is all that may be used where a tail is behind it. */
    if (requested != RATION_UNKNOWN && harden_level == HARDEN_FULL)
        usable = requested;
    const struct ration_block block = {
        .address = (void *)address,
        .bytes = usable,
        .payload = (void *)address,
        .usable_bytes = usable,
        .requested_bytes = requested,
        .state = RATION_BLOCK_LIVE,
    };
    return w->visit(&block, w->context);
}

static int visit_blocks(const struct walk_zone *zone, void *arg)
{
    const struct walk *w = arg;
    const struct slab *s = zone->slab;
    int stop = 0;
    if (s == NULL) {
        struct large_block block = block_in(zone);
        return visit_block(w, block.start, block.bytes, block.requested);
    }
    uint32_t size = size_classes[s->class_index].size;
    for (unsigned i = 0; stop == 0 && i < s->slots; i++) {
        uintptr_t block = s->base + (uintptr_t)i * size;
        if (s->states[i] == SLOT_LIVE)
            stop = visit_block(w, block, size, walk_requested(s, block));
    }
    return stop;
}

EXPORT int ration_malloc_walk(ration_walk_fn *visit, void *context)
{
    struct walk w = {visit, context};
    return walk_zones(0, UINTPTR_MAX, visit_blocks, &w);
}
