/* slab/slab: life of a slab of every class; ranges to purge against a page-by-page reference; L1 to
 * L6 broken on purpose. */
#include "slab/slab.h"

#include "slab/shelf.h"
#include "span/huge.h"
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

/* No cache plays along: the states are set by hand. */
static struct slab *make_slab(unsigned c, unsigned opened)
{
    struct slab *s = slab_create(c, NULL);
    REQUIRE(s != NULL);
    s->opened = (uint16_t)opened;
    return s;
}

static void live_of_every_class(void *arg)
{
    (void)arg;
    open_heap();
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        struct slab *s = slab_create(c, NULL);
        REQUIRE(s != NULL && s->place == SLAB_LEASED && s->class_index == c && s->opened == 0);
        REQUIRE(slab_check(s) == 0 && slab_count_free(s) == s->slots);
        REQUIRE(slab_bytes(s) == (size_t)class_units(c) * UNIT_BYTES);
        for (size_t offset = 0; offset < slab_bytes(s); offset++) {
            uintptr_t address = s->base + offset;
            REQUIRE(slab_of(address) == s);
            size_t slot = slot_starting_at(s, address);
            REQUIRE(slot_of(s, address) == (slab_is_wide(s) ? (size_t)SLOTS_MAX : slot));
            bool starts =
                offset % size_classes[c].size == 0 && offset / size_classes[c].size < s->slots;
            REQUIRE(starts ? slot == offset / size_classes[c].size : slot >= SLOTS_MAX);
        }
        REQUIRE(slab_of(s->base + slab_bytes(s)) == &no_slab);
        uintptr_t base = s->base;
        REQUIRE(span_in_use_bytes(base, RUN_SLAB) == slab_bytes(s));
        slab_retire(s);
        REQUIRE(s->place == SLAB_RETIRED && slab_of(base) == &no_slab);
        REQUIRE(slab_of(base + slab_bytes(s) - 1) == &no_slab &&
                span_in_use_bytes(base, RUN_SLAB) == 0);
        /* the same record again; its memory may be dirty now */
        struct slab *again = slab_create(c, s);
        REQUIRE(again == s && slab_check(s) == 0 && !s->fresh && s->opened == 0);
        slab_retire(s);
        REQUIRE(span_check() == 0);
    }
}

static void test_life(void **state)
{
    (void)state;
    require_in_child(live_of_every_class, NULL);
}

static void ask_for_any_address(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *s = make_slab(5, 0);
    uintptr_t wild[] = {0,
                        1,
                        4096,
                        UINTPTR_MAX,
                        window.base - 1,
                        s->base + slab_bytes(s) + UNIT_BYTES * 1000,
                        (uintptr_t)1 << 63,
                        (uintptr_t)&wild,
                        (uintptr_t)s};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        REQUIRE(slab_of(wild[i]) == &no_slab && slot_of(&no_slab, wild[i]) >= SLOTS_MAX);
}

static void test_any_address(void **state)
{
    (void)state;
    require_in_child(ask_for_any_address, NULL);
}

/* Page k may go if no byte of a slot that is not FREE lies in it, if some slot reaches into it, and
 * if a slot that was offered may have touched it. */
static bool may_purge(const struct slab *s, size_t k)
{
    size_t page = (size_t)1 << page_shift;
    size_t size = size_classes[s->class_index].size;
    size_t touched = s->fresh ? min_size((size_t)s->opened * size, slab_bytes(s)) : slab_bytes(s);
    if (k * page >= touched || (s->purged_pages >> k & 1) != 0)
        return false;
    bool any = false;
    for (size_t slot = 0; slot < s->slots; slot++) {
        if (slot * size >= (k + 1) * page || (slot + 1) * size <= k * page)
            continue;
        any = true;
        if (s->states[slot] != SLOT_FREE)
            return false;
    }
    return any;
}

static void require_ranges(struct slab *s, size_t max)
{
    static struct os_range ranges[SLAB_PAGES_MAX];
    bool expected[SLAB_PAGES_MAX] = {false};
    bool got[SLAB_PAGES_MAX] = {false};
    size_t pages = slab_bytes(s) >> page_shift;
    uint64_t marked = s->purged_pages;
    for (size_t k = 0; k < pages; k++)
        expected[k] = may_purge(s, k);
    size_t n = slab_collect_purge(s, ranges, max);
    REQUIRE(n <= max);
    uintptr_t end = 0;
    for (size_t i = 0; i < n; i++) {
        uintptr_t start = (uintptr_t)ranges[i].start;
        REQUIRE(start > end || i == 0); /* in order, and not touching: touching ranges are one */
        end = start + ranges[i].bytes;
        for (uintptr_t at = start; at < end; at += (uintptr_t)1 << page_shift)
            got[(at - s->base) >> page_shift] = true;
    }
    bool cut = n == max;
    for (size_t k = 0; k < pages; k++) {
        REQUIRE(!got[k] || expected[k]);
        REQUIRE(cut || got[k] == expected[k]);
        REQUIRE((s->purged_pages >> k & 1) == ((marked >> k & 1) | got[k]));
    }
    REQUIRE(slab_check(s) == 0);
    for (size_t i = 0; i < n; i += 2) { /* every other one is refused by the system */
        slab_unmark_purged(s, &ranges[i]);
        for (size_t at = 0; at < ranges[i].bytes; at += (size_t)1 << page_shift)
            got[((uintptr_t)ranges[i].start + at - s->base) >> page_shift] = false;
    }
    for (size_t k = 0; k < pages; k++)
        REQUIRE((s->purged_pages >> k & 1) == ((marked >> k & 1) | got[k]));
}

static void collect_at_random(void *arg)
{
    fake.page_bytes = 0;
    open_heap();
    (void)arg;
    struct chance chance = {chance_seed()};
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        struct slab *s = make_slab(c, 0);
        for (int round = 0; round < 60; round++) {
            s->fresh = chance_below(&chance, 2);
            s->opened = (uint16_t)chance_below(&chance, s->slots + 1U);
            size_t share = 1 + chance_below(&chance, 200);
            for (unsigned i = 0; i < s->slots; i++)
                s->states[i] =
                    i < s->opened && chance_below(&chance, share) == 0 ? SLOT_LIVE : SLOT_FREE;
            s->purged_pages = 0;
            require_ranges(s, 1 + chance_below(&chance, SLAB_PAGES_MAX));
            require_ranges(s, SLAB_PAGES_MAX); /* what is marked already is not collected again */
        }
        memset(s->states, SLOT_FREE, s->slots);
        s->purged_pages = 0;
        slab_retire(s);
    }
}

static void test_collect_purge(void **state)
{
    (void)state;
    require_in_child(collect_at_random, NULL);
}

static void collect_with_other_pages(void *arg)
{
    fake_os_install();
    fake.page_bytes = *(const size_t *)arg;
    REQUIRE(span_open(&no_slab));
    struct chance chance = {chance_seed()};
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        struct slab *s = make_slab(c, 0);
        s->opened = s->slots;
        for (int round = 0; round < 20; round++) {
            for (unsigned i = 0; i < s->slots; i++)
                s->states[i] = chance_below(&chance, s->slots / 2) == 0 ? SLOT_LIVE : SLOT_FREE;
            s->purged_pages = 0;
            require_ranges(s, SLAB_PAGES_MAX);
        }
    }
}

static void test_collect_purge_other_pages(void **state)
{
    (void)state;
    for (size_t bytes = KIB(16); bytes <= KIB(64); bytes *= 4)
        require_in_child(collect_with_other_pages, &bytes);
}

/* Fills the heap with slabs of 256 bytes, the last unfilled_of_4 in each four not offered, until a chunk was entered
 * after the heap had grown to `bytes`. */
static unsigned long asked_when_grown(size_t bytes, unsigned unfilled_of_4)
{
    unsigned c = class_of(256);
    size_t grown = 0;
    for (unsigned i = 0;; i++) {
        unsigned long before = fake.calls[ENTRY_PAGES_HUGE];
        struct slab *s = slab_create(c, NULL);
        REQUIRE(s != NULL);
        slab_ask_huge(s);
        if (grown >= bytes && huge_begins_in(s->base, slab_bytes(s)))
            return fake.calls[ENTRY_PAGES_HUGE] - before;
        s->opened = i % 4 < unfilled_of_4 ? 0 : s->slots;
        grown += slab_bytes(s);
    }
}

static void grow_filled(void *arg)
{
    (void)arg;
    open_heap();
    REQUIRE(asked_when_grown(MIB(4), 0) == 0 && fake.calls[ENTRY_PAGES_HUGE] == 0);
    REQUIRE(asked_when_grown(MIB(8), 0) == 1);
    /* large blocks between them say nothing */
    bool is_zero;
    REQUIRE(span_alloc(MIB(32), 1, RUN_LARGE, &is_zero) != NULL);
    REQUIRE(asked_when_grown(MIB(2), 0) == 1);
    /* only the last ones count */
    REQUIRE(asked_when_grown(MIB(10), 2) == 0);
    REQUIRE(asked_when_grown(MIB(10), 0) == 1);
}

static void grow_unfilled(void *arg)
{
    (void)arg;
    open_heap();
    REQUIRE(asked_when_grown(MIB(64), 2) == 0 && fake.calls[ENTRY_PAGES_HUGE] == 0);
    REQUIRE(asked_when_grown(MIB(16), 1) == 1); /* three quarters are enough */
}

static void test_huge_pages_for_filled_slabs(void **state)
{
    (void)state;
    if (sysconf(_SC_PAGESIZE) != 4096)
        skip();
    require_in_child(grow_filled, NULL);
    require_in_child(grow_unfilled, NULL);
}

static void create_refused(void *arg)
{
    (void)arg;
    open_heap();
    struct slab *s = make_slab(10, 0);
    slab_retire(s);
    while (true) {
        bool is_zero;
        fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
        if (span_alloc(UNIT_BYTES, UNIT_BYTES, RUN_SLAB, &is_zero) == NULL)
            break;
    }
    REQUIRE(slab_create(10, s) == NULL && s->place == SLAB_RETIRED);
    REQUIRE(slab_create(11, NULL) == NULL);
    REQUIRE(span_check() == 0);
    fake.refuse = 0;
    REQUIRE(slab_create(10, s) == s && slab_check(s) == 0);
}

static void test_create_refused(void **state)
{
    (void)state;
    require_in_child(create_refused, NULL);
}

/* Each invariant broken on purpose; the number must come back. */
static struct slab *victim;

static int make_victim(void **state)
{
    (void)state;
    open_heap();
    victim = make_slab(19, 40); /* 384 bytes: 170 slots */
    memset(victim->states, SLOT_LIVE, 30);
    assert_int_equal(slab_check(victim), 0);
    return 0;
}

static void test_l1_map(void **state)
{
    (void)state;
    size_t unit = window_unit(victim->base);
    window.map[unit] = &no_slab;
    assert_int_equal(slab_check(victim), 1);
    window.map[unit] = victim;
    victim->base += 4096;
    assert_int_equal(slab_check(victim), 1);
    victim->base -= 4096;
    uintptr_t base = victim->base;
    victim->base = window.base + window.unit_count * UNIT_BYTES;
    assert_int_equal(slab_check(victim), 1);
    victim->base = base;
    struct slab *longer = make_slab(CLASS_COUNT - 1, 0);
    window.map[window_unit(longer->base) + 3] = victim;
    assert_int_equal(slab_check(longer), 1);
    window.map[window_unit(longer->base) + 3] = longer;
    assert_int_equal(slab_check(longer), 0);
    assert_int_equal(slab_check(victim), 0);
}

static void test_l2_states(void **state)
{
    (void)state;
    victim->states[7] = 3;
    assert_int_equal(slab_check(victim), 2);
    victim->states[7] = SLOT_LIVE;
    victim->states[victim->slots] = SLOT_FREE;
    assert_int_equal(slab_check(victim), 2);
    victim->states[victim->slots] = SLOT_LIVE;
    victim->states[padded_slots(victim) - 1] = 255;
    assert_int_equal(slab_check(victim), 2);
    victim->states[padded_slots(victim) - 1] = SLOT_LIVE;
    assert_int_equal(slab_check(victim), 0);
}

static void test_l3_opened(void **state)
{
    (void)state;
    victim->states[40] = SLOT_LIVE;
    assert_int_equal(slab_check(victim), 3);
    victim->states[40] = SLOT_FREE;
    uint16_t opened = victim->opened;
    victim->opened = victim->slots + 1;
    assert_int_equal(slab_check(victim), 3);
    victim->opened = 29;
    assert_int_equal(slab_check(victim), 3);
    victim->opened = opened;
    assert_int_equal(slab_check(victim), 0);
}

static void test_l4_purged(void **state)
{
    (void)state;
    /* slots 0 to 29 of 384 bytes: of 4 KiB pages 0 to 2, of which page 2 is live in part only; of larger ones page 0 */
    unsigned end = (unsigned)((30 * 384 - 1) >> page_shift) + 1;
    for (unsigned page = 0; page < end; page++) {
        victim->purged_pages = (uint64_t)1 << page;
        assert_int_equal(slab_check(victim), 4);
    }
    victim->purged_pages = (uint64_t)1 << end;
    assert_int_equal(slab_check(victim), 0);
    victim->purged_pages = 0;
}

/* The map's invariant I3 with real records: a slab too far, one too short, and a written no_slab.
 */
static void test_i3_covers(void **state)
{
    (void)state;
    assert_int_equal(window_check(slab_covers), 0);
    size_t behind = window_unit(victim->base + slab_bytes(victim));
    struct slab *there = window.map[behind];
    window.map[behind] = victim;
    assert_int_equal(window_check(slab_covers), 3);
    window.map[behind] = there;
    victim->base += UNIT_BYTES;
    assert_int_equal(window_check(slab_covers), 3);
    victim->base -= UNIT_BYTES;
    size_t end = window.unit_count;
    assert_true(window_cover(end + 1, &no_slab));
    no_slab.start_limit = 1;
    assert_int_equal(window_check(slab_covers), 3);
    no_slab.start_limit = 0;
    assert_int_equal(window_check(slab_covers), 0);
}

static void test_l6_class(void **state)
{
    (void)state;
    victim->reciprocal++;
    assert_int_equal(slab_check(victim), 6);
    victim->reciprocal--;
    victim->start_limit = 0;
    assert_int_equal(slab_check(victim), 6);
    victim->start_limit = size_classes[19].start_limit;
    victim->slots--;
    assert_int_equal(slab_check(victim), 6);
    victim->slots++;
    victim->class_index++;
    assert_int_equal(slab_check(victim), 6);
    victim->class_index--;
    assert_int_equal(slab_check(victim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_any_address),
        cmocka_unit_test(test_collect_purge),
        cmocka_unit_test(test_collect_purge_other_pages),
        cmocka_unit_test(test_huge_pages_for_filled_slabs),
        cmocka_unit_test(test_create_refused),
        cmocka_unit_test_setup(test_l1_map, make_victim),
        cmocka_unit_test(test_l2_states),
        cmocka_unit_test(test_l3_opened),
        cmocka_unit_test(test_l4_purged),
        cmocka_unit_test(test_i3_covers),
        cmocka_unit_test(test_l6_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
