/* slab/shelf: where a slab goes for every number of free slots; events, returns, sweeps, holding;
 * refusals. */
#include "slab/shelf.h"

#include "area/records.h"
#include "span/span.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>
#include <unistd.h>

static void open_heap(void)
{
    fake_os_install();
    REQUIRE(span_open(&no_slab));
}

static struct slab *lease_own(unsigned c, uint8_t own, unsigned live)
{
    struct slab *s = shelf_lease(c, own, false);
    REQUIRE(s != NULL && s->shelf == own && s->class_index == c);
    REQUIRE(s->place == SLAB_LEASED && s->till == LEASE_TILL);
    s->opened = s->slots;
    s->fresh = false;
    memset(s->states, SLOT_FREE, s->slots);
    memset(s->states, SLOT_LIVE, live);
    return s;
}

static struct slab *lease_with_live(unsigned c, unsigned live)
{
    return lease_own(c, COMMON_SHELF, live);
}

struct seen {
    unsigned n[5]; /* by enum slab_place */
    int broken;
};

static void look(struct slab *s, void *arg)
{
    struct seen *seen = arg;
    seen->n[s->place]++;
    if (slab_check(s) != 0)
        seen->broken = slab_check(s);
}

static struct seen visit(unsigned c)
{
    struct seen seen = {{0}, 0};
    shelf_visit(c, look, &seen);
    REQUIRE(seen.broken == 0 && seen.n[SLAB_LEASED] == 0 && seen.n[SLAB_HELD] == 0 &&
            seen.n[SLAB_RETIRED] == 0);
    return seen;
}

/* A free by anybody, as the fast path does it. Returns what it tells of free bytes. */
static size_t free_slot(struct slab *s, unsigned slot)
{
    uintptr_t address = s->base + (uintptr_t)slot * size_classes[s->class_index].size;
    REQUIRE(s->states[slot] == SLOT_LIVE);
    s->states[slot] = SLOT_FREE;
    return hint_take_one_is_negative(&s->till) ? shelf_event(address) : 0;
}

static void purge_all_of(unsigned c)
{
    static uint16_t number = 100;
    struct slab *held[8];
    struct shelf_pass pass = {.number = ++number, .now_ms = (uint32_t)fake.now_ms};
    size_t n;
    while ((n = shelf_hold_old(c, &pass, held, 8)) > 0) {
        REQUIRE(held[0]->place == SLAB_HELD && held[0]->shelf == COMMON_SHELF);
        shelf_put_back(held, n);
    }
}

static void test_thresholds(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        assert_in_range(shelf_ready_at(c), 1, size_classes[c].slots);
    }
}

/* Every number of live slots: full, ready, or retired (an empty one of a short slab's class stays ready), and what a lease
 * then gets. */
static void return_with_any_live(void *arg)
{
    (void)arg;
    static const unsigned classes[] = {0, 3, 15, 30, 35, WIDE_FIRST - 1};
    open_heap();
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        unsigned c = classes[i];
        unsigned slots = size_classes[c].slots;
        for (unsigned live = 0; live <= slots; live += live < 70 || live + 80 > slots ? 1 : 37) {
            struct slab *s = lease_with_live(c, live);
            uintptr_t base = s->base;
            shelf_return(s);
            struct seen seen = visit(c);
            bool stays = !class_is_wide(c); /* when it is empty */
            bool ready = (live != 0 || stays) && slots - live >= shelf_ready_at(c);
            bool full = slots - live < shelf_ready_at(c);
            REQUIRE(seen.n[SLAB_READY] == ready && seen.n[SLAB_FULL] == full);
            REQUIRE((slab_of(base) == &no_slab) == (live == 0 && !stays));
            if (live == 0 && !stays) {
                REQUIRE(s->place == SLAB_RETIRED && span_in_use_bytes(base, RUN_SLAB) == 0);
                continue;
            }
            struct slab *other = full ? NULL : shelf_lease(c, 0, false);
            REQUIRE(full || other == s);
            for (unsigned slot = 0; slot < live; slot++)
                free_slot(s, slot);
            if (ready)
                shelf_return(s);
            seen = visit(c); /* the frees brought a full slab to its end by events alone */
            REQUIRE(seen.n[SLAB_READY] == stays && seen.n[SLAB_FULL] == 0);
            REQUIRE(s->place == (stays ? SLAB_READY : SLAB_RETIRED));
        }
        REQUIRE(span_check() == 0);
    }
}

/* Neither of them is empty, so neither goes. */
static void return_two_with_a_block(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *a = lease_with_live(20, 1);
    struct slab *b = lease_with_live(20, 1);
    shelf_return(a);
    shelf_return(b);
    REQUIRE(slab_of(a->base) == a && slab_of(b->base) == b && visit(20).n[SLAB_READY] == 2);
}

static void test_return(void **state)
{
    (void)state;
    require_in_child(return_with_any_live, NULL);
    require_in_child(return_two_with_a_block, NULL);
}

/* A full slab becomes ready at the threshold, not earlier; a ready one has its last event when all
 * is free. */
static void follow_events(void *arg)
{
    (void)arg;
    open_heap();
    for (unsigned c = 0; c < WIDE_FIRST; c += 7) {
        unsigned slots = size_classes[c].slots;
        struct slab *s = lease_with_live(c, slots);
        shelf_return(s);
        for (unsigned freed = 1; freed <= slots; freed++) {
            fake.now_ms += 10;
            free_slot(s, freed - 1);
            unsigned place = freed < shelf_ready_at(c) ? SLAB_FULL : SLAB_READY;
            REQUIRE(s->place == place);
            if (freed == shelf_ready_at(c) && freed != slots)
                REQUIRE(s->stamp_ms == (uint32_t)fake.now_ms);
        }
    }
}

static void test_events(void **state)
{
    (void)state;
    require_in_child(follow_events, NULL);
}

static void event_anywhere(void *arg)
{
    (void)arg;
    open_heap();
    uintptr_t wild[] = {0, UINTPTR_MAX, window.base, window.base + 12345, (uintptr_t)&wild};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        REQUIRE(shelf_event(wild[i]) == 0);
    struct slab *s = lease_with_live(9, 10);
    REQUIRE(shelf_event(s->base) == 0 && s->place == SLAB_LEASED && s->till == LEASE_TILL);
    s->till = -1;
    REQUIRE(shelf_event(s->base) == 0 && s->till == LEASE_TILL);
    shelf_return(s);
    /* early, and twice: an event that nothing warrants changes nothing but the list's order */
    REQUIRE(shelf_event(s->base) == (s->slots - 10U) * size_classes[9].size);
    REQUIRE(shelf_event(s->base) != 0 && s->place == SLAB_READY && visit(9).n[SLAB_READY] == 1);
    memset(s->states, SLOT_FREE, s->slots);
    uintptr_t base = s->base;
    REQUIRE(shelf_event(base) == (size_t)s->slots * size_classes[9].size && s->place == SLAB_READY);
    struct slab *held;
    struct shelf_pass all = {.number = 1, .now_ms = (uint32_t)fake.now_ms};
    REQUIRE(shelf_hold_old(9, &all, &held, 1) == 1 && held == s);
    shelf_put_back(&held, 1);
    REQUIRE(s->place == SLAB_RETIRED && shelf_event(base) == 0);
}

/* An empty slab stays if no other is ready, and is leased as it was left. A pass retires it; its record, and its run out of
 * the middle of a longer free one, serve again. */
static void keep_one_empty(void *arg)
{
    (void)arg;
    open_heap();
    enum { N = 5 };
    struct slab *some[N];
    for (int i = 0; i < N; i++)
        some[i] = lease_with_live(20, 0);
    uintptr_t bases[N];
    for (int i = 0; i < N; i++) {
        bases[i] = some[i]->base;
        shelf_return(some[i]);
        REQUIRE(some[i]->place == (i == 0 ? SLAB_READY : SLAB_RETIRED));
    }
    REQUIRE(visit(20).n[SLAB_READY] == 1);
    REQUIRE(shelf_lease(20, 0, false) == some[0] && some[0]->opened == some[0]->slots);
    for (int i = N - 1; i > 0; i--) {
        const struct slab *s = shelf_lease(20, 0, false);
        REQUIRE(s == some[i] && s->base == bases[i] && s->opened == 0 && slab_check(s) == 0);
    }
    REQUIRE(span_check() == 0);
}

static void test_one_empty_stays(void **state)
{
    (void)state;
    require_in_child(keep_one_empty, NULL);
}

static void test_event_anywhere(void **state)
{
    (void)state;
    require_in_child(event_anywhere, NULL);
}

/* Counts get lost: a full slab whose slots were freed without any event. The class finds it before
 * it takes memory. */
static void sweep_lost_counts(void *arg)
{
    (void)arg;
    open_heap();
    enum { N = 12 };
    struct slab *some[N];
    unsigned c = 25;
    for (int i = 0; i < N; i++)
        some[i] = lease_with_live(c, size_classes[c].slots);
    for (int i = 0; i < N; i++)
        shelf_return(some[i]);
    REQUIRE(visit(c).n[SLAB_FULL] == N);
    memset(some[5]->states, SLOT_FREE, 100);
    for (int i = 0; i < N; i++) {
        if (shelf_lease(c, 0, false) == some[5])
            return;
    }
    REQUIRE(!"as many leases as there are full slabs find it");
}

static void test_sweep(void **state)
{
    (void)state;
    require_in_child(sweep_lost_counts, NULL);
}

/* What a sweep finds ready is as young as what an event makes ready: a purge leaves it its age. */
static void sweep_makes_young(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *some[2];
    unsigned c = 25;
    for (int i = 0; i < 2; i++)
        some[i] = lease_with_live(c, size_classes[c].slots);
    for (int i = 0; i < 2; i++) {
        shelf_return(some[i]);
        memset(some[i]->states, SLOT_FREE, 100);
    }
    fake.now_ms += 777;
    const struct slab *leased = shelf_lease(c, 0, false);
    const struct slab *left = some[leased == some[0]];
    REQUIRE(left->place == SLAB_READY && left->stamp_ms == (uint32_t)fake.now_ms);
}

static void test_sweep_makes_young(void **state)
{
    (void)state;
    require_in_child(sweep_makes_young, NULL);
}

static void retire_by_sweep(void *arg)
{
    (void)arg;
    open_heap();
    enum { N = 2 };
    struct slab *some[N];
    for (int i = 0; i < N; i++)
        some[i] = lease_with_live(25, size_classes[25].slots);
    for (int i = 0; i < N; i++) {
        shelf_return(some[i]);
        memset(some[i]->states, SLOT_FREE, some[i]->slots);
    }
    uintptr_t base = some[1]->base;
    REQUIRE(span_in_use_bytes(base, RUN_SLAB) != 0);
    REQUIRE(shelf_lease(25, 0, false) == some[0] && some[1]->place == SLAB_RETIRED);
    REQUIRE(span_in_use_bytes(base, RUN_SLAB) == 0);
    const struct slab *next = shelf_lease(25, 0, false); /* its record and its run serve again */
    REQUIRE(next == some[1] && next->base == base && slab_check(next) == 0 && next->opened == 0);
}

static void test_sweep_retires(void **state)
{
    (void)state;
    require_in_child(retire_by_sweep, NULL);
}

static void lease_the_longest_waiting(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *a = lease_with_live(30, 5);
    struct slab *b = lease_with_live(30, 5);
    struct slab *d = lease_with_live(30, 5);
    shelf_return(b);
    shelf_return(a);
    shelf_return(d);
    REQUIRE(shelf_lease(30, 0, false) == b && shelf_lease(30, 0, false) == a &&
            shelf_lease(30, 0, false) == d);
    REQUIRE(visit(30).n[SLAB_READY] == 0);
}

/* The lease of a slab ends before that of the next begins: where no other waits longer it is the same again. One of another
 * shelf, or class, goes back to its own. */
static void exchange_slabs(void *arg)
{
    (void)arg;
    enum { OWN = 1, C = 30 };
    open_heap();
    REQUIRE(shelf_open(OWN));
    unsigned many = size_classes[C].slots * 3 / 4;
    struct slab *a = lease_own(C, OWN, many);
    struct slab *b = lease_own(C, OWN, many);
    struct slab *full = lease_own(C, OWN, size_classes[C].slots);
    shelf_return(b);
    REQUIRE(shelf_exchange(a, C, OWN, false) == b && b->place == SLAB_LEASED);
    REQUIRE(a->place == SLAB_READY && a->shelf == OWN && shelf_check(C) == 0);
    REQUIRE(shelf_exchange(full, C, OWN, false) == a && full->place == SLAB_FULL);
    REQUIRE(shelf_exchange(a, C, OWN, false) == a && a->till == LEASE_TILL);
    memset(a->states, SLOT_FREE, a->slots / 2);
    const struct slab *next = shelf_exchange(a, C, OWN, false);
    REQUIRE(next == a &&
            a->shelf == OWN); /* half free it was for all, and then for this thread again */
    struct slab *longer = lease_with_live(C + 1, 3);
    next = shelf_exchange(longer, C, OWN, true);
    REQUIRE(next != longer && next->class_index == C && next->shelf == OWN);
    REQUIRE(longer->place == SLAB_READY && longer->shelf == COMMON_SHELF);
    REQUIRE(shelf_check(C) == 0 && shelf_check(C + 1) == 0);
}

static void test_order(void **state)
{
    (void)state;
    require_in_child(lease_the_longest_waiting, NULL);
}

static void test_exchange(void **state)
{
    (void)state;
    require_in_child(exchange_slabs, NULL);
}

static void hold_old_slabs(void *arg)
{
    (void)arg;
    open_heap();
    enum { N = 10 };
    struct slab *some[N];
    struct slab *held[N];
    for (int i = 0; i < N; i++)
        some[i] = lease_with_live(12, 9);
    for (int i = 0; i < N; i++) {
        fake.now_ms = 1000 + 100 * (unsigned)i;
        shelf_return(some[i]);
    }
    struct shelf_pass pass = {.number = 1, .now_ms = 1400, .age_ms = 200};
    REQUIRE(shelf_hold_old(12, &pass, held, 2) == 2 && held[0] == some[0] && held[1] == some[1]);
    REQUIRE(held[0]->place == SLAB_HELD && visit(12).n[SLAB_READY] == N - 2);
    REQUIRE(shelf_hold_old(11, &pass, held, N) == 0);
    free_slot(some[0], 0); /* while it is held */
    shelf_put_back(held, 2);
    REQUIRE(visit(12).n[SLAB_READY] == N && some[0]->place == SLAB_READY);
    REQUIRE(shelf_hold_old(12, &pass, held, N) == 1 &&
            held[0] == some[2]); /* each once in a pass */
    for (unsigned slot = 0; slot < 9; slot++)
        free_slot(some[2], slot);
    REQUIRE(some[2]->place == SLAB_HELD); /* events leave it alone */
    uintptr_t base = some[2]->base;
    shelf_put_back(held, 1);
    REQUIRE(slab_of(base) == &no_slab && visit(12).n[SLAB_READY] == N - 1);
    REQUIRE(shelf_hold_old(12, &pass, held, N) == 0);
    pass.number = 2;
    REQUIRE(shelf_hold_old(12, &pass, held, N) == 2);
    shelf_put_back(held, 2);
    shelf_put_back(held, 0);
    /* the clock's low 32 bits wrap */
    pass = (struct shelf_pass){.number = 3, .now_ms = 100, .age_ms = 500};
    some[5]->stamp_ms = (uint32_t)-401;
    some[6]->stamp_ms = (uint32_t)-300;
    for (int i = 7; i < N; i++)
        some[i]->stamp_ms = 50;
    some[0]->stamp_ms = some[1]->stamp_ms = some[3]->stamp_ms = some[4]->stamp_ms = 99;
    REQUIRE(shelf_hold_old(12, &pass, held, N) == 1 && held[0] == some[5]);
}

static void test_hold(void **state)
{
    (void)state;
    require_in_child(hold_old_slabs, NULL);
}

/* A lease that fails for want of pages may not use up the memory for records. */
static void fail_many_leases(void *arg)
{
    (void)arg;
    open_heap();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    bool is_zero;
    while (span_alloc(UNIT_BYTES, UNIT_BYTES, RUN_SLAB, &is_zero) != NULL)
        ;
    REQUIRE(shelf_lease(20, 0, false) == NULL);
    size_t used = records_used_bytes();
    for (int i = 0; i < 100; i++)
        REQUIRE(shelf_lease(20, 0, false) == NULL);
    REQUIRE(records_used_bytes() == used);
}

/* No memory for the record, though there is a run: the run is given back. */
static void lease_without_record(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *stays = lease_with_live(21, 0);
    struct slab *goes = lease_with_live(21, 0);
    shelf_return(stays);
    shelf_return(goes);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    while (records_take(64) != NULL)
        ;
    REQUIRE(shelf_lease(10, 0, false) == NULL);
    struct span_counts counts;
    span_count(&counts);
    REQUIRE(counts.runs[RUN_SLAB] == 1 && span_check() == 0);
}

static void test_failed_lease_keeps_no_record(void **state)
{
    (void)state;
    require_in_child(lease_without_record, NULL);
    require_in_child(fail_many_leases, NULL);
}

enum { WIDE = CLASS_COUNT - 1, WIDE_SLOTS = 16 };

static size_t give_back(void *p)
{
    struct slab *s = slab_of((uintptr_t)p);
    return shelf_give_slot(s, slot_starting_at(s, (uintptr_t)p));
}

static void give_slot(void *p, size_t expected_free_slots)
{
    REQUIRE(give_back(p) == expected_free_slots * size_classes[WIDE].size);
}

static void take_slots(char *p[], unsigned n, uint8_t own)
{
    bool is_zero;
    for (unsigned i = 0; i < n; i++)
        p[i] = shelf_take_slot(WIDE, own, 0, &is_zero);
}

/* One at a time, the lowest first; zero memory when never used; full, ready again, retired. */
static void take_wide_slots(void *arg)
{
    (void)arg;
    open_heap();
    REQUIRE(size_classes[WIDE].slots == WIDE_SLOTS);
    char *p[WIDE_SLOTS + 1];
    bool is_zero;
    for (int i = 0; i < WIDE_SLOTS; i++) {
        REQUIRE(visit(WIDE).n[SLAB_FULL] == 0);
        is_zero = false;
        p[i] = shelf_take_slot(WIDE, 0, 0, &is_zero);
        REQUIRE(p[i] == p[0] + (size_t)i * size_classes[WIDE].size && is_zero);
        const struct slab *s = slab_of((uintptr_t)p[i]);
        REQUIRE(s->states[i] == SLOT_LIVE && s->opened == i + 1 && slab_check(s) == 0);
    }
    REQUIRE(visit(WIDE).n[SLAB_FULL] == 1 && visit(WIDE).n[SLAB_READY] == 0);
    p[WIDE_SLOTS] = shelf_take_slot(WIDE, 0, 0, &is_zero);
    struct slab *s = slab_of((uintptr_t)p[0]);
    REQUIRE(slab_of((uintptr_t)p[WIDE_SLOTS]) != s && shelf_check(WIDE) == 0);
    give_slot(p[WIDE_SLOTS], WIDE_SLOTS); /* its slab is gone */
    REQUIRE(slab_of((uintptr_t)p[WIDE_SLOTS]) == &no_slab && visit(WIDE).n[SLAB_READY] == 0);
    fake.now_ms += 77;
    give_slot(p[5], 1);
    REQUIRE(s->place == SLAB_READY && s->stamp_ms == (uint32_t)fake.now_ms);
    give_slot(p[2], 0); /* nothing that a purge would want to know */
    is_zero = true;
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[2] && !is_zero);
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[5] && s->place == SLAB_FULL);
    size_t told = 0;
    for (int i = 0; i < WIDE_SLOTS; i++)
        told += shelf_give_slot(s, (size_t)i) != 0;
    REQUIRE(s->place == SLAB_RETIRED && shelf_check(WIDE) == 0 && span_check() == 0);
    REQUIRE(told == 5); /* ready, then each quarter, then retired */
}

/* Free slots are passed over while there are others in their group; the last one leaves a full slab. */
static void pass_over_wide_slots(void *arg)
{
    (void)arg;
    open_heap();
    size_t size = size_classes[WIDE].size;
    bool is_zero;
    char *third = shelf_take_slot(WIDE, 0, 2, &is_zero);
    const struct slab *s = slab_of((uintptr_t)third);
    REQUIRE((uintptr_t)third == s->base + 2 * size && is_zero && s->opened == 3);
    REQUIRE(shelf_take_slot(WIDE, 0, 2, &is_zero) == third + size);
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == third - 2 * size && !is_zero);
    REQUIRE(slab_check(s) == 0 && shelf_check(WIDE) == 0);
    for (int i = 3; i < WIDE_SLOTS; i++) {
        REQUIRE(s->place == SLAB_READY);
        REQUIRE(slab_of((uintptr_t)shelf_take_slot(WIDE, 0, WIDE_SLOTS, &is_zero)) == s);
    }
    REQUIRE(s->place == SLAB_FULL && shelf_check(WIDE) == 0 && slab_check(s) == 0);
}

static void test_wide_slots(void **state)
{
    (void)state;
    require_in_child(pass_over_wide_slots, NULL);
    require_in_child(take_wide_slots, NULL);
}

/* The slab at the lowest address comes first; a held one not at all, and what is given to it is found later. */
static void choose_among_wide(void *arg)
{
    (void)arg;
    open_heap();
    char *p[2 * WIDE_SLOTS];
    bool is_zero;
    take_slots(p, 2 * WIDE_SLOTS, 0);
    give_slot(p[20], 1);
    give_slot(p[3], 1);
    REQUIRE(p[3] < p[20]);
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[3] &&
            shelf_take_slot(WIDE, 0, 0, &is_zero) == p[20]);
    give_slot(p[3], 1);
    struct slab *held[2];
    struct shelf_pass pass = {.number = 1, .now_ms = (uint32_t)fake.now_ms + 1000, .age_ms = 200};
    REQUIRE(shelf_hold_old(WIDE, &pass, held, 2) == 1 && held[0] == slab_of((uintptr_t)p[3]));
    struct os_range ranges[SLAB_PAGES_MAX];
    REQUIRE(slab_collect_purge(held[0], ranges, SLAB_PAGES_MAX) == 1 && ranges[0].start == p[3]);
    for (int i = 4; i < WIDE_SLOTS; i++)
        give_slot(p[i], 0);
    char *other = shelf_take_slot(WIDE, 0, 0, &is_zero);
    REQUIRE(slab_of((uintptr_t)other) != held[0] && held[0]->place == SLAB_HELD);
    shelf_put_back(held, 1);
    REQUIRE(held[0]->place == SLAB_READY && shelf_check(WIDE) == 0);
    is_zero = false;
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[3] && is_zero); /* purged, so zero */
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[4] && !is_zero);
    REQUIRE(slab_check(held[0]) == 0);
}

static void test_choice_of_wide(void **state)
{
    (void)state;
    require_in_child(choose_among_wide, NULL);
}

/* Two slots of class c, of which one is free again. */
static char *use_slot(unsigned c)
{
    bool is_zero;
    REQUIRE(shelf_take_slot(c, 0, 0, &is_zero) != NULL);
    char *p = shelf_take_slot(c, 0, 0, &is_zero);
    REQUIRE(p != NULL);
    give_back(p);
    return p;
}

/* A used slot of the class, or else of the next two; nothing that was not offered before, and nothing is made. */
static void take_used_slots(void *arg)
{
    (void)arg;
    open_heap();
    enum { C = WIDE_FIRST };
    REQUIRE(shelf_take_used(C, 0, NULL) == NULL);
    char *of_third = use_slot(C + 3);
    REQUIRE(shelf_take_used(C, 0, NULL) == NULL);
    char *of_second = use_slot(C + 2);
    REQUIRE(shelf_take_used(C, 0, NULL) == of_second);
    REQUIRE(shelf_take_used(C, 0, NULL) == NULL && slab_records_made[C] == 0);
    struct slab *s = slab_of((uintptr_t)of_second);
    REQUIRE(s->states[1] == SLOT_LIVE && s->opened == 2 && shelf_check(C + 2) == 0);
    REQUIRE(shelf_take_used(C + 4, 0, NULL) == NULL);
    REQUIRE(shelf_take_used(C + 1, 0, NULL) == of_third);
    char *own = use_slot(C);
    give_back(of_second);
    REQUIRE(shelf_take_used(C, 0, NULL) == own && shelf_take_used(C, 0, NULL) == of_second);
    while (s->place == SLAB_READY) {
        bool is_zero;
        REQUIRE(slab_of((uintptr_t)shelf_take_slot(C + 2, 0, 0, &is_zero)) == s);
    }
    give_back(of_second);
    REQUIRE(shelf_take_used(C, 0, NULL) == of_second && s->place == SLAB_FULL);
    REQUIRE(shelf_check(C + 2) == 0 && slab_check(s) == 0);
}

/* What was purged counts as never offered; what a slab of used pages has not offered yet counts as used. */
static void tell_used_from_purged(void *arg)
{
    (void)arg;
    open_heap();
    char *p = use_slot(WIDE);
    struct slab *s = slab_of((uintptr_t)p);
    struct shelf_pass pass = {.number = 1, .now_ms = (uint32_t)fake.now_ms + 1000, .age_ms = 200};
    struct slab *held;
    struct os_range range;
    REQUIRE(shelf_hold_old(WIDE, &pass, &held, 1) == 1 && held == s);
    REQUIRE(slab_collect_purge(s, &range, 1) == 1 && range.start == p);
    shelf_put_back(&held, 1);
    REQUIRE(shelf_take_used(WIDE, 0, NULL) == NULL);
    bool is_zero = false;
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p && is_zero);
    give_back(p);
    give_back((void *)s->base);
    REQUIRE(s->place == SLAB_RETIRED);
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == (void *)s->base && !s->fresh);
    REQUIRE(shelf_take_used(WIDE, 0, NULL) == p);
}

enum { AHEAD = 4 };
static void *ahead_slots[AHEAD];
static uint16_t n_ahead;

static void *take_with_others(unsigned c, uint8_t own)
{
    const struct shelf_ahead ahead = {.slots = ahead_slots, .n = &n_ahead, .most = AHEAD};
    n_ahead = 0;
    return shelf_take_used(c, own, &ahead);
}

/* The first `n` of a new slab's slots, taken and given back. Returns the next one, which stays. */
static char *use_slots(char *p[], unsigned n)
{
    char *stays;
    take_slots(p, n, 0);
    take_slots(&stays, 1, 0);
    for (unsigned i = 0; i < n; i++)
        give_back(p[i]);
    return stays;
}

/* Up to so many others of the group, those that hold memory, the lowest to be handed out first; of another's slab and of another
 * class none. */
static void take_slots_ahead(void *arg)
{
    (void)arg;
    open_heap();
    enum { USED = AHEAD + 3 };
    char *p[USED];
    use_slots(p, USED);
    struct slab *s = slab_of((uintptr_t)p[0]);
    REQUIRE(take_with_others(WIDE, 0) == p[0] && n_ahead == AHEAD && s->states[0] == SLOT_LIVE);
    for (int i = 0; i < AHEAD; i++)
        REQUIRE(ahead_slots[i] == p[AHEAD - i] && s->states[AHEAD - i] == SLOT_KEPT);
    REQUIRE(s->states[AHEAD + 1] == SLOT_FREE && slab_check(s) == 0 && shelf_check(WIDE) == 0);
    REQUIRE(take_with_others(WIDE, 0) == p[AHEAD + 1] && n_ahead == 1);
    REQUIRE(ahead_slots[0] == p[AHEAD + 2]);
    REQUIRE(take_with_others(WIDE, 0) == NULL && n_ahead == 0); /* the next was never offered */
    for (int i = 0; i < 3; i++)
        give_back(p[i]);
    REQUIRE(take_with_others(WIDE, 1) == p[0] && n_ahead == 0);
    REQUIRE(take_with_others(WIDE - 1, 0) == p[1] && n_ahead == 0);
    REQUIRE(s->states[2] == SLOT_FREE && shelf_check(WIDE) == 0);
}

/* The last free slots go ahead: the slab is full. */
static void take_last_ahead(void *arg)
{
    (void)arg;
    open_heap();
    char *p[WIDE_SLOTS - 1];
    char *stays = use_slots(p, WIDE_SLOTS - 1);
    struct slab *s = slab_of((uintptr_t)stays);
    unsigned taken = 0;
    while (s->place == SLAB_READY) {
        REQUIRE(slab_of((uintptr_t)take_with_others(WIDE, 0)) == s);
        taken += 1U + n_ahead;
    }
    REQUIRE(taken == WIDE_SLOTS - 1 && s->place == SLAB_FULL && shelf_check(WIDE) == 0);
}

/* Frees of wide slots take no lock: an event may come late, twice, or not at all. */
static void miss_wide_events(void *arg)
{
    (void)arg;
    open_heap();
    char *p[WIDE_SLOTS];
    bool is_zero;
    take_slots(p, WIDE_SLOTS, 0);
    struct slab *s = slab_of((uintptr_t)p[0]);
    REQUIRE(s->place == SLAB_FULL);
    REQUIRE(shelf_event(s->base) == 0 && s->place == SLAB_FULL && shelf_check(WIDE) == 0);
    s->states[7] = SLOT_FREE;
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[7] && !is_zero);
    REQUIRE(s->place == SLAB_FULL && slab_records_made[WIDE] == 1 && shelf_check(WIDE) == 0);
    s->states[8] = SLOT_FREE;
    struct shelf_pass pass = {.number = 1, .now_ms = (uint32_t)fake.now_ms + 1000, .age_ms = 0};
    struct slab *held;
    REQUIRE(shelf_hold_old(WIDE, &pass, &held, 1) == 1 && held == s);
    shelf_put_back(&held, 1);
    s->states[8] = SLOT_LIVE;
    REQUIRE(shelf_check(WIDE) == 5); /* ready in vain */
    s->states[8] = SLOT_FREE;
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == p[8] && s->place == SLAB_FULL);
    give_slot(p[9], 1);
    REQUIRE(s->place == SLAB_READY && shelf_check(WIDE) == 0);
    s->states[9] = SLOT_LIVE;
    REQUIRE(shelf_check(WIDE) == 5);
    s->states[9] = SLOT_FREE;
    REQUIRE(shelf_check(WIDE) == 0);
}

static void test_used_slots(void **state)
{
    (void)state;
    require_in_child(take_slots_ahead, NULL);
    require_in_child(take_last_ahead, NULL);
    require_in_child(miss_wide_events, NULL);
    require_in_child(take_used_slots, NULL);
    require_in_child(tell_used_from_purged, NULL);
}

static void refuse_wide_slots(void *arg)
{
    (void)arg;
    open_heap();
    bool is_zero;
    size_t n = 0;
    void *last = shelf_take_slot(WIDE, 0, 0, &is_zero);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    for (void *p; (p = shelf_take_slot(WIDE, 0, 0, &is_zero)) != NULL; n++)
        last = p;
    REQUIRE(n > 10 && shelf_take_slot(WIDE, 0, 0, &is_zero) == NULL && shelf_check(WIDE) == 0);
    give_slot(last, 1);
    REQUIRE(shelf_take_slot(WIDE, 0, 0, &is_zero) == last);
}

static void test_wide_without_memory(void **state)
{
    (void)state;
    require_in_child(refuse_wide_slots, NULL);
}

static void break_the_lists(void *arg)
{
    (void)arg;
    open_heap();
    enum { CLASS = 22 };
    struct slab *ready[3];
    struct slab *full[3];
    for (int i = 0; i < 3; i++) {
        ready[i] = lease_with_live(CLASS, 5);
        full[i] = lease_with_live(CLASS, size_classes[CLASS].slots);
    }
    for (int i = 0; i < 3; i++) {
        shelf_return(ready[i]);
        shelf_return(full[i]);
    }
    struct slab *leased = lease_with_live(CLASS + 1, 1);
    REQUIRE(shelf_check(CLASS) == 0 && shelf_check(CLASS + 1) == 0);
    ready[1]->place = SLAB_FULL; /* on the other list */
    REQUIRE(shelf_check(CLASS) == 5);
    ready[1]->place = SLAB_LEASED; /* on a list, but leased */
    REQUIRE(shelf_check(CLASS) == 5);
    ready[1]->place = SLAB_READY;
    leased->place = SLAB_READY; /* on no list */
    REQUIRE(shelf_check(CLASS + 1) == 5);
    leased->place = SLAB_LEASED;
    full[1]->previous = NULL; /* a broken link */
    REQUIRE(shelf_check(CLASS) == 5);
    full[1]->previous = full[0];
    full[0]->next = full[2]; /* one lost */
    full[2]->previous = full[0];
    REQUIRE(shelf_check(CLASS) == 5);
    full[0]->next = full[1];
    full[2]->previous = full[1];
    REQUIRE(shelf_check(CLASS) == 0);
}

static void test_l5_place(void **state)
{
    (void)state;
    require_in_child(break_the_lists, NULL);
}

enum { OWNED = 15, FIRST = 1, SECOND = 2 };

static void open_heap_with_shelves(void)
{
    open_heap();
    REQUIRE(shelf_open(FIRST) && shelf_open(SECOND) && shelf_open(FIRST));
}

/* So many slots are freed when their slab is no longer leased. */
static void add_idle(unsigned n, unsigned freed)
{
    struct slab *idle[4];
    for (unsigned i = 0; i < n; i++)
        idle[i] = lease_own(OWNED, FIRST, size_classes[OWNED].slots);
    for (unsigned i = 0; i < n; i++) {
        shelf_return(idle[i]);
        for (unsigned slot = 0; slot < freed; slot++)
            free_slot(idle[i], slot);
    }
}

/* For each number of live slots: full or ready where the lessee alone finds it, or for all. */
static void return_to_own_shelf(void *arg)
{
    const unsigned *n_full = arg;
    open_heap_with_shelves();
    unsigned slots = size_classes[OWNED].slots;
    add_idle(*n_full, 0);
    for (unsigned live = 0; live <= slots; live++) {
        struct slab *s = lease_own(OWNED, FIRST, live);
        shelf_return(s);
        bool full = slots - live < shelf_ready_at(OWNED);
        bool common = (slots - live) * 2 >= slots;
        REQUIRE(s->shelf == (common ? COMMON_SHELF : FIRST) &&
                s->place == (full ? SLAB_FULL : SLAB_READY));
        REQUIRE(visit(OWNED).n[s->place] == 1 + (full ? *n_full : 0) && shelf_check(OWNED) == 0);
        struct slab *other = shelf_lease(OWNED, SECOND, false);
        REQUIRE((other == s) == common && other->shelf == SECOND);
        if (!common) {
            REQUIRE((shelf_lease(OWNED, FIRST, false) == s) == !full);
            memset(other->states, SLOT_FREE, slots);
            shelf_return(other);
        }
        for (unsigned slot = 0; slot < live; slot++)
            free_slot(s, slot);
        if (s->place == SLAB_LEASED)
            shelf_return(s);
        purge_all_of(OWNED);
        REQUIRE(visit(OWNED).n[SLAB_READY] == 0 && shelf_check(OWNED) == 0);
    }
}

struct idle {
    unsigned n, quarters_free; /* besides the slab that frees are made in */
    unsigned leaves_at;        /* quarters of that one */
};

/* Frees bring a full slab to its lessee's ready list and then, when too much is free, to the common one. */
static void follow_events_of_own(void *arg)
{
    const struct idle *idle = arg;
    open_heap_with_shelves();
    unsigned slots = size_classes[OWNED].slots;
    struct slab *s = lease_own(OWNED, FIRST, slots);
    shelf_return(s);
    add_idle(idle->n, slots * idle->quarters_free / 4);
    REQUIRE(slots % 4 == 0);
    for (unsigned freed = 1; freed < slots; freed++) {
        fake.now_ms += 10;
        size_t told = free_slot(s, freed - 1);
        REQUIRE((told > 0) ==
                (freed == shelf_ready_at(OWNED) || freed == slots / 2 || freed == slots / 4 * 3));
        REQUIRE(told == 0 || told == (size_t)freed * size_classes[OWNED].size);
        REQUIRE(s->place == (freed < shelf_ready_at(OWNED) ? SLAB_FULL : SLAB_READY));
        bool leaves = freed * 4 >= slots * idle->leaves_at;
        REQUIRE(s->shelf == (leaves ? COMMON_SHELF : FIRST) && shelf_check(OWNED) == 0);
    }
    REQUIRE(s->stamp_ms > (uint32_t)fake.now_ms - 10 * slots / 2);
    free_slot(s, slots - 1);
    REQUIRE(s->shelf == COMMON_SHELF && shelf_lease(OWNED, SECOND, false) == s);
}

/* Own slabs come first, then common ones, then own full ones where frees were miscounted, then memory. */
static void lease_in_order(void *arg)
{
    (void)arg;
    open_heap_with_shelves();
    unsigned slots = size_classes[OWNED].slots;
    struct slab *miscounted = lease_own(OWNED, FIRST, slots);
    struct slab *own = lease_own(OWNED, FIRST, slots - slots / 4);
    struct slab *common = lease_own(OWNED, SECOND, 1);
    struct slab *others = lease_own(OWNED, SECOND, slots - slots / 4);
    shelf_return(common);
    shelf_return(others);
    shelf_return(miscounted);
    shelf_return(own);
    memset(miscounted->states, SLOT_FREE, slots / 4);
    REQUIRE(shelf_lease(OWNED, FIRST, false) == own && shelf_lease(OWNED, FIRST, false) == common);
    REQUIRE(shelf_lease(OWNED, FIRST, false) == miscounted);
    struct slab *fresh = shelf_lease(OWNED, FIRST, false);
    REQUIRE(fresh != others && fresh->opened == 0 && others->shelf == SECOND);
    /* without memory: anybody's */
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    bool is_zero;
    while (span_alloc(UNIT_BYTES, UNIT_BYTES, RUN_SLAB, &is_zero) != NULL)
        ;
    REQUIRE(shelf_lease(OWNED, FIRST, false) == others && others->shelf == FIRST);
    REQUIRE(shelf_lease(OWNED, FIRST, false) == NULL && shelf_check(OWNED) == 0);
}

/* A slab of OWNED's next class with so many live slots is on the common shelf; whether OWNED leases it. */
static bool stands_in(unsigned live, unsigned opened, bool fresh, bool is_exact)
{
    struct slab *s = lease_own(OWNED + 1, COMMON_SHELF, live);
    shelf_return(s);
    s->opened = (uint16_t)opened;
    s->fresh = fresh;
    struct slab *leased = shelf_lease(OWNED, FIRST, is_exact);
    bool is_it = leased == s;
    REQUIRE(is_it || leased->class_index == OWNED);
    REQUIRE(leased->shelf == FIRST && leased->place == SLAB_LEASED && leased->till == LEASE_TILL);
    REQUIRE(shelf_check(OWNED) == 0 && shelf_check(OWNED + 1) == 0);
    memset(s->states, SLOT_LIVE, s->slots); /* none is ready for the next question */
    if (is_it)
        shelf_return(leased);
    else
        REQUIRE(shelf_lease(OWNED + 1, COMMON_SHELF, true) == s);
    return is_it;
}

/* Rather than a new slab a longer class's: half free, used, not purged; but none whose slots would be too long. */
static void lease_stand_ins(void *arg)
{
    (void)arg;
    open_heap_with_shelves();
    unsigned slots = size_classes[OWNED + 1].slots;
    REQUIRE(stands_in(slots / 2, slots, false, false));
    REQUIRE(!stands_in(slots / 2, slots, false, true));
    REQUIRE(!stands_in(slots / 2 + 1, slots, false, false));
    REQUIRE(stands_in(slots / 4, slots / 2 + 1, true, false));
    REQUIRE(!stands_in(slots / 4, slots / 4, true, false));
    REQUIRE(stands_in(slots / 4, slots / 4, false, false));
    slabs_are_guarded = true;
    REQUIRE(!stands_in(slots / 2, slots, false, false));
    slabs_are_guarded = false;
    struct slab *purged = lease_own(OWNED + 1, COMMON_SHELF, 1);
    shelf_return(purged);
    purged->purged_pages = 1 << 5;
    REQUIRE(shelf_lease(OWNED, FIRST, false)->class_index == OWNED);
    unsigned longer = OWNED + 1;
    while (class_may_hold(longer, OWNED))
        longer++;
    shelf_return(lease_own(longer, COMMON_SHELF, 1));
    REQUIRE(shelf_lease(OWNED, FIRST, false)->class_index == OWNED);
    shelf_return(lease_own(OWNED - 1, COMMON_SHELF, 1));
    REQUIRE(shelf_lease(OWNED, FIRST, false)->class_index == OWNED);
    shelf_return(lease_own(WIDE_FIRST - 1, COMMON_SHELF, 1));
    REQUIRE(shelf_take_used(WIDE_FIRST, FIRST, NULL) == NULL);
}

/* Few are looked at. */
static void look_at_few(void *arg)
{
    (void)arg;
    open_heap_with_shelves();
    enum { SLABS = 5 };
    unsigned slots = size_classes[OWNED + 1].slots;
    struct slab *some[SLABS];
    for (int i = 0; i < SLABS; i++)
        some[i] = lease_own(OWNED + 1, COMMON_SHELF, slots - slots / 4);
    for (int i = 0; i < SLABS; i++)
        shelf_return(some[i]);
    memset(some[4]->states, SLOT_FREE, slots - 1);
    REQUIRE(shelf_lease(OWNED, FIRST, false)->class_index == OWNED);
    memset(some[3]->states, SLOT_FREE, slots - 1);
    REQUIRE(shelf_lease(OWNED, FIRST, false) == some[3]);
    REQUIRE(shelf_lease(OWNED, FIRST, false) == some[4]);
}

static void test_leased_stand_ins(void **state)
{
    (void)state;
    require_in_child(lease_stand_ins, NULL);
    require_in_child(look_at_few, NULL);
}

/* What a purge finds idle is for all, and full slabs whose frees were miscounted are found by it. */
static void purge_own(void *arg)
{
    (void)arg;
    open_heap_with_shelves();
    unsigned slots = size_classes[OWNED].slots;
    struct slab *idle = lease_own(OWNED, SECOND, slots - slots / 4);
    struct slab *miscounted = lease_own(OWNED, FIRST, slots);
    shelf_return(idle);
    shelf_return(miscounted);
    memset(miscounted->states, SLOT_FREE, slots / 2 + 1);
    REQUIRE(idle->shelf == SECOND && miscounted->shelf == FIRST);
    purge_all_of(OWNED);
    REQUIRE(idle->shelf == COMMON_SHELF && miscounted->shelf == COMMON_SHELF);
    REQUIRE(visit(OWNED).n[SLAB_READY] == 2 && shelf_check(OWNED) == 0);
    idle->shelf = FIRST; /* L5: on a list of another shelf */
    REQUIRE(shelf_check(OWNED) == 5);
    idle->shelf = COMMON_SHELF;
}

static void test_own_shelves(void **state)
{
    (void)state;
    for (unsigned n_full = 0; n_full < 4; n_full++)
        require_in_child(return_to_own_shelf, &n_full);
    struct idle cases[] = {{0, 0, 3}, {1, 0, 4}, {1, 1, 4}, {1, 2, 3},
                           {1, 3, 2}, {2, 0, 2}, {2, 1, 2}, {3, 1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        require_in_child(follow_events_of_own, &cases[i]);
    require_in_child(lease_in_order, NULL);
    require_in_child(purge_own, NULL);
}

static void open_without_memory(void *arg)
{
    (void)arg;
    open_heap();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    while (records_take(64) != NULL)
        ;
    REQUIRE(!shelf_open(FIRST) && shelf_check(OWNED) == 0);
    fake.refuse = 0;
    REQUIRE(shelf_open(FIRST) && shelf_check(OWNED) == 0);
}

static void test_open_without_memory(void **state)
{
    (void)state;
    require_in_child(open_without_memory, NULL);
}

/* A wide slot of the slab that was made for the thread rather than of the lowest one; and of any before new memory. */
static void take_wide_of_own(void *arg)
{
    (void)arg;
    open_heap_with_shelves();
    bool is_zero;
    char *p[2 * WIDE_SLOTS];
    take_slots(p, WIDE_SLOTS, FIRST);
    take_slots(p + WIDE_SLOTS, WIDE_SLOTS, SECOND);
    struct slab *of_first = slab_of((uintptr_t)p[0]);
    struct slab *of_second = slab_of((uintptr_t)p[WIDE_SLOTS]);
    REQUIRE(of_first->base < of_second->base && of_first->made_for == FIRST &&
            of_second->made_for == SECOND);
    give_slot(p[WIDE_SLOTS + 3], 1);
    give_slot(p[3], 1);
    REQUIRE(shelf_take_slot(WIDE, SECOND, 0, &is_zero) == p[WIDE_SLOTS + 3]);
    REQUIRE(shelf_take_slot(WIDE, SECOND, 0, &is_zero) == p[3] && of_first->made_for == FIRST);
    REQUIRE(shelf_check(WIDE) == 0);
}

static void test_wide_of_own(void **state)
{
    (void)state;
    require_in_child(take_wide_of_own, NULL);
}

static void require_no_lock(void)
{
    REQUIRE(!shelf_lock_is_mine());
}

/* A huge page may take milliseconds to come: nobody else shall wait for it. */
static void grow_into_huge_pages(void *arg)
{
    (void)arg;
    open_heap();
    fake.on_huge = require_no_lock;
    for (size_t grown = 0; grown < MIB(16); grown += UNIT_BYTES) {
        struct slab *s = shelf_lease(OWNED, COMMON_SHELF, false);
        REQUIRE(s != NULL);
        s->opened = s->slots;
    }
    unsigned long asked = fake.calls[ENTRY_PAGES_HUGE];
    REQUIRE(asked > 0);
    for (size_t grown = 0; grown < MIB(16); grown += size_classes[WIDE].size) {
        bool is_zero;
        REQUIRE(shelf_take_slot(WIDE, COMMON_SHELF, 0, &is_zero) != NULL);
    }
    REQUIRE(fake.calls[ENTRY_PAGES_HUGE] > asked);
}

static void test_huge_pages_without_lock(void **state)
{
    (void)state;
    if (sysconf(_SC_PAGESIZE) != 4096)
        skip();
    require_in_child(grow_into_huge_pages, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_return),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_event_anywhere),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_sweep_makes_young),
        cmocka_unit_test(test_sweep_retires),
        cmocka_unit_test(test_one_empty_stays),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_failed_lease_keeps_no_record),
        cmocka_unit_test(test_wide_slots),
        cmocka_unit_test(test_choice_of_wide),
        cmocka_unit_test(test_used_slots),
        cmocka_unit_test(test_wide_without_memory),
        cmocka_unit_test(test_own_shelves),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_leased_stand_ins),
        cmocka_unit_test(test_wide_of_own),
        cmocka_unit_test(test_huge_pages_without_lock),
        cmocka_unit_test(test_l5_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
