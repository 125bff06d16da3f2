#include "slab/shelf.h"

#include "os/lock.h"

struct list {
    struct slab *first, *last;
};

struct shelf {
    struct lock lock;
    struct list ready;
    struct list full;
    struct slab *retired; /* records, linked by next */
} LINE_ALIGNED;

static struct shelf shelves[CLASS_COUNT] = {
    [0 ... CLASS_COUNT - 1] = {.lock = LOCK_INIT(RANK_SHELF)},
};

enum {
    SWEEP_SLABS = 4,     /* full slabs recounted before a class takes more memory */
    LOOK_FOR_OWN = 8,    /* ready slabs looked at for one that the lessee had before */
    LOOK_FOR_LOWEST = 8, /* and, if wide, for the lowest */
    READY_AT_MOST = 64,
    READY_SHARE = 16,
    EVENT_SHARE = 4, /* a ready slab has an event each time a quarter of it was freed */
};

static void list_append(struct list *l, struct slab *s)
{
    s->previous = l->last;
    s->next = NULL;
    *(l->last != NULL ? &l->last->next : &l->first) = s;
    l->last = s;
}

static void list_remove(struct list *l, struct slab *s)
{
    *(s->previous != NULL ? &s->previous->next : &l->first) = s->next;
    *(s->next != NULL ? &s->next->previous : &l->last) = s->previous;
}

unsigned shelf_ready_at(unsigned c)
{
    unsigned share = class_is_wide(c) ? 1 : size_classes[c].slots / READY_SHARE;
    return share < 1 ? 1 : share > READY_AT_MOST ? READY_AT_MOST : share;
}

/* An empty slab stays, as its class's only ready one, until a purge pass holds it: the class's next block then lies on pages
 * that it touched before, and no run is freed and taken. Not a long one, which others can make more of. */
static bool stays_empty(const struct shelf *shelf, const struct slab *s)
{
    return s->place != SLAB_HELD && shelf->ready.first == NULL && class_units(s->class_index) == 1;
}

static void add_ready_locked(struct shelf *shelf, struct slab *s, unsigned live)
{
    unsigned share = (unsigned)max_size(s->slots / EVENT_SHARE, 1);
    s->place = SLAB_READY;
    atomic_store_relaxed(&s->till, (int32_t)min_size(live, share) - 1);
    list_append(&shelf->ready, s);
}

/* Files a slab that is on no list and not leased, by what is known of its free slots. Returns the bytes in these. */
static size_t file_counted_locked(struct shelf *shelf, struct slab *s, unsigned free_slots)
{
    size_t free_bytes = (size_t)free_slots * size_classes[s->class_index].size;
    unsigned ready_at = shelf_ready_at(s->class_index);
    if (free_slots == s->slots && !stays_empty(shelf, s)) {
        slab_retire(s);
        s->next = shelf->retired;
        shelf->retired = s;
        return free_bytes;
    }
    if (free_slots < ready_at) {
        s->place = SLAB_FULL;
        atomic_store_relaxed(&s->till, (int32_t)(ready_at - free_slots) - 1);
        list_append(&shelf->full, s);
        return free_bytes;
    }
    add_ready_locked(shelf, s, s->slots - free_slots);
    return free_bytes;
}

static size_t file_locked(struct shelf *shelf, struct slab *s)
{
    return file_counted_locked(shelf, s, slab_count_free(s));
}

/* By its event a full slab has as many free slots as make it ready: they need not be counted, unless that is all. */
static size_t file_ready_locked(struct shelf *shelf, struct slab *s)
{
    unsigned ready_at = shelf_ready_at(s->class_index);
    return ready_at < s->slots ? file_counted_locked(shelf, s, ready_at) : file_locked(shelf, s);
}

/* The same for a slab that was leased or full: it is young. A full one gets its stamp when it becomes ready. */
static size_t file_young_locked(struct shelf *shelf, struct slab *s)
{
    size_t free_bytes = file_locked(shelf, s);
    if (s->place == SLAB_READY)
        s->stamp_ms = (uint32_t)os->now_ms();
    return free_bytes;
}

/* Frees may have been miscounted by racing threads: look again at those who have waited longest. */
static void sweep_full_locked(struct shelf *shelf)
{
    for (int i = 0; i < SWEEP_SLABS && shelf->full.first != NULL; i++) {
        struct slab *s = shelf->full.first;
        list_remove(&shelf->full, s);
        file_young_locked(shelf, s);
    }
}

/* The slab that has waited longest, as the most frees have gathered in it. But one among the first few that this lessee
 * had before goes first: its dirty lines need not travel. */
static struct slab *choose_ready_locked(const struct shelf *shelf, uint8_t lessee)
{
    struct slab *s = shelf->ready.first;
    for (int i = 0; i < LOOK_FOR_OWN && s != NULL; i++, s = s->next) {
        if (s->lessee == lessee)
            return s;
    }
    return shelf->ready.first;
}

static struct slab *take_ready_locked(struct shelf *shelf, uint8_t lessee)
{
    if (shelf->ready.first == NULL)
        sweep_full_locked(shelf);
    struct slab *s = choose_ready_locked(shelf, lessee);
    if (s != NULL)
        list_remove(&shelf->ready, s);
    return s;
}

static struct slab *create_locked(struct shelf *shelf, unsigned c)
{
    struct slab *record = shelf->retired;
    struct slab *s = slab_create(c, record);
    if (s != NULL && s == record)
        shelf->retired = record->next;
    return s;
}

struct slab *shelf_lease(unsigned c, uint8_t lessee)
{
    struct shelf *shelf = &shelves[c];
    lock_take(&shelf->lock);
    struct slab *s = take_ready_locked(shelf, lessee);
    if (s == NULL)
        s = create_locked(shelf, c);
    if (s != NULL) {
        s->place = SLAB_LEASED;
        s->lessee = lessee;
        atomic_store_relaxed(&s->till, LEASE_TILL);
    }
    lock_drop(&shelf->lock);
    return s;
}

void shelf_return(struct slab *s)
{
    struct shelf *shelf = &shelves[s->class_index];
    lock_take(&shelf->lock);
    file_young_locked(shelf, s);
    lock_drop(&shelf->lock);
}

/* Of the first few slabs the one at the lowest address: so those at high ones run empty, and their memory serves other
 * classes. */
static struct slab *choose_wide_locked(const struct shelf *shelf)
{
    struct slab *lowest = shelf->ready.first;
    int i = 0;
    for (struct slab *s = lowest; s != NULL && i < LOOK_FOR_LOWEST; s = s->next, i++) {
        if (s->base < lowest->base)
            lowest = s;
    }
    return lowest;
}

/* A slab of wide slots with a free one. */
static struct slab *ready_wide_locked(struct shelf *shelf, unsigned c)
{
    struct slab *s = choose_wide_locked(shelf);
    if (s != NULL || (s = create_locked(shelf, c)) == NULL)
        return s;
    s->stamp_ms = (uint32_t)os->now_ms();
    add_ready_locked(shelf, s, 0);
    return s;
}

/* The first group with a free slot; its free slots. 0: none has. */
static uint64_t find_free(const struct slab *s, unsigned *first)
{
    uint64_t mask = 0;
    for (*first = 0; *first < s->slots; *first += GROUP_SLOTS) {
        mask = zero_bytes(s->states + *first, GROUP_SLOTS);
        if (mask != 0)
            break;
    }
    return mask;
}

static uint64_t without_lowest(uint64_t mask, unsigned n)
{
    for (; n > 0 && (mask & (mask - 1)) != 0; n--)
        mask &= mask - 1;
    return mask;
}

static void *take_slot_locked(struct shelf *shelf, unsigned c, unsigned pass_over, bool *is_zero)
{
    struct slab *s = ready_wide_locked(shelf, c);
    unsigned first;
    uint64_t mask = s != NULL ? without_lowest(find_free(s, &first), pass_over) : 0;
    if (mask == 0)
        return NULL;
    unsigned slot = first + lowest_bit(mask);
    *is_zero = slab_offer(s, first, mask & -mask);
    atomic_fence_acquire(); /* the slot's last user stored FREE with release */
    atomic_store_relaxed(&s->states[slot], SLOT_LIVE);
    if ((mask & (mask - 1)) == 0 && slab_count_free(s) == 0) {
        list_remove(&shelf->ready, s);
        file_locked(shelf, s);
    }
    return (void *)(s->base + (uintptr_t)slot * size_classes[c].size);
}

void *shelf_take_slot(unsigned c, unsigned pass_over, bool *is_zero)
{
    struct shelf *shelf = &shelves[c];
    lock_take(&shelf->lock);
    void *p = take_slot_locked(shelf, c, pass_over, is_zero);
    lock_drop(&shelf->lock);
    return p;
}

static size_t event_locked(struct shelf *shelf, struct slab *s)
{
    switch ((enum slab_place)s->place) {
    case SLAB_LEASED:
    case SLAB_HELD:
        atomic_store_relaxed(&s->till, LEASE_TILL);
        return 0;
    case SLAB_FULL:
        list_remove(&shelf->full, s);
        s->stamp_ms = (uint32_t)os->now_ms();
        return file_ready_locked(shelf, s);
    case SLAB_READY:
        list_remove(&shelf->ready, s);
        return file_young_locked(shelf, s);
    case SLAB_RETIRED:
        break;
    }
    return 0;
}

/* Under the lock `till` is exact: an empty slab is never missed. */
size_t shelf_give_slot(struct slab *s, size_t slot)
{
    struct shelf *shelf = &shelves[s->class_index];
    lock_take(&shelf->lock);
    atomic_store_release(&s->states[slot], SLOT_FREE);
    size_t free_bytes = hint_take_one_is_negative(&s->till) ? event_locked(shelf, s) : 0;
    lock_drop(&shelf->lock);
    return free_bytes;
}

size_t shelf_event(uintptr_t address)
{
    struct slab *s = slab_of(address);
    if (s == &no_slab)
        return 0;
    struct shelf *shelf = &shelves[s->class_index];
    lock_take(&shelf->lock);
    size_t free_bytes = slab_of(address) == s ? event_locked(shelf, s) : 0;
    lock_drop(&shelf->lock);
    return free_bytes;
}

static bool is_due(const struct slab *s, const struct shelf_pass *pass)
{
    return s->purge_pass != pass->number &&
           (int32_t)(pass->now_ms - s->stamp_ms - pass->age_ms) >= 0;
}

size_t shelf_hold_old(unsigned c, const struct shelf_pass *pass, struct slab **held, size_t max)
{
    struct shelf *shelf = &shelves[c];
    size_t n = 0;
    lock_take(&shelf->lock);
    struct slab *next;
    for (struct slab *s = shelf->ready.first; s != NULL && n < max; s = next) {
        next = s->next;
        if (!is_due(s, pass))
            continue;
        list_remove(&shelf->ready, s);
        s->place = SLAB_HELD;
        s->purge_pass = pass->number;
        held[n++] = s;
    }
    lock_drop(&shelf->lock);
    return n;
}

void shelf_put_back(struct slab **held, size_t n)
{
    if (n == 0)
        return;
    struct shelf *shelf = &shelves[held[0]->class_index];
    lock_take(&shelf->lock);
    for (size_t i = 0; i < n; i++)
        file_locked(shelf, held[i]);
    lock_drop(&shelf->lock);
}

static void set_aside_list(struct list *list)
{
    for (struct slab *s = list->first; s != NULL; s = list->first) {
        list_remove(list, s);
        s->place = SLAB_HELD;
        atomic_store_relaxed(&s->till, LEASE_TILL);
    }
}

void shelf_set_aside(void)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        lock_take(&shelves[c].lock);
        set_aside_list(&shelves[c].ready);
        set_aside_list(&shelves[c].full);
        lock_drop(&shelves[c].lock);
    }
}

void shelf_visit(unsigned c, void (*visit)(struct slab *s, void *arg), void *arg)
{
    struct shelf *shelf = &shelves[c];
    lock_take(&shelf->lock);
    for (struct slab *s = shelf->ready.first; s != NULL; s = s->next)
        visit(s, arg);
    for (struct slab *s = shelf->full.first; s != NULL; s = s->next)
        visit(s, arg);
    lock_drop(&shelf->lock);
}

/* Slabs of a list, or SIZE_MAX if its links or one slab's place are wrong. */
static size_t count_list(const struct list *l, unsigned c, enum slab_place place)
{
    size_t n = 0;
    const struct slab *previous = NULL;
    for (const struct slab *s = l->first; s != NULL; previous = s, s = s->next) {
        if (s->previous != previous || s->place != place || s->class_index != c)
            return SIZE_MAX;
        n++;
    }
    return l->last == previous ? n : SIZE_MAX;
}

/* Slabs of class c in the window that say they are there. */
static size_t count_placed(unsigned c, enum slab_place place)
{
    size_t n = 0;
    for (size_t u = 0; u < atomic_load_acquire(&window.unit_count); u++) {
        const struct slab *s = atomic_load_relaxed(&window.map[u]);
        if (s != &no_slab && s->class_index == c && s->place == place && window_unit(s->base) == u)
            n++;
    }
    return n;
}

int shelf_check(unsigned c)
{
    struct shelf *shelf = &shelves[c];
    lock_take(&shelf->lock);
    size_t ready = count_list(&shelf->ready, c, SLAB_READY);
    size_t full = count_list(&shelf->full, c, SLAB_FULL);
    bool agree = ready == count_placed(c, SLAB_READY) && full == count_placed(c, SLAB_FULL);
    uint32_t left = slab_records_made[c]; /* a broken list may have no end */
    for (const struct slab *s = shelf->retired; s != NULL && agree; s = s->next)
        agree = left-- > 0 && s->place == SLAB_RETIRED && s->class_index == c;
    lock_drop(&shelf->lock);
    return agree ? 0 : 5;
}

bool shelf_lock_is_mine(void)
{
    for (int c = 0; c < CLASS_COUNT; c++) {
        if (lock_is_mine(&shelves[c].lock))
            return true;
    }
    return false;
}

void shelf_fork_prepare(bool nested)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        lock_fork_take(&shelves[c].lock, nested);
}

void shelf_fork_parent(void)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        lock_fork_parent(&shelves[c].lock);
}

void shelf_fork_child(void)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        lock_fork_child(&shelves[c].lock);
}
