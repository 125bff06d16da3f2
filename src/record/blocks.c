#include "record/blocks.h"

#include "area/records.h"
#include "core/fence.h"
#include "span/span.h"

enum {
    LEAF_UNITS = 512,
    LARGE_CLASS = CLASS_COUNT, /* of a record of a large block */
    THREAD_BITS = 22,          /* the kernel's limit of thread numbers */
    BYTES_BITS = 48,
};

/* Packed: there is one for each slot. */
struct record {
    uint32_t site, freed_site;
    uint32_t thread_count; /* thread of the allocation; count of events above */
    uint32_t freed_class;  /* thread of the free, 0: not freed; class of the block above */
    uint32_t ms, freed_ms;
    uint64_t bytes;
};

struct row {
    uint32_t places;
    struct record records[] LINE_ALIGNED;
};

struct leaf {
    struct row *rows[LEAF_UNITS];
};

static struct leaf **leaves;

/* Where the record of a block belongs. */
struct spot {
    size_t unit;
    uint32_t index;
    uint32_t places; /* that a row for this unit must have */
    uint32_t class_index;
};

bool blocks_begin(void)
{
    size_t bytes = (window.unit_limit / LEAF_UNITS + 1) * sizeof *leaves;
    if (leaves == NULL && window_is_open())
        leaves = records_take(bytes);
    return leaves != NULL;
}

/* The spot of the slot, or of the page, that holds `address`. */
static bool find_spot(uintptr_t address, struct spot *spot)
{
    const struct slab *s = slab_of(address);
    if (s != &no_slab) {
        spot->index = (uint32_t)(((address - s->base) * s->reciprocal) >> 32);
        spot->unit = window_unit(s->base);
        spot->places = s->slots;
        spot->class_index = s->class_index;
        return spot->index < s->slots;
    }
    spot->unit = window_unit(address);
    spot->index = (uint32_t)((address & (UNIT_BYTES - 1)) >> page_shift);
    spot->places = UNIT_BYTES >> page_shift;
    spot->class_index = LARGE_CLASS;
    return spot->unit < atomic_load_acquire(&window.unit_count);
}

static struct leaf *leaf_of(size_t unit, bool create)
{
    struct leaf **place = &leaves[unit / LEAF_UNITS];
    struct leaf *leaf = atomic_load_acquire(place);
    if (leaf == NULL && create) {
        struct leaf *fresh = records_take(sizeof *fresh);
        if (fresh != NULL)
            atomic_cas_acquire(place, (struct leaf *)NULL, fresh);
        leaf = atomic_load_acquire(place);
    }
    return leaf;
}

/* B3: a row grows before its slab's first block is told, when no record in it is of use. */
static COLD struct row *make_row(struct row **place, struct row *old, uint32_t places)
{
    places = (uint32_t)max_size(places, UNIT_BYTES >> page_shift);
    struct row *row = records_take(sizeof *row + places * sizeof *row->records);
    if (row != NULL) {
        row->places = places;
        atomic_cas_acquire(place, old, row);
    }
    row = atomic_load_acquire(place);
    return row != old ? row : NULL;
}

static struct record *find_record(const struct spot *spot, bool create)
{
    struct leaf *leaf = leaves != NULL ? leaf_of(spot->unit, create) : NULL;
    if (leaf == NULL)
        return NULL;
    struct row **place = &leaf->rows[spot->unit % LEAF_UNITS];
    struct row *row = atomic_load_acquire(place);
    if (row == NULL || row->places < spot->places)
        row = create ? make_row(place, row, spot->places) : NULL;
    return row != NULL && spot->index < row->places ? &row->records[spot->index] : NULL;
}

static uint32_t pack(uint32_t low, uint32_t high)
{
    return (low & ((1U << THREAD_BITS) - 1)) | high << THREAD_BITS;
}

static uint32_t low_of(uint32_t packed)
{
    return packed & ((1U << THREAD_BITS) - 1);
}

static uint32_t high_of(uint32_t packed)
{
    return packed >> THREAD_BITS;
}

static unsigned next_count(const struct record *r, const struct spot *spot)
{
    if (high_of(r->freed_class) != spot->class_index + 1)
        return 1;
    return (high_of(r->thread_count) + 1) % COUNT_LIMIT;
}

/* Record and slab's class agree by class + 1, so that a fresh record is of no class. */
unsigned blocks_note_made(uintptr_t address, size_t bytes, const struct block_event *event)
{
    struct spot spot;
    struct record *r = find_spot(address, &spot) ? find_record(&spot, true) : NULL;
    if (r == NULL)
        return 0;
    unsigned count = next_count(r, &spot);
    atomic_store_relaxed(&r->freed_class, pack(0, spot.class_index + 1));
    atomic_store_relaxed(&r->thread_count, pack(event->thread, count));
    atomic_store_relaxed(&r->site, event->site);
    atomic_store_relaxed(&r->ms, event->ms);
    atomic_store_relaxed(&r->bytes, bytes);
    return count;
}

unsigned blocks_note_freed(uintptr_t address, const struct block_event *event)
{
    struct spot spot;
    struct record *r = find_spot(address, &spot) ? find_record(&spot, false) : NULL;
    if (r == NULL || high_of(r->freed_class) != spot.class_index + 1)
        return 0;
    unsigned count = next_count(r, &spot);
    atomic_store_relaxed(&r->freed_site, event->site);
    atomic_store_relaxed(&r->freed_ms, event->ms);
    atomic_store_relaxed(&r->thread_count, pack(low_of(r->thread_count), count));
    atomic_store_relaxed(&r->freed_class, pack(event->thread, spot.class_index + 1));
    return count;
}

void blocks_note_kept(uintptr_t address)
{
    struct spot spot;
    struct record *r = find_spot(address, &spot) ? find_record(&spot, false) : NULL;
    if (r != NULL)
        atomic_store_relaxed(&r->freed_class, pack(0, spot.class_index + 1));
}

/* A large block is known by its first page; the pages behind may hold records of blocks that ended before. */
static uintptr_t block_start(uintptr_t address)
{
    const struct slab *s = slab_of(address);
    if (s != &no_slab) {
        uint32_t size = size_classes[s->class_index].size;
        return address - (address - s->base) % size;
    }
    const struct fence *fence = fence_find(address);
    if (fence != NULL)
        return fence->start;
    struct span_place place = span_find(address);
    if (place.kind == RUN_LARGE)
        return place.start;
    return align_down(address, (size_t)1 << page_shift);
}

bool blocks_at(uintptr_t address, struct block_facts *facts)
{
    struct spot spot;
    const struct record *r = find_spot(address, &spot) ? find_record(&spot, false) : NULL;
    if (r == NULL || high_of(r->freed_class) != spot.class_index + 1)
        return false;
    *facts = (struct block_facts){
        .address = address,
        .bytes = (size_t)r->bytes,
        .count = high_of(r->thread_count),
        .made = {.site = r->site, .thread = low_of(r->thread_count), .ms = r->ms},
        .freed = {.site = r->freed_site, .thread = low_of(r->freed_class), .ms = r->freed_ms}};
    return true;
}

bool blocks_find(uintptr_t address, struct block_facts *facts)
{
    if (leaves == NULL || window_unit(address) >= window.unit_count)
        return false;
    return blocks_at(block_start(address), facts);
}
