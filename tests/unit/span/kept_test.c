/* span/kept: what is kept and for whom, in what order it goes back, and racing frees; K1 and K2 broken on purpose. */
#include "span/kept.h"

#include "base/bits.h"
#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

static struct slab *const no_slab_here = (struct slab *)64;
enum { MINE = 1, OTHERS = 2, PAGES_EACH = KEPT_BYTES_EACH >> 12, PAGES_MAX = KEPT_BYTES_MAX >> 12 };

static void open_span(void)
{
    fake_os_install();
    fake.page_bytes = KIB(4);
    REQUIRE(span_open(no_slab_here));
    kept_open(OTHERS);
    kept_open(MINE);
}

static uintptr_t take(size_t pages)
{
    bool is_zero;
    void *p = span_alloc(pages << page_shift, 1, RUN_LARGE, &is_zero);
    REQUIRE(p != NULL);
    return (uintptr_t)p;
}

static void require_sound(void)
{
    REQUIRE(span_check() == 0 && kept_check() == 0);
}

static void put(uintptr_t p, size_t pages)
{
    REQUIRE(kept_put(p, MINE) == pages << page_shift);
    require_sound();
}

static void *again(size_t pages)
{
    void *p = kept_take(pages << page_shift, MINE);
    require_sound();
    return p;
}

/* A run that others do not touch: what lies between stays in use. */
static uintptr_t take_apart(size_t pages)
{
    uintptr_t p = take(pages);
    take(1);
    return p;
}

/* The best fit, of equals the youngest, for the threads of that row. */
static void keep_some(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t a = take_apart(5);
    uintptr_t b = take_apart(7);
    uintptr_t c = take_apart(5);
    put(a, 5);
    put(b, 7);
    put(c, 5);
    REQUIRE(kept_take(KIB(20), OTHERS) == NULL);
    REQUIRE(again(8) == NULL && again(PAGES_EACH + 1) == NULL);
    REQUIRE((uintptr_t)again(5) == c && (uintptr_t)again(5) == a);
    REQUIRE((uintptr_t)kept_take(KIB(28) - 1, MINE) == b && again(1) == NULL);
    REQUIRE(span_in_use_bytes(a, RUN_LARGE) == KIB(20) &&
            span_in_use_bytes(b, RUN_LARGE) == KIB(28));
    REQUIRE(span_release(a, RUN_LARGE) != 0 && span_release(b, RUN_LARGE) != 0);
    require_sound();
}

/* Neighbours in the row are one, whoever came first, and a request cuts off what it needs. */
static void merge_and_cut(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p[3] = {take(5), take(6), take(7)};
    take(1);
    size_t before = span.runs[RUN_LARGE];
    put(p[2], 7);
    put(p[0], 5);
    REQUIRE(kept_rows[MINE - 1].n == 2);
    put(p[1], 6);
    REQUIRE(kept_rows[MINE - 1].n == 1);
    REQUIRE(tag_at(page_of(p[1])) == 0 && tag_at(page_of(p[2])) == 0);
    REQUIRE((uintptr_t)again(10) == p[0] && span_in_use_bytes(p[0], RUN_LARGE) == KIB(40));
    REQUIRE((uintptr_t)again(8) == p[0] + KIB(40) && again(1) == NULL);
    put(p[0] + KIB(40), 8);
    REQUIRE((uintptr_t)again(3) == p[0] + KIB(40));
    REQUIRE(kept_give_back(os->now_ms(), 0) > 0);
    require_sound();
    REQUIRE(span.runs[RUN_LARGE] == before - 1); /* 10 and 3 in use, of the three that were */
    REQUIRE(span_release(p[0], RUN_LARGE) != 0 && span_release(p[0] + KIB(40), RUN_LARGE) != 0);
    require_sound();
}

static void test_merge_and_cut(void **state)
{
    (void)state;
    require_in_child(merge_and_cut, NULL);
}

/* A longer one cannot be told by a byte. */
static void merge_to_the_most(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p[KEPT_PAGES_MERGED / PAGES_EACH + 1];
    size_t n = sizeof p / sizeof *p;
    for (size_t i = 0; i < n; i++)
        p[i] = take(PAGES_EACH);
    for (size_t i = 0; i < n; i++)
        put(p[i], PAGES_EACH);
    REQUIRE(kept_rows[MINE - 1].n == 2);
    REQUIRE(again(PAGES_EACH) != NULL && again(PAGES_EACH) != NULL);
}

static void test_longest(void **state)
{
    (void)state;
    require_in_child(merge_to_the_most, NULL);
}

static void test_lengths_and_order(void **state)
{
    (void)state;
    require_in_child(keep_some, NULL);
}

static void refuse_some(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t whole = take(PAGES_EACH);
    uintptr_t longer = take(PAGES_EACH + 1);
    bool is_zero;
    uintptr_t held = (uintptr_t)span_alloc(KIB(20), 1, RUN_HELD, &is_zero);
    REQUIRE(kept_put(longer, MINE) == 0 && kept_put(held, MINE) == 0);
    REQUIRE(kept_put(whole + KIB(4), MINE) == 0 && kept_put(whole + 1, MINE) == 0);
    REQUIRE(kept_put(64, MINE) == 0);
    put(whole, PAGES_EACH);
    REQUIRE(span_release(longer, RUN_LARGE) != 0);
}

static void test_what_is_not_kept(void **state)
{
    (void)state;
    require_in_child(refuse_some, NULL);
}

/* To all others it is free: whoever frees it again fails, those who look see dirty memory. */
static void look_at_kept(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    put(p, 5);
    REQUIRE(kept_put(p, MINE) == 0 && kept_put(p, OTHERS) == 0);
    REQUIRE(span_release(p, RUN_LARGE) == 0 && span_in_use_bytes(p, RUN_LARGE) == 0);
    struct span_place place = span_find(p + KIB(4));
    REQUIRE(place.kind == RUN_RELEASED && place.start == p && place.bytes == KIB(20));
    require_sound();
    REQUIRE((uintptr_t)again(5) == p && span_find(p).kind == RUN_LARGE);
}

static void test_kept_is_free(void **state)
{
    (void)state;
    require_in_child(look_at_kept, NULL);
}

/* Somebody else frees it after we looked and before our step. */
static void lose_race(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    size_t first = page_of(p);
    uint64_t tag = tag_at(first);
    put(p, 5);
    REQUIRE(!tag_keep(first, 5) && !tag_claim(first, tag));
    REQUIRE(!tag_keep(first, 6));
    require_sound();
}

static void test_one_of_two_frees(void **state)
{
    (void)state;
    require_in_child(lose_race, NULL);
}

/* The oldest is known by its length. */
static void fill_row(uintptr_t *p)
{
    for (int i = 0; i < KEPT_RUNS_MAX; i++)
        p[i] = take_apart(i == 0 ? 6 : 5);
    for (int i = 0; i < KEPT_RUNS_MAX; i++)
        put(p[i], i == 0 ? 6 : 5);
}

static void overfill(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p[KEPT_RUNS_MAX];
    fill_row(p);
    REQUIRE(span_dirty_bytes() == 0);
    put(take_apart(7), 7);
    REQUIRE(span_dirty_bytes() == KIB(24));
    REQUIRE((uintptr_t)again(5) == p[KEPT_RUNS_MAX - 1]);
    put(p[KEPT_RUNS_MAX - 1], 5);
    REQUIRE(span_dirty_bytes() == KIB(24));
}

static void test_full_by_number(void **state)
{
    (void)state;
    require_in_child(overfill, NULL);
}

static void overfill_with_pages(void *arg)
{
    (void)arg;
    open_span();
    enum { LONG = PAGES_MAX / PAGES_EACH };
    uintptr_t p[LONG];
    for (int i = 0; i < LONG; i++)
        p[i] = take_apart(PAGES_EACH);
    uintptr_t more = take_apart(5);
    for (int i = 0; i < LONG; i++)
        put(p[i], PAGES_EACH);
    REQUIRE(span_dirty_bytes() == 0);
    put(more, 5);
    REQUIRE(span_dirty_bytes() == KEPT_BYTES_EACH && kept_rows[MINE - 1].n == LONG);
}

static void test_full_by_bytes(void **state)
{
    (void)state;
    require_in_child(overfill_with_pages, NULL);
}

/* Requests for a length that is not kept, and for one that is. */
static void request(int missed, int served)
{
    for (int i = 0; i < missed; i++)
        REQUIRE(again(9) == NULL);
    for (int i = 0; i < served; i++)
        put((uintptr_t)again(5), 5);
}

static void rarely_serve(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p[KEPT_RUNS_MAX];
    fill_row(p);
    request(30, 20);
    put(take_apart(7), 7); /* two of five were served */
    request(100, 10);
    uintptr_t last = take_apart(8);
    REQUIRE(kept_put(last, MINE) == 0); /* a sixth */
    require_sound();
    REQUIRE(kept_rows[MINE - 1].n == 0 && again(5) == NULL);
    unsigned refused = 1;
    while (kept_put(last, MINE) == 0)
        refused++;
    REQUIRE(refused > 500 && refused < 5000);
    REQUIRE((uintptr_t)again(8) == last);
    fill_row(p); /* what it did before it was closed is forgotten */
    put(take_apart(7), 7);
}

static void test_row_that_does_not_pay(void **state)
{
    (void)state;
    require_in_child(rarely_serve, NULL);
}

static void grow_old(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t a = take(5);
    uintptr_t b = take(6);
    fake.now_ms = 1000;
    put(a, 5);
    fake.now_ms = 1400;
    REQUIRE(kept_put(b, OTHERS) != 0);
    REQUIRE(kept_give_back(1499, 500) == 0 && kept_give_back(900, 1) == 0);
    REQUIRE(kept_give_back(1500, 500) == 1 && again(5) == NULL);
    REQUIRE(span_dirty_bytes() == KIB(20));
    /* with its age */
    REQUIRE(span_purge(1499, 500, SIZE_MAX, SIZE_MAX) == 0 &&
            span_purge(1500, 500, SIZE_MAX, SIZE_MAX) == 5);
    REQUIRE(kept_give_back(1500, 0) == 1 && kept_take(KIB(24), OTHERS) == NULL);
    require_sound();
}

static void test_age(void **state)
{
    (void)state;
    require_in_child(grow_old, NULL);
}

static void fork_with_locks(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    put(p, 5);
    REQUIRE(!kept_lock_is_mine());
    kept_fork_prepare(false);
    REQUIRE(kept_lock_is_mine());
    kept_fork_parent();
    kept_fork_prepare(false);
    kept_fork_child();
    REQUIRE(!kept_lock_is_mine() && (uintptr_t)again(5) == p);
}

static void test_fork(void **state)
{
    (void)state;
    require_in_child(fork_with_locks, NULL);
}

static void break_them(void *arg)
{
    (void)arg;
    open_span();
    struct kept_row *row = &kept_rows[MINE - 1];
    uintptr_t a = take_apart(5);
    uintptr_t b = take_apart(6);
    put(a, 5);
    fake.now_ms++;
    put(b, 6);
    uint64_t tag = tag_at(page_of(a));
    tag_set(page_of(a), tag & ~TAG_KEPT);
    REQUIRE(kept_check() == 1);
    tag_set(page_of(a), tag + (1 << TAG_KIND_BITS));
    REQUIRE(kept_check() == 1);
    tag_set(page_of(a), tag);
    row->pages++;
    REQUIRE(kept_check() == 2);
    row->pages--;
    row->present ^= 1;
    REQUIRE(kept_check() == 2);
    row->present ^= 1;
    row->stamps_ms[1] -= 2;
    REQUIRE(kept_check() == 2);
    row->stamps_ms[1] += 2;
    row->n = KEPT_RUNS_MAX + 1;
    REQUIRE(kept_check() == 2);
    row->n = 2;
    require_sound();
}

static void test_k1_k2(void **state)
{
    (void)state;
    require_in_child(break_them, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_and_order),
        cmocka_unit_test(test_merge_and_cut),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_what_is_not_kept),
        cmocka_unit_test(test_kept_is_free),
        cmocka_unit_test(test_one_of_two_frees),
        cmocka_unit_test(test_full_by_number),
        cmocka_unit_test(test_full_by_bytes),
        cmocka_unit_test(test_row_that_does_not_pay),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_k1_k2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
