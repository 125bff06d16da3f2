#include "slab/shelf.h"

#include "area/records.h"
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

enum {
    SWEEP_SLABS = 4,  /* full slabs of a shelf recounted at once */
    LOOK_AT_WIDE = 8, /* ready slabs, for the best to take a slot of */
    READY_AT_MOST = 64,
    READY_SHARE = 16,
    EVENT_SHARE = 4,    /* freed between events once half is free, or all may lease it */
    LOOK_AT_LONGER = 4, /* ready slabs of another class, for one that can stand in */
    FEW_IDLE = 2, /* slabs that a thread has on its shelf and may keep though one is half free */
};

static struct shelf common_shelves[CLASS_COUNT];
static struct shelf *own_shelves[OWN_SHELVES]; /* rows by their number - 1 */
static uint8_t n_open;                         /* of these */

static struct shelf *common_shelf(unsigned c)
{
    return &common_shelves[c];
}

/* An open one. */
static struct shelf *row_of(unsigned number)
{
    return number == COMMON_SHELF ? common_shelves : own_shelves[number - 1];
}

static struct shelf *shelf_of(const struct slab *s)
{
    return &row_of(atomic_load_acquire(&s->shelf))[s->class_index];
}

/* Who has the lock may change the slab's shelf. */
static struct shelf *lock_shelf_of(const struct slab *s)
{
    for (;;) {
        struct shelf *shelf = shelf_of(s);
        lock_take(&shelf->lock);
        if (LIKELY(shelf_of(s) == shelf))
            return shelf;
        lock_drop(&shelf->lock);
    }
}

/* The i-th shelf of class c, or of all; null: no more are open. */
static struct shelf *class_shelf(unsigned c, unsigned i)
{
    return i <= atomic_load_acquire(&n_open) ? &row_of(i)[c] : NULL;
}

static struct shelf *any_shelf(unsigned i)
{
    return class_shelf(i % CLASS_COUNT, i / CLASS_COUNT);
}

/* Zeroes are shelves with nothing on them, their locks free and of RANK_SHELF. */
bool shelf_open(uint8_t number)
{
    if (number <= n_open)
        return true;
    own_shelves[number - 1] = records_take(sizeof common_shelves);
    if (own_shelves[number - 1] == NULL)
        return false;
    atomic_store_release(&n_open, number);
    return true;
}

/* `first` is looked at without the lock, to see whether it pays to take it. */
static bool is_empty(const struct list *l)
{
    return atomic_load_relaxed(&l->first) == NULL;
}

static void list_append(struct list *l, struct slab *s)
{
    s->previous = l->last;
    s->next = NULL;
    atomic_store_relaxed(l->last != NULL ? &l->last->next : &l->first, s);
    l->last = s;
}

static void list_remove(struct list *l, struct slab *s)
{
    atomic_store_relaxed(s->previous != NULL ? &s->previous->next : &l->first, s->next);
    *(s->next != NULL ? &s->next->previous : &l->last) = s->previous;
}

unsigned shelf_ready_at(unsigned c)
{
    unsigned share = class_is_wide(c) ? 1 : size_classes[c].slots / READY_SHARE;
    return share < 1 ? 1 : share > READY_AT_MOST ? READY_AT_MOST : share;
}

/* An empty slab stays, as its class's only ready one, until a purge pass holds it: the class's next block then lies on pages
 * that it touched before, and no run is freed and taken. Not a wide one, which others can make more of. */
static bool stays_empty(const struct shelf *shelf, const struct slab *s)
{
    return s->place != SLAB_HELD && shelf->ready.first == NULL && !class_is_wide(s->class_index);
}

/* Free slots from which on a slab may leave its thread's shelf. */
static unsigned half_of(const struct slab *s)
{
    return (s->slots + 1U) / 2;
}

static unsigned frees_to_event(const struct slab *s, unsigned free_slots)
{
    if (s->shelf != COMMON_SHELF && free_slots < half_of(s))
        return half_of(s) - free_slots;
    unsigned share = (unsigned)max_size(s->slots / EVENT_SHARE, 1);
    return (unsigned)min_size(s->slots - free_slots, share);
}

static void add_ready_locked(struct shelf *shelf, struct slab *s, unsigned free_slots)
{
    s->place = SLAB_READY;
    atomic_store_relaxed(&s->till, (int32_t)frees_to_event(s, free_slots) - 1);
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
    add_ready_locked(shelf, s, free_slots);
    return free_bytes;
}

static size_t file_locked(struct shelf *shelf, struct slab *s)
{
    return file_counted_locked(shelf, s, slab_count_free(s));
}

/* By its event a full slab has as many free slots as make it ready: they need not be counted, unless that is all, or one of them
 * shall be taken for sure: the event may come late. */
static size_t file_ready_locked(struct shelf *shelf, struct slab *s)
{
    unsigned ready_at = shelf_ready_at(s->class_index);
    bool is_known = ready_at < s->slots && !class_is_wide(s->class_index);
    return is_known ? file_counted_locked(shelf, s, ready_at) : file_locked(shelf, s);
}

/* The same for a slab that was leased or full: it is young. A full one gets its stamp when it becomes ready. */
static size_t file_young_locked(struct shelf *shelf, struct slab *s, unsigned free_slots)
{
    size_t free_bytes = file_counted_locked(shelf, s, free_slots);
    if (s->place == SLAB_READY)
        s->stamp_ms = (uint32_t)os->now_ms();
    return free_bytes;
}

/* Adds the slabs of a list and their free slots. False: they are more than few. */
static bool add_few(const struct list *l, unsigned *n, unsigned *free_slots)
{
    for (const struct slab *s = l->first; s != NULL; s = s->next) {
        if (++*n > FEW_IDLE)
            return false;
        *free_slots += slab_count_free(s);
    }
    return true;
}

/* Whether the thread's slabs are few and at least half used together, the leased one counted as half used: while a thread
 * replaces its blocks, most of its free slots gather in one slab, which it shall lease next. */
static bool stays_own(const struct shelf *own, const struct slab *s, unsigned free_slots)
{
    unsigned n = 1;
    if (!add_few(&own->ready, &n, &free_slots) || !add_few(&own->full, &n, &free_slots))
        return false;
    return free_slots * 4 < (2 * n + 1) * s->slots;
}

/* Files a slab that is on no list, and returns as file_counted_locked; or if half of it is free, it leaves for the common shelf:
 * *leaves is the count of its free slots. Until enter_common it is as leased, by nobody. */
static size_t file_or_leave_locked(struct shelf *own, struct slab *s, bool stays_if_few,
                                   unsigned *leaves)
{
    unsigned free_slots = slab_count_free(s);
    if (s->shelf == COMMON_SHELF || free_slots < half_of(s) ||
        (stays_if_few && free_slots < s->slots && stays_own(own, s, free_slots)))
        return file_young_locked(own, s, free_slots);
    s->place = SLAB_LEASED;
    atomic_store_release(&s->shelf, (uint8_t)COMMON_SHELF);
    *leaves = free_slots;
    return 0;
}

static NOINLINE size_t enter_common(struct slab *s, unsigned free_slots)
{
    struct shelf *common = common_shelf(s->class_index);
    lock_take(&common->lock);
    size_t free_bytes = file_young_locked(common, s, free_slots);
    lock_drop(&common->lock);
    return free_bytes;
}

static void file_or_leave_and_drop(struct shelf *shelf, struct slab *s, bool stays_if_few)
{
    unsigned leaves = 0;
    file_or_leave_locked(shelf, s, stays_if_few, &leaves);
    lock_drop(&shelf->lock);
    if (leaves > 0)
        enter_common(s, leaves);
}

static void recount_first_full(struct shelf *shelf)
{
    lock_take(&shelf->lock);
    struct slab *s = shelf->full.first;
    if (s == NULL) {
        lock_drop(&shelf->lock);
        return;
    }
    list_remove(&shelf->full, s);
    file_or_leave_and_drop(shelf, s, true);
}

/* Frees may have been miscounted by racing threads: look again at those who have waited longest. */
static void sweep_full(struct shelf *shelf)
{
    for (int i = 0; i < SWEEP_SLABS && !is_empty(&shelf->full); i++)
        recount_first_full(shelf);
}

static struct slab *lease_locked(struct slab *s, uint8_t own)
{
    s->place = SLAB_LEASED;
    atomic_store_relaxed(&s->till, LEASE_TILL);
    atomic_store_release(&s->shelf, own);
    return s;
}

/* s is ready, or null: then there is none. */
static struct slab *lease_ready_locked(struct shelf *shelf, struct slab *s, uint8_t own)
{
    if (s == NULL)
        return NULL;
    list_remove(&shelf->ready, s);
    return lease_locked(s, own);
}

/* The slab that has waited longest, as the most frees have gathered in it. */
static struct slab *take_ready_locked(struct shelf *shelf, uint8_t own)
{
    return lease_ready_locked(shelf, shelf->ready.first, own);
}

/* The lease of `used`, if any, ends before. */
static NOINLINE struct slab *take_ready(struct shelf *shelf, uint8_t own, struct slab *used)
{
    unsigned leaves = 0;
    if (used == NULL && is_empty(&shelf->ready))
        return NULL;
    lock_take(&shelf->lock);
    if (used != NULL)
        file_or_leave_locked(shelf, used, false, &leaves);
    struct slab *s = take_ready_locked(shelf, own);
    lock_drop(&shelf->lock);
    if (leaves > 0)
        enter_common(used, leaves);
    return s;
}

/* *fresh: the same slab if it is of fresh memory, for slab_ask_huge. */
static struct slab *create_locked(struct shelf *common, unsigned c, struct slab **fresh)
{
    struct slab *record = common->retired;
    struct slab *s = slab_create(c, record);
    if (s != NULL && s == record)
        common->retired = record->next;
    if (s != NULL && s->fresh)
        *fresh = s;
    return s;
}

static struct slab *take_common_or_create(unsigned c, uint8_t own)
{
    struct slab *fresh = NULL;
    struct shelf *common = common_shelf(c);
    lock_take(&common->lock);
    struct slab *s = take_ready_locked(common, own);
    if (s == NULL && (s = create_locked(common, c, &fresh)) != NULL)
        lease_locked(s, own);
    lock_drop(&common->lock);
    if (fresh != NULL)
        slab_ask_huge(fresh);
    return s;
}

/* Half free, and in memory. */
static bool can_stand_in(const struct slab *s)
{
    return s->purged_pages == 0 && (!s->fresh || s->opened >= half_of(s)) &&
           slab_count_free(s) >= half_of(s);
}

static struct slab *find_stand_in_locked(const struct shelf *shelf)
{
    struct slab *s = shelf->ready.first;
    for (int i = 0; i < LOOK_AT_LONGER && s != NULL; i++, s = s->next) {
        if (can_stand_in(s))
            return s;
    }
    return NULL;
}

static NOINLINE struct slab *take_stand_in_of(unsigned k, uint8_t own)
{
    struct shelf *common = common_shelf(k);
    if (is_empty(&common->ready))
        return NULL;
    lock_take(&common->lock);
    struct slab *s = lease_ready_locked(common, find_stand_in_locked(common), own);
    lock_drop(&common->lock);
    return s;
}

static struct slab *take_stand_in(unsigned c, uint8_t own)
{
    struct slab *s = NULL;
    for (unsigned k = c + 1; s == NULL && class_may_hold(k, c); k++)
        s = take_stand_in_of(k, own);
    return s;
}

/* No memory is left for another slab. */
static COLD struct slab *take_ready_of_any(unsigned c, uint8_t own)
{
    struct slab *s = NULL;
    struct shelf *shelf;
    for (unsigned i = 0; s == NULL && (shelf = class_shelf(c, i)) != NULL; i++)
        s = take_ready(shelf, own, NULL);
    return s;
}

/* The thread's own shelf has none ready. */
static NOINLINE struct slab *lease_beyond(struct shelf *shelf, unsigned c, uint8_t own,
                                          bool is_exact)
{
    struct slab *s = NULL;
    if (is_empty(&common_shelf(c)->ready)) {
        sweep_full(shelf);
        s = take_ready(shelf, own, NULL);
        if (s == NULL && !is_exact && !slabs_are_guarded)
            s = take_stand_in(c, own);
    }
    if (s == NULL)
        s = take_common_or_create(c, own);
    return LIKELY(s != NULL) ? s : take_ready_of_any(c, own);
}

/* Half free it leaves: its thread ends, or has found few slots in it while others freed many behind it. */
NOINLINE void shelf_return(struct slab *s)
{
    struct shelf *own = shelf_of(s);
    lock_take(&own->lock);
    file_or_leave_and_drop(own, s, false);
}

struct slab *shelf_exchange(struct slab *used, unsigned c, uint8_t own, bool is_exact)
{
    struct shelf *shelf = &row_of(own)[c];
    if (used != NULL && UNLIKELY(shelf_of(used) != shelf)) {
        shelf_return(used);
        used = NULL;
    }
    struct slab *s = take_ready(shelf, own, used);
    return LIKELY(s != NULL) ? s : lease_beyond(shelf, c, own, is_exact);
}

/* Of the first few slabs the one at the lowest address: so those at high ones run empty, and their memory serves other
 * classes. But one that was made for this thread goes first: the lines around its slots need not travel. */
static NOINLINE struct slab *choose_wide_locked(const struct shelf *common, uint8_t own)
{
    struct slab *best = NULL;
    uintptr_t best_order = UINTPTR_MAX;
    int i = 0;
    for (struct slab *s = common->ready.first; s != NULL && i < LOOK_AT_WIDE; s = s->next, i++) {
        uintptr_t order = s->base | (uintptr_t)(s->made_for != own) << 63;
        best = order < best_order ? s : best;
        best_order = order < best_order ? order : best_order;
    }
    return best;
}

/* A slab of wide slots with a free one. */
static struct slab *ready_wide_locked(struct shelf *common, unsigned c, uint8_t own,
                                      struct slab **fresh)
{
    struct slab *s = choose_wide_locked(common, own);
    if (s != NULL || (s = create_locked(common, c, fresh)) == NULL)
        return s;
    s->made_for = own;
    s->stamp_ms = (uint32_t)os->now_ms();
    add_ready_locked(common, s, s->slots);
    return s;
}

/* The first group with a free slot; its free slots. 0: none has. */
static NOINLINE uint64_t find_free(const struct slab *s, unsigned *first)
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

/* Of the group that begins with `first`. */
static void *mark_slot(struct slab *s, unsigned first, uint64_t bit, enum slot_state state)
{
    unsigned slot = first + lowest_bit(bit);
    atomic_store_relaxed(&s->states[slot], (uint8_t)state);
    return (void *)(s->base + (uintptr_t)slot * size_classes[s->class_index].size);
}

static void go_ahead(struct slab *s, unsigned first, uint64_t taken,
                     const struct shelf_ahead *ahead)
{
    unsigned n = count_bits(taken);
    *ahead->n = (uint16_t)n;
    for (; taken != 0; taken &= taken - 1)
        ahead->slots[--n] = mark_slot(s, first, taken, SLOT_KEPT);
}

/* Of `mask`, free slots of the group that begins with `first`, those of `taken`: the lowest is returned, the others go ahead. */
static NOINLINE void *hand_out_locked(struct shelf *common, struct slab *s, unsigned first,
                                      uint64_t mask, uint64_t taken, bool *is_zero,
                                      const struct shelf_ahead *ahead)
{
    *is_zero = slab_offer(s, first, taken);
    atomic_fence_acquire(); /* the slots' last users stored FREE with release */
    void *p = mark_slot(s, first, taken, SLOT_LIVE);
    if (ahead != NULL)
        go_ahead(s, first, taken & (taken - 1), ahead);
    if (mask == taken && slab_count_free(s) == 0) {
        list_remove(&common->ready, s);
        file_locked(common, s);
    }
    return p;
}

static void *take_slot_locked(struct shelf *common, unsigned c, uint8_t own, unsigned pass_over,
                              bool *is_zero, struct slab **fresh)
{
    struct slab *s = ready_wide_locked(common, c, own, fresh);
    unsigned first;
    uint64_t mask = s != NULL ? without_lowest(find_free(s, &first), pass_over) : 0;
    return mask != 0 ? hand_out_locked(common, s, first, mask, mask & -mask, is_zero, NULL) : NULL;
}

/* The lowest slots of `mask` up to the first that may hold no memory, `most` at most. */
static uint64_t used_slots(const struct slab *s, unsigned first, uint64_t mask, unsigned most)
{
    uint64_t used = 0;
    for (; most > 0 && mask != 0 && slab_slot_is_used(s, first + lowest_bit(mask)); most--) {
        used |= mask & -mask;
        mask &= mask - 1;
    }
    return used;
}

static void *take_used_locked(struct shelf *common, uint8_t own, const struct shelf_ahead *ahead)
{
    struct slab *s = choose_wide_locked(common, own);
    if (s == NULL)
        return NULL;
    unsigned first;
    uint64_t mask = find_free(s, &first);
    unsigned most = ahead != NULL && s->made_for == own ? 1 + ahead->most : 1;
    uint64_t taken = used_slots(s, first, mask, most);
    bool is_zero;
    return taken != 0 ? hand_out_locked(common, s, first, mask, taken, &is_zero, ahead) : NULL;
}

static NOINLINE void *take_used_of(unsigned c, uint8_t own, const struct shelf_ahead *ahead)
{
    struct shelf *common = common_shelf(c);
    if (is_empty(&common->ready))
        return NULL;
    lock_take(&common->lock);
    void *p = take_used_locked(common, own, ahead);
    lock_drop(&common->lock);
    return p;
}

void *shelf_take_used(unsigned c, uint8_t own, const struct shelf_ahead *ahead)
{
    void *p = take_used_of(c, own, ahead);
    for (unsigned k = c + 1; p == NULL && k < CLASS_COUNT && class_may_hold(k, c); k++)
        p = take_used_of(k, own, NULL);
    return p;
}

void *shelf_take_slot(unsigned c, uint8_t own, unsigned pass_over, bool *is_zero)
{
    struct slab *fresh = NULL;
    struct shelf *common = common_shelf(c);
    if (is_empty(&common->ready))
        sweep_full(common);
    lock_take(&common->lock);
    void *p = take_slot_locked(common, c, own, pass_over, is_zero, &fresh);
    lock_drop(&common->lock);
    if (UNLIKELY(fresh != NULL))
        slab_ask_huge(fresh);
    return p;
}

/* *leaves: as of file_or_leave_locked. */
static NOINLINE size_t event_locked(struct shelf *shelf, struct slab *s, unsigned *leaves)
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
        return file_or_leave_locked(shelf, s, true, leaves);
    case SLAB_RETIRED:
        break;
    }
    return 0;
}

size_t shelf_event(uintptr_t address)
{
    struct slab *s = slab_of(address);
    if (s == &no_slab)
        return 0;
    unsigned leaves = 0;
    struct shelf *shelf = lock_shelf_of(s);
    size_t free_bytes = slab_of(address) == s ? event_locked(shelf, s, &leaves) : 0;
    lock_drop(&shelf->lock);
    return leaves > 0 ? enter_common(s, leaves) : free_bytes;
}

/* Once the slot is FREE the slab may go, and its record be another's. */
size_t shelf_give_slot(struct slab *s, size_t slot)
{
    uintptr_t base = s->base;
    atomic_store_release(&s->states[slot], SLOT_FREE);
    return hint_take_one_is_negative(&s->till) ? shelf_event(base) : 0;
}

static bool is_due(const struct slab *s, const struct shelf_pass *pass)
{
    return s->purge_pass != pass->number &&
           (int32_t)(pass->now_ms - s->stamp_ms - pass->age_ms) >= 0;
}

static size_t hold_old(struct shelf *shelf, const struct shelf_pass *pass, struct slab **held,
                       size_t max)
{
    if (is_empty(&shelf->ready))
        return 0;
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
        atomic_store_release(&s->shelf, (uint8_t)COMMON_SHELF);
        held[n++] = s;
    }
    lock_drop(&shelf->lock);
    return n;
}

size_t shelf_hold_old(unsigned c, const struct shelf_pass *pass, struct slab **held, size_t max)
{
    size_t n = 0;
    struct shelf *shelf;
    for (unsigned i = 0; n < max && (shelf = class_shelf(c, i)) != NULL; i++) {
        if (i != COMMON_SHELF || class_is_wide(c))
            sweep_full(shelf);
        n += hold_old(shelf, pass, held + n, max - n);
    }
    return n;
}

void shelf_put_back(struct slab **held, size_t n)
{
    if (n == 0)
        return;
    struct shelf *common = common_shelf(held[0]->class_index);
    lock_take(&common->lock);
    for (size_t i = 0; i < n; i++)
        file_locked(common, held[i]);
    lock_drop(&common->lock);
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
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = any_shelf(i)) != NULL; i++) {
        lock_take(&shelf->lock);
        set_aside_list(&shelf->ready);
        set_aside_list(&shelf->full);
        lock_drop(&shelf->lock);
    }
}

static void visit_list(const struct list *list, void (*visit)(struct slab *s, void *arg), void *arg)
{
    for (struct slab *s = list->first; s != NULL; s = s->next)
        visit(s, arg);
}

void shelf_visit(unsigned c, void (*visit)(struct slab *s, void *arg), void *arg)
{
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = class_shelf(c, i)) != NULL; i++) {
        lock_take(&shelf->lock);
        visit_list(&shelf->ready, visit, arg);
        visit_list(&shelf->full, visit, arg);
        lock_drop(&shelf->lock);
    }
}

/* Slabs of a list, or SIZE_MAX if its links, one slab's place or its shelf are wrong, or a wide one is there in vain. */
static size_t count_list(const struct shelf *shelf, const struct list *l, unsigned c,
                         enum slab_place place)
{
    size_t n = 0;
    const struct slab *previous = NULL;
    for (const struct slab *s = l->first; s != NULL; previous = s, s = s->next) {
        if (s->previous != previous || s->place != place || s->class_index != c ||
            shelf_of(s) != shelf)
            return SIZE_MAX;
        if (class_is_wide(c) && place == SLAB_READY && slab_count_free(s) == 0)
            return SIZE_MAX;
        n++;
    }
    return l->last == previous ? n : SIZE_MAX;
}

/* Slabs of class c in the window that say they are there. */
static size_t count_placed(const struct shelf *shelf, unsigned c, enum slab_place place)
{
    size_t n = 0;
    for (size_t u = 0; u < atomic_load_acquire(&window.unit_count); u++) {
        const struct slab *s = atomic_load_relaxed(&window.map[u]);
        if (s != &no_slab && s->class_index == c && s->place == place && window_unit(s->base) == u)
            n += shelf_of(s) == shelf;
    }
    return n;
}

static bool check_retired_locked(const struct shelf *shelf, unsigned c)
{
    uint32_t left = slab_records_made[c]; /* a broken list may have no end */
    for (const struct slab *s = shelf->retired; s != NULL; s = s->next) {
        if (left-- == 0 || s->place != SLAB_RETIRED || s->class_index != c)
            return false;
    }
    return true;
}

int shelf_check(unsigned c)
{
    bool agree = true;
    struct shelf *shelf;
    for (unsigned i = 0; agree && (shelf = class_shelf(c, i)) != NULL; i++) {
        lock_take(&shelf->lock);
        agree =
            count_list(shelf, &shelf->ready, c, SLAB_READY) == count_placed(shelf, c, SLAB_READY) &&
            count_list(shelf, &shelf->full, c, SLAB_FULL) == count_placed(shelf, c, SLAB_FULL) &&
            check_retired_locked(shelf, c);
        lock_drop(&shelf->lock);
    }
    return agree ? 0 : 5;
}

bool shelf_lock_is_mine(void)
{
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = any_shelf(i)) != NULL; i++) {
        if (lock_is_mine(&shelf->lock))
            return true;
    }
    return false;
}

void shelf_fork_prepare(bool nested)
{
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = any_shelf(i)) != NULL; i++)
        lock_fork_take(&shelf->lock, nested);
}

void shelf_fork_parent(void)
{
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = any_shelf(i)) != NULL; i++)
        lock_fork_parent(&shelf->lock);
}

void shelf_fork_child(void)
{
    struct shelf *shelf;
    for (unsigned i = 0; (shelf = any_shelf(i)) != NULL; i++)
        lock_fork_child(&shelf->lock);
}
