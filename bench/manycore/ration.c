/* libration's protocol: src/cache/refill.c, src/slab/shelf.c, src/core/fast_path.h. And variants of it that are not built:
 *
 *   ration-shelves   no shelves of threads, as libration was before docs/decisions/0013-shelves-of-threads.md
 *   ration-eight     eight shelves that all threads share
 *   ration-half      a slab leaves its thread's shelf when half of it is free, however few the thread has
 *   ration+shards    a common shelf for each cluster; who finds its own empty looks into the others
 *   ration+ahead     a free asks for the two lines that it will write with the intent to write (prefetchw), so
 *                    that each travels once and not twice
 *   ration+counters  that, and the frees are counted in the line of the state bytes: one line a free
 *   ration+all       counters and shards */
#include "designs.h"

#include <string.h>

enum place { RETIRED, LEASED, FULL, READY };
enum {
    NONE = -1,
    LEASE_TILL = 1 << 30,
    READY_AT = SLOTS / 16,
    HALF = SLOTS / 2,
    FEW_IDLE = 2,
    EVENT_SHARE = 4,
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
    int previous, next;
    uint16_t opened;
    uint8_t class, place, shelf;
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
    bool is_new; /* leased, and not looked into yet */
    unsigned group;
    uint64_t mask;
};

static struct {
    unsigned own_shelves;
    bool leaves_at_half, asks_to_write, counts_by_group, has_shards;
} variant;

/* The common ones, by cluster where they are sharded, then those of threads. */
enum { SHARDS = CORES_MOST / CLUSTER, SHELVES = SHARDS + CORES_MOST };
static struct slab slabs[SLABS_MOST];
static struct shelf all_shelves[CLASSES][SHELVES];
static struct lock span_lock;
static struct bin bins[CORES_MOST][CLASSES];
static int events[CORES_MOST];  /* a slab whose event waits for the shelf's lock */
static int leaving[CORES_MOST]; /* a slab on no list that waits for a common shelf's lock */

static void reset_shelves(unsigned own_shelves)
{
    memset(&variant, 0, sizeof variant);
    variant.own_shelves = own_shelves;
    memset(slabs, 0, sizeof slabs);
    memset(&span_lock, 0, sizeof span_lock);
    memset(all_shelves, 0, sizeof all_shelves);
    for (unsigned i = 0; i < CLASSES * SHELVES; i++) {
        struct shelf *shelf = &all_shelves[i / SHELVES][i % SHELVES];
        shelf->ready = shelf->full = (struct list){NONE, NONE};
        shelf->retired = NONE;
    }
    for (unsigned i = 0; i < CORES_MOST; i++) {
        events[i] = leaving[i] = NONE;
        for (unsigned c = 0; c < CLASSES; c++) {
            bins[i][c] = (struct bin){.slab = NONE};
        }
    }
}

/* Four for each processor, 128 at most: with this many threads none is shared. */
static void reset(void)
{
    reset_shelves(CORES_MOST);
}

static void reset_none_own(void)
{
    reset_shelves(0);
}

static void reset_eight(void)
{
    reset_shelves(8);
}

static void reset_half(void)
{
    reset();
    variant.leaves_at_half = true;
}

static void reset_shards(void)
{
    reset();
    variant.has_shards = true;
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

static void reset_all(void)
{
    reset_counters();
    variant.has_shards = true;
}

static struct shelf *shelf_of(const struct slab *slab)
{
    return &all_shelves[slab->class][slab->shelf];
}

static unsigned common_number(const struct core *core)
{
    return variant.has_shards ? core->number / CLUSTER : 0;
}

/* A thread that is alone has the common ones. */
static unsigned own_number(const struct core *core)
{
    return n_cores > 1 && variant.own_shelves > 0 ? SHARDS + core->number % variant.own_shelves
                                                  : common_number(core);
}

static bool is_own(const struct slab *slab)
{
    return slab->shelf >= SHARDS;
}

static bool is_empty(struct core *core, struct shelf *shelf, const struct list *list)
{
    line_read(core, &shelf->lock.line);
    return list->first == NONE;
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

static void file_counted(struct core *core, struct shelf *shelf, int s, int n_free)
{
    struct slab *slab = &slabs[s];
    int live = SLOTS - n_free, share = SLOTS / EVENT_SHARE;

    line_write(core, &slab->header);
    if (live == 0 && shelf->ready.first != NONE) {
        retire(core, shelf, s);
        return;
    }
    slab->place = n_free < READY_AT ? FULL : READY;
    slab->till = (n_free < READY_AT               ? READY_AT - n_free
                  : is_own(slab) && n_free < HALF ? HALF - n_free
                  : live < share                  ? live
                                                  : share) -
                 1;
    list_append(core, slab->place == FULL ? &shelf->full : &shelf->ready, s);
}

static bool add_few(struct core *core, const struct list *list, int *n, int *n_free)
{
    for (int s = list->first; s != NONE; s = slabs[s].next) {
        if (++*n > FEW_IDLE) {
            return false;
        }
        *n_free += (int)count_free(core, &slabs[s]);
    }
    return true;
}

static bool stays_own(struct core *core, const struct shelf *own, int n_free)
{
    int n = 1;
    return !variant.leaves_at_half && n_free < SLOTS && add_few(core, &own->ready, &n, &n_free) &&
           add_few(core, &own->full, &n, &n_free) && n_free * 4 < (2 * n + 1) * SLOTS;
}

/* Files a slab that is on no list, or lets it leave for a common shelf. */
static void file_or_leave(struct core *core, struct shelf *shelf, int s, bool stays_if_few)
{
    struct slab *slab = &slabs[s];
    int n_free = (int)count_free(core, slab);

    if (!is_own(slab) || n_free < HALF || (stays_if_few && stays_own(core, shelf, n_free))) {
        file_counted(core, shelf, s, n_free);
        return;
    }
    line_write(core, &slab->header);
    slab->place = LEASED;
    slab->shelf = (uint8_t)common_number(core);
    leaving[core->number] = s;
}

/* What a slab that left still needs. False: the core slept. */
static bool settle(struct core *core)
{
    int s = leaving[core->number];
    if (s == NONE) {
        return true;
    }
    struct shelf *common = shelf_of(&slabs[s]);
    if (!lock_take(core, &common->lock)) {
        return false;
    }
    file_counted(core, common, s, (int)count_free(core, &slabs[s]));
    lock_drop(core, &common->lock);
    leaving[core->number] = NONE;
    return true;
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

static void lease(struct core *core, unsigned class, int s)
{
    line_write(core, &slabs[s].header);
    slabs[s].place = LEASED;
    slabs[s].shelf = (uint8_t)own_number(core);
    slabs[s].till = LEASE_TILL;
    bins[core->number][class] = (struct bin){.slab = s, .is_new = true};
}

static void take_ready(struct core *core, struct shelf *shelf, unsigned class)
{
    int s = shelf->ready.first;
    if (s != NONE) {
        list_remove(core, &shelf->ready, s);
        lease(core, class, s);
    }
}

/* False: the core slept. */
static bool try_ready(struct core *core, struct shelf *shelf, unsigned class)
{
    if (is_empty(core, shelf, &shelf->ready)) {
        return true;
    }
    if (!lock_take(core, &shelf->lock)) {
        return false;
    }
    take_ready(core, shelf, class);
    lock_drop(core, &shelf->lock);
    return true;
}

static bool sweep(struct core *core, struct shelf *shelf)
{
    for (int i = 0; i < SWEEP && !is_empty(core, shelf, &shelf->full); i++) {
        if (!lock_take(core, &shelf->lock)) {
            return false;
        }
        int s = shelf->full.first;
        if (s != NONE) {
            list_remove(core, &shelf->full, s);
            file_or_leave(core, shelf, s, true);
        }
        lock_drop(core, &shelf->lock);
        if (!settle(core)) {
            return false;
        }
    }
    return true;
}

/* The nearest common shelf with something ready, else the one of this cluster. */
static struct shelf *choose_common(struct core *core, unsigned class)
{
    unsigned nearest = common_number(core);
    for (unsigned i = 0; variant.has_shards && i < SHARDS; i++) {
        struct shelf *shelf = &all_shelves[class][nearest ^ i];
        if (!is_empty(core, shelf, &shelf->ready)) {
            return shelf;
        }
    }
    return &all_shelves[class][nearest];
}

static bool take_common_or_create(struct core *core, struct shelf *common, unsigned class)
{
    if (!lock_take(core, &common->lock)) {
        return false;
    }
    take_ready(core, common, class);
    if (bins[core->number][class].slab == NONE) {
        lease(core, class, create(core, common, class));
    }
    lock_drop(core, &common->lock);
    return true;
}

/* False: the core slept, or has a slab. */
static bool goes_on(const struct core *core, unsigned class, bool awake)
{
    return awake && bins[core->number][class].slab == NONE;
}

/* The thread's own shelf has none ready. */
static bool lease_beyond(struct core *core, struct shelf *own, unsigned class)
{
    struct shelf *common = choose_common(core, class);
    bool awake = true;
    if (is_empty(core, common, &common->ready)) {
        awake = sweep(core, own);
        if (goes_on(core, class, awake)) {
            awake = try_ready(core, own, class);
        }
    }
    if (goes_on(core, class, awake)) {
        awake = take_common_or_create(core, common, class);
    }
    return awake;
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

/* Ends the lease, and begins another under the same lock if one is ready. False: the core slept. */
static bool exchange(struct core *core, struct shelf *own, unsigned class)
{
    struct bin *bin = &bins[core->number][class];
    int used = bin->slab;
    if (!lock_take(core, &own->lock)) {
        return false;
    }
    bin->slab = NONE;
    file_or_leave(core, own, used, false);
    take_ready(core, own, class);
    lock_drop(core, &own->lock);
    return settle(core);
}

static bool lease_another(struct core *core, unsigned class)
{
    struct shelf *own = &all_shelves[class][own_number(core)];
    bool awake = bins[core->number][class].slab != NONE ? exchange(core, own, class)
                                                        : try_ready(core, own, class);
    if (goes_on(core, class, awake)) {
        awake = lease_beyond(core, own, class);
    }
    return awake;
}

static bool refill(struct core *core, unsigned class)
{
    struct bin *bin = &bins[core->number][class];

    if (bin->slab != NONE && !bin->is_new && next_mask(core, bin)) {
        return true;
    }
    while (bin->mask == 0) {
        if (!bin->is_new && !lease_another(core, class)) {
            return false;
        }
        bin->is_new = false;
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
        if (slab->place == FULL) {
            file_counted(core, shelf, s, READY_AT);
        } else {
            file_or_leave(core, shelf, s, true);
        }
    } else {
        slab->till = LEASE_TILL;
    }
    lock_drop(core, &shelf->lock);
    events[core->number] = NONE;
    return settle(core);
}

static bool take(struct core *core, unsigned class, uint32_t *block)
{
    struct bin *bin = &bins[core->number][class];

    if (!settle(core) || (events[core->number] != NONE && !event(core)) ||
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

    if (!settle(core) || (events[core->number] != NONE && !event(core))) {
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
    for (unsigned i = 0; i < CLASSES * SHELVES; i++) {
        const struct shelf *shelf = &all_shelves[i / SHELVES][i % SHELVES];
        int broken_one = check_list(&shelf->ready, READY) | check_list(&shelf->full, FULL);
        if (broken_one != 0) {
            return broken_one;
        }
    }
    return 0;
}

const struct design design_ration = {"ration", "this library", reset, take, give, check};
const struct design design_none_own = {
    "ration-shelves", "as before decision 0013", reset_none_own, take, give, check};
const struct design design_eight = {
    "ration-eight", "with eight shelves for all threads", reset_eight, take, give, check};
const struct design design_half = {
    "ration-half", "with decision 0013 alone", reset_half, take, give, check};
const struct design design_shards = {"ration+shards", "not built", reset_shards, take, give, check};
const struct design design_ahead = {"ration+ahead", "not built", reset_ahead, take, give, check};
const struct design design_counters = {
    "ration+counters", "not built", reset_counters, take, give, check};
const struct design design_all = {"ration+all", "not built", reset_all, take, give, check};
