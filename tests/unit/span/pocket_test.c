/* span/pocket: what goes in and comes out, when a pass gives it back, and races; P1 and P2 broken on purpose. */
#include "span/pocket.h"

#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

extern char __libc_single_threaded;

static struct slab *const no_slab_here = (struct slab *)64;
enum { PAGES_EACH = POCKET_BYTES_EACH >> 12, PAGES_MAX = POCKET_BYTES >> 12 };
static struct pocket mine, others;

static void open_span(void)
{
    fake_os_install();
    fake.page_bytes = KIB(4);
    REQUIRE(span_open(no_slab_here));
    mine = others = (struct pocket){.is_open = true, .credit = 96};
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
    REQUIRE(span_check() == 0 && pocket_check(&mine) == 0 && pocket_check(&others) == 0);
    for (size_t page = pocket_find_run(0); page < pocket_find_run(SIZE_MAX);
         page = pocket_find_run(page + 1))
        REQUIRE(pocket_has(&mine, page) || pocket_has(&others, page));
}

static size_t put(uintptr_t p)
{
    size_t bytes = pocket_put(&mine, p);
    require_sound();
    return bytes;
}

static uintptr_t again(size_t pages)
{
    void *p = pocket_take(&mine, pages << page_shift);
    require_sound();
    return (uintptr_t)p;
}

static uint64_t tag_of(uintptr_t p)
{
    return tag_at(page_of(p));
}

static void put_and_take(void *arg)
{
    (void)arg;
    open_span();
    REQUIRE(pocket_is_empty(&mine) && again(5) == 0);
    uintptr_t a = take(5);
    uintptr_t b = take(7);
    uintptr_t c = take(5);
    REQUIRE(put(a) == KIB(20) && put(b) == KIB(28) && put(c) == KIB(20));
    REQUIRE(again(6) == 0 && again(8) == 0 && again(1) == 0);
    REQUIRE((uintptr_t)pocket_take(&mine, KIB(28) - 1) == b);
    uintptr_t first = again(5);
    REQUIRE((first == a || first == c) && again(5) == a + c - first && again(5) == 0);
    REQUIRE(pocket_is_empty(&mine) && pocket_find_run(0) == pocket_find_run(SIZE_MAX));
    REQUIRE(span_in_use_bytes(a, RUN_LARGE) == KIB(20));
    REQUIRE(span_release(a, RUN_LARGE) != 0 && span_release(b, RUN_LARGE) != 0);
}

static void test_lengths(void **state)
{
    (void)state;
    require_in_child(put_and_take, NULL);
}

static void refuse(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    bool is_zero;
    uintptr_t slab = (uintptr_t)span_alloc(KIB(64), KIB(64), RUN_SLAB, &is_zero);
    REQUIRE(put(p + 1) == 0 && put(p + KIB(4)) == 0 && put(p - KIB(4)) == 0 && put(slab) == 0);
    REQUIRE(put((uintptr_t)&p) == 0 && put(~(uintptr_t)0) == 0 && put(0) == 0);
    REQUIRE(put(take(PAGES_EACH + 1)) == 0 && put(take(PAGES_EACH)) == POCKET_BYTES_EACH);
    /* to everybody else it is free */
    REQUIRE(put(p) == KIB(20) && put(p) == 0 && pocket_put(&others, p) == 0);
    REQUIRE(span_release(p, RUN_LARGE) == 0 && span_in_use_bytes(p, RUN_LARGE) == 0);
    REQUIRE(span_find(p).kind == RUN_RELEASED && span_find(p).bytes == KIB(20));
    require_sound();
}

static void test_what_it_refuses(void **state)
{
    (void)state;
    require_in_child(refuse, NULL);
}

static void overfill(void *arg)
{
    (void)arg;
    open_span();
    for (int i = 0; i < POCKET_RUNS; i++)
        REQUIRE(put(take(5)) != 0);
    uintptr_t one_more = take(5);
    REQUIRE(put(one_more) == 0 && span_in_use_bytes(one_more, RUN_LARGE) != 0);
    pocket_drop(&mine);
    REQUIRE(pocket_is_empty(&mine) && span_dirty_bytes() == POCKET_RUNS * KIB(20));
    require_sound();
    for (int i = 0; i < PAGES_MAX / PAGES_EACH; i++)
        REQUIRE(put(take(PAGES_EACH)) != 0);
    REQUIRE(put(one_more) == 0);
    REQUIRE(again(PAGES_EACH) != 0 && put(one_more) != 0);
}

static void test_full(void **state)
{
    (void)state;
    require_in_child(overfill, NULL);
}

/* What the second pass meets goes back, with its age; what was taken in between does not. */
static void grow_old(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t a = take(5);
    uintptr_t b = take(6);
    REQUIRE(put(a) != 0 && put(b) != 0);
    REQUIRE(pocket_give_back(&mine, false, 0) == 0);
    REQUIRE((tag_of(a) & TAG_OLD) != 0);
    REQUIRE(again(5) == a && span_in_use_bytes(a, RUN_LARGE) == KIB(20) && put(a) != 0);
    fake.now_ms = 1000;
    REQUIRE(pocket_give_back(&mine, false, 600) == 1 && span_dirty_bytes() == KIB(24));
    REQUIRE(span_purge(1000, 500, SIZE_MAX, SIZE_MAX) == 0 &&
            span_purge(1000, 400, SIZE_MAX, SIZE_MAX) == 6);
    REQUIRE(again(6) == 0 && again(5) == a && put(a) != 0);
    REQUIRE(pocket_give_back(&mine, true, 1000) == 1 && again(5) == 0 && pocket_is_empty(&mine));
    require_sound();
}

static void test_age(void **state)
{
    (void)state;
    require_in_child(grow_old, NULL);
}

/* Places of what was given back are found and used again, though nobody asks for such lengths. */
static void find_room(void *arg)
{
    (void)arg;
    open_span();
    for (int i = 0; i < POCKET_RUNS; i++)
        REQUIRE(put(take(5)) != 0);
    REQUIRE(pocket_give_back(&mine, true, 0) == POCKET_RUNS);
    uintptr_t p = take(6);
    REQUIRE(put(p) == 0 && put(p) != 0 && again(6) == p);
    pocket_drop(&mine);
    require_sound();
}

static void test_room_after_a_pass(void **state)
{
    (void)state;
    require_in_child(find_room, NULL);
}

/* Three of four requests. */
static void request(uintptr_t p, int times)
{
    for (int i = 0; i < times; i++) {
        REQUIRE(again(9) == 0);
        for (int k = 0; k < 3; k++)
            REQUIRE(again(5) == p && put(p) != 0);
    }
}

static void stop_paying(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    REQUIRE(put(p) != 0);
    request(p, 100);
    for (int i = 0; i < 20; i++)
        REQUIRE(again(9) == 0 && again(5) == p && put(p) != 0);
    REQUIRE(mine.is_open);
    for (int i = 0; i < 30 && mine.is_open; i++)
        again(9);
    REQUIRE(!mine.is_open && pocket_is_empty(&mine) && span_dirty_bytes() == KIB(20));
    /* of what is freed now only the length is remembered, until requests keep meeting it */
    uintptr_t q = take(8);
    REQUIRE(put(q) == 0 && put(q) == 0 && put(take(6)) == 0);
    REQUIRE(again(8) == 0 && again(6) == 0 && again(8) == 0 && mine.credit == 3); /* each once */
    REQUIRE(again(8) == 0 && mine.credit == 0 && put(q) == 0 && again(7) == 0);
    /* it sleeps now */
    for (int i = 0; i < 60; i++)
        REQUIRE(put(q) == 0 && again(8) == 0 && mine.credit == 0 && mine.freed == 0);
    for (int i = 0; i < 16; i++)
        REQUIRE(!mine.is_open && put(q) == 0 && again(8) == 0);
    REQUIRE(mine.is_open && put(q) != 0 && again(8) == q);
}

static void test_opens_while_it_pays(void **state)
{
    (void)state;
    require_in_child(stop_paying, NULL);
}

/* Somebody else frees the block, or gives the run back, between two steps of ours. */
static void lose_races(void *arg)
{
    (void)arg;
    open_span();
    uintptr_t p = take(5);
    REQUIRE(pocket_put(&others, p) != 0);
    mine = others; /* as if both had put it there: whoever takes it first has it */
    REQUIRE((uintptr_t)pocket_take(&mine, KIB(20)) == p);
    REQUIRE(pocket_take(&others, KIB(20)) == NULL && pocket_is_empty(&others));
    REQUIRE(pocket_put(&others, p) != 0);
    mine = others;
    REQUIRE(pocket_give_back(&mine, true, 0) == 1);
    REQUIRE(pocket_take(&others, KIB(20)) == NULL);
    require_sound();
}

static void test_races(void **state)
{
    (void)state;
    require_in_child(lose_races, NULL);
}

/* The same with the exchanges of a process of many threads. */
static void with_threads(void *arg)
{
    __libc_single_threaded = 0;
    refuse(arg);
}

static void take_with_threads(void *arg)
{
    __libc_single_threaded = 0;
    put_and_take(arg);
}

static void test_with_threads(void **state)
{
    (void)state;
    require_in_child(with_threads, NULL);
    require_in_child(take_with_threads, NULL);
}

static void break_them(void *arg)
{
    (void)arg;
    open_span();
    REQUIRE(put(take(PAGES_EACH)) != 0 && put(take(PAGES_EACH)) != 0);
    struct pocket good = mine;
    mine.lengths = PAGES_EACH + 1;
    REQUIRE(pocket_check(&mine) == 1);
    mine = good;
    mine.lengths |= 1UL << 56;
    REQUIRE(pocket_check(&mine) == 1);
    mine = good;
    mine.is_open = false;
    REQUIRE(pocket_check(&mine) == 2);
    mine = good;
    require_sound();
}

static void test_p1_p2(void **state)
{
    (void)state;
    require_in_child(break_them, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_what_it_refuses),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_room_after_a_pass),
        cmocka_unit_test(test_opens_while_it_pays),
        cmocka_unit_test(test_races),
        cmocka_unit_test(test_with_threads),
        cmocka_unit_test(test_p1_p2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
