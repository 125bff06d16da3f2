/* libration's protocol: src/cache/refill.c, src/slab/shelf.c, src/core/fast_path.h. And three changes
 * to it that are not made:
 *
 *   ration+ahead     a free asks for the two lines that it will write with the intent to write (prefetchw), so
 *                    that each travels once and not twice
 *   ration+counters  that, and the frees are counted in the line of the state bytes: one line a free
 *   ration+shards    that, and a shelf for each cluster of cores; who finds its own empty looks into the others */
#include "designs.h"

#include <string.h>

enum place { RETIRED, LEASED, FULL, READY };
enum {
    NONE = -1,
    LEASE_TILL = 1 << 30,
    READY_AT = SLOTS / 16,
    EVENT_SHARE = 4,
    LOOK_FOR_OWN = 8,
    SWEEP = 4,
    WARM_AT = 16,
    REWIND_SHARE = 6,
    FRESH = 32,
};

struct slab {
    struct line header; /* base, reciprocal, till, place, list links: one line */
    struct line state_lines[GROUPS];
    uint8_t live[SLOTS]; /* the state bytes */
    int32_t till;
    int previous, next, lessee;
    uint16_t opened;
    uint8_t class, place, shard;
};

struct list {
    int first, last;
};

struct shelf {
    struct lock lock; /* and the ends of its lists, on the same line */
    struct list ready, full;
    int retired;
};

struct bin {
    int slab;
    unsigned group;
    uint64_t mask;
};

static struct {
    bool asks_to_write, counts_by_group, has_shards;
} variant;

enum { SHARDS = CORES_MOST / CLUSTER };
static struct slab slabs[SLABS_MOST];
static struct shelf all_shelves[CLASSES][SHARDS];
static struct lock span_lock;
static struct bin bins[CORES_MOST][CLASSES];
static int events[CORES_MOST]; /* a slab whose event waits for the shelf's lock */

static void reset(void)
{
    memset(&variant, 0, sizeof variant);
    memset(slabs, 0, sizeof slabs);
    memset(&span_lock, 0, sizeof span_lock);
    memset(all_shelves, 0, sizeof all_shelves);
    for (unsigned i = 0; i < CLASSES * SHARDS; i++) {
        struct shelf *shelf = &all_shelves[i / SHARDS][i % SHARDS];
        shelf->ready = shelf->full = (struct list){NONE, NONE};
        shelf->retired = NONE;
    }
    for (unsigned i = 0; i < CORES_MOST; i++) {
        events[i] = NONE;
        for (unsigned c = 0; c < CLASSES; c++) {
            bins[i][c] = (struct bin){.slab = NONE};
        }
    }
}

static void reset_ahead(void)
{
    reset();
    variant.asks_to_write = true;
}

static void reset_counters(void)
{
    reset_ahead();
    variant.counts_by_group = true;
}

static void reset_shards(void)
{
    reset_counters();
    variant.has_shards = true;
}

static struct shelf *shelf_of(const struct slab *slab)
{
    return &all_shelves[slab->class][slab->shard];
}

static void write_neighbour(struct core *core, int slab)
{
    if (slab != NONE) {
        line_write(core, &slabs[slab].header);
    }
}

static void list_append(struct core *core, struct list *list, int s)
{
    slabs[s].previous = list->last;
    slabs[s].next = NONE;
    write_neighbour(core, list->last);
    *(list->last != NONE ? &slabs[list->last].next : &list->first) = s;
    list->last = s;
}

static void list_remove(struct core *core, struct list *list, int s)
{
    struct slab *slab = &slabs[s];
    write_neighbour(core, slab->previous);
    write_neighbour(core, slab->next);
    *(slab->previous != NONE ? &slabs[slab->previous].next : &list->first) = slab->next;
    *(slab->next != NONE ? &slabs[slab->next].previous : &list->last) = slab->previous;
}

static unsigned count_free(struct core *core, struct slab *slab)
{
    unsigned n = 0;
    for (unsigned g = 0; g < GROUPS; g++) {
        line_read(core, &slab->state_lines[g]);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        n += !slab->live[i];
    }
    return n;
}

static void retire(struct core *core, struct shelf *shelf, int s)
{
    lock_take_nested(core, &span_lock);
    lock_drop(core, &span_lock);
    line_write(core, map_line((uint32_t)s));
    slabs[s].place = RETIRED;
    slabs[s].next = shelf->retired;
    shelf->retired = s;
}

static void file(struct core *core, struct shelf *shelf, int s)
{
    struct slab *slab = &slabs[s];
    int n_free = (int)count_free(core, slab), live = SLOTS - n_free;

    line_write(core, &slab->header);
    if (live == 0) {
        retire(core, shelf, s);
        return;
    }
    slab->place = n_free < READY_AT ? FULL : READY;
    slab->till = n_free < READY_AT ? READY_AT - n_free - 1
                                   : (live < SLOTS / EVENT_SHARE ? live : SLOTS / EVENT_SHARE) - 1;
    list_append(core, slab->place == FULL ? &shelf->full : &shelf->ready, s);
}

static int choose_ready(struct core *core, const struct shelf *shelf)
{
    int s = shelf->ready.first;
    for (int i = 0; i < LOOK_FOR_OWN && s != NONE; i++, s = slabs[s].next) {
        line_read(core, &slabs[s].header);
        if (slabs[s].lessee == (int)core->number) {
            return s;
        }
    }
    return shelf->ready.first;
}

static int create(struct core *core, struct shelf *shelf, unsigned class)
{
    int s = shelf->retired;

    lock_take_nested(core, &span_lock);
    core_spend(core, costs.create / 10); /* the run; the rest is not under this lock */
    lock_drop(core, &span_lock);
    core_spend(core, costs.create * 0.9);
    if (s != NONE) {
        shelf->retired = slabs[s].next;
    } else {
        s = (int)slab_new(core);
    }
    struct slab *slab = &slabs[s];
    line_write(core, &slab->header);
    line_write(core, map_line((uint32_t)s));
    slab->class = (uint8_t) class;
    slab->opened = 0;
    for (unsigned g = 0; g < GROUPS; g++) {
        slab->state_lines[g].kind = LINE_STATE;
    }
    slab->header.kind = LINE_HEADER;
    return s;
}

/* The shelf to lease from: one's own, or the nearest other with something ready, else one's own. */
static struct shelf *choose_shelf(struct core *core, unsigned class)
{
    unsigned own = variant.has_shards ? core->number / CLUSTER : 0;
    for (unsigned i = 0; variant.has_shards && i < SHARDS; i++) {
        struct shelf *shelf = &all_shelves[class][own ^ i];
        line_read(core, &shelf->lock.line);
        if (shelf->ready.first != NONE) {
            return shelf;
        }
    }
    return &all_shelves[class][own];
}

static bool lease(struct core *core, unsigned class)
{
    struct shelf *shelf = choose_shelf(core, class);

    if (!lock_take(core, &shelf->lock)) {
        return false;
    }
    for (int i = 0; shelf->ready.first == NONE && i < SWEEP && shelf->full.first != NONE; i++) {
        int s = shelf->full.first;
        list_remove(core, &shelf->full, s);
        file(core, shelf, s);
    }
    int s = choose_ready(core, shelf);
    if (s != NONE) {
        list_remove(core, &shelf->ready, s);
    } else {
        s = create(core, shelf, class);
    }
    line_write(core, &slabs[s].header);
    slabs[s].place = LEASED;
    slabs[s].shard = variant.has_shards ? (uint8_t)(core->number / CLUSTER) : 0;
    slabs[s].lessee = (int)core->number;
    slabs[s].till = LEASE_TILL;
    lock_drop(core, &shelf->lock);
    bins[core->number][class] = (struct bin){.slab = s};
    return true;
}

static uint64_t scan(struct core *core, struct slab *slab, unsigned group)
{
    uint64_t mask = 0;
    line_read(core, &slab->state_lines[group]);
    for (unsigned i = 0; i < GROUP; i++) {
        unsigned slot = group * GROUP + i;
        mask |= (uint64_t)(!slab->live[slot] && slot < slab->opened) << i;
    }
    return mask;
}

static bool find_from(struct core *core, struct bin *bin, unsigned group)
{
    struct slab *slab = &slabs[bin->slab];
    for (; group * GROUP < slab->opened; group++) {
        bin->mask = scan(core, slab, group);
        if (bin->mask != 0) {
            bin->group = group;
            return true;
        }
    }
    return false;
}

static bool find_fresh(struct core *core, struct bin *bin)
{
    struct slab *slab = &slabs[bin->slab];
    if (slab->opened >= SLOTS) {
        return false;
    }
    bin->group = slab->opened / GROUP;
    bin->mask = (((uint64_t)1 << FRESH) - 1) << (slab->opened % GROUP);
    line_write(core, &slab->header);
    slab->opened += FRESH;
    return true;
}

static bool next_mask(struct core *core, struct bin *bin)
{
    struct slab *slab = &slabs[bin->slab];
    uint64_t warm = bin->group * GROUP < slab->opened ? scan(core, slab, bin->group) : 0;

    if (__builtin_popcountll(warm) >= WARM_AT) {
        bin->mask = warm;
        return true;
    }
    if (find_from(core, bin, bin->group + 1)) {
        return true;
    }
    line_read(core, &slab->header);
    if (LEASE_TILL - slab->till > slab->opened / REWIND_SHARE) {
        line_write(core, &slab->header);
        slab->till = LEASE_TILL;
        if (find_from(core, bin, 0)) {
            return true;
        }
    }
    return find_fresh(core, bin);
}

static bool give_back(struct core *core, struct bin *bin)
{
    struct shelf *shelf = shelf_of(&slabs[bin->slab]);
    if (!lock_take(core, &shelf->lock)) {
        return false;
    }
    file(core, shelf, bin->slab);
    lock_drop(core, &shelf->lock);
    bin->slab = NONE;
    return true;
}

static bool refill(struct core *core, unsigned class)
{
    struct bin *bin = &bins[core->number][class];

    if (bin->slab != NONE && next_mask(core, bin)) {
        return true;
    }
    while (bin->mask == 0) {
        if ((bin->slab != NONE && !give_back(core, bin)) || !lease(core, class)) {
            return false;
        }
        if (!find_from(core, bin, 0)) {
            find_fresh(core, bin);
        }
    }
    return true;
}

static bool event(struct core *core)
{
    int s = events[core->number];
    struct slab *slab = &slabs[s];
    struct shelf *shelf = shelf_of(slab);

    if (!lock_take(core, &shelf->lock)) {
        return false;
    }
    line_write(core, &slab->header);
    if (slab->place == FULL || slab->place == READY) {
        list_remove(core, slab->place == FULL ? &shelf->full : &shelf->ready, s);
        file(core, shelf, s);
    } else {
        slab->till = LEASE_TILL;
    }
    lock_drop(core, &shelf->lock);
    events[core->number] = NONE;
    return true;
}

static bool take(struct core *core, unsigned class, uint32_t *block)
{
    struct bin *bin = &bins[core->number][class];

    if ((events[core->number] != NONE && !event(core)) ||
        (bin->mask == 0 && !refill(core, class))) {
        return false;
    }
    unsigned slot = bin->group * GROUP + (unsigned)__builtin_ctzll(bin->mask);
    bin->mask &= bin->mask - 1;
    line_write(core, &slabs[bin->slab].state_lines[bin->group]);
    slabs[bin->slab].live[slot] = 1;
    *block = (uint32_t)bin->slab * SLOTS + slot;
    return true;
}

static bool give(struct core *core, uint32_t block)
{
    struct slab *slab = &slabs[block / SLOTS];
    struct line *state = &slab->state_lines[block % SLOTS / GROUP];

    if (events[core->number] != NONE && !event(core)) {
        return false;
    }
    line_read(core, map_line(block / SLOTS));
    if (variant.asks_to_write && !variant.counts_by_group) {
        line_write(core, &slab->header);
    }
    if (variant.asks_to_write) {
        line_write(core, state);
    }
    line_read(core, &slab->header);
    line_read(core, state);
    if (!slab->live[block % SLOTS]) {
        broken("L2: a block was freed twice");
    }
    slab->live[block % SLOTS] = 0;
    line_write(core, state);
    if (!variant.counts_by_group) {
        line_write(core, &slab->header);
    }
    if (--slab->till < 0) {
        events[core->number] = (int)(block / SLOTS);
        event(core);
    }
    return true;
}

static int check_list(const struct list *list, enum place place)
{
    int previous = NONE;
    for (int s = list->first; s != NONE; previous = s, s = slabs[s].next) {
        if (slabs[s].previous != previous || slabs[s].place != place) {
            return 5;
        }
    }
    return list->last == previous ? 0 : 5;
}

static int check(void)
{
    for (uint32_t block = 0; block < SLABS_MOST * SLOTS; block++) {
        if (block_is_live[block] != slabs[block / SLOTS].live[block % SLOTS]) {
            return 2;
        }
    }
    for (unsigned s = 0; s < SLABS_MOST; s++) {
        int broken_one = machine_check_line(&slabs[s].header);
        for (unsigned g = 0; g < GROUPS && broken_one == 0; g++) {
            broken_one = machine_check_line(&slabs[s].state_lines[g]);
        }
        if (broken_one != 0) {
            return broken_one;
        }
    }
    for (unsigned i = 0; i < CLASSES * SHARDS; i++) {
        const struct shelf *shelf = &all_shelves[i / SHARDS][i % SHARDS];
        int broken_one = check_list(&shelf->ready, READY) | check_list(&shelf->full, FULL);
        if (broken_one != 0) {
            return broken_one;
        }
    }
    return 0;
}

const struct design design_ration = {"ration", "this library", reset, take, give, check};
const struct design design_ahead = {"ration+ahead", "not built", reset_ahead, take, give, check};
const struct design design_counters = {
    "ration+counters", "not built", reset_counters, take, give, check};
const struct design design_shards = {"ration+shards", "not built", reset_shards, take, give, check};
