/* span/free_runs: tags, merging, carving, the age of merged runs, runs that are filed later, the frontier. */
#include "base/bits.h"
#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

static struct slab *const no_slab_here = (struct slab *)64;

enum { PAGES = 64 };

/* PAGES pages below the frontier that belong to nobody yet, at *first. */
static size_t fresh_pages(void)
{
    size_t first;
    assert_true(frontier_take(PAGES, 1, &first));
    return first;
}

static int open_span(void **state)
{
    (void)state;
    fake_os_install();
    assert_true(span_open(no_slab_here));
    return 0;
}

static const struct run *run_that_begins(size_t page)
{
    return kind_is_free(tag_kind(tag_at(page))) ? tag_run(tag_at(page)) : NULL;
}

static void require_run(size_t first, size_t pages, enum run_kind kind, uint64_t stamp)
{
    const struct run *r = run_that_begins(first);
    assert_non_null(r);
    assert_int_equal(r->first, first);
    assert_int_equal(r->pages, pages);
    assert_int_equal(r->kind, kind);
    assert_int_equal(r->stamp_ms, stamp);
    assert_int_equal(tag_at(first + pages - 1), tag_at(first));
    for (size_t i = 1; i + 1 < pages; i++)
        assert_int_equal(tag_at(first + i), 0);
}

static void drop(size_t first)
{
    free_run_take(tag_run(tag_at(first)));
}

static void test_merge(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    free_run_add(first, 2, RUN_DIRTY, 10);
    free_run_add(first + 5, 3, RUN_DIRTY, 20);
    require_run(first, 2, RUN_DIRTY, 10);
    require_run(first + 5, 3, RUN_DIRTY, 20);
    free_run_add(first + 2, 3, RUN_DIRTY, 30);
    require_run(first, 8, RUN_DIRTY,
                30); /* 2 old, 3 new, 3: no part is larger than what it joins */
    drop(first);
    assert_int_equal(tag_at(first), 0);
    assert_int_equal(tag_at(first + 7), 0);
}

static void test_the_larger_part_gives_the_age(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    free_run_add(first, 10, RUN_DIRTY, 10);
    free_run_add(first + 10, 2, RUN_DIRTY, 50);
    require_run(first, 12, RUN_DIRTY, 10);
    free_run_add(first + 12, 20, RUN_DIRTY, 60);
    require_run(first, 32, RUN_DIRTY, 60);
    drop(first);
}

static void test_kinds_do_not_merge(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    free_run_add(first, 4, RUN_DIRTY, 10);
    free_run_add(first + 4, 4, RUN_CLEAN, 0);
    free_run_add(first + 8, 4, RUN_VOID, 0);
    require_run(first, 4, RUN_DIRTY, 10);
    require_run(first + 4, 4, RUN_CLEAN, 0);
    require_run(first + 8, 4, RUN_VOID, 0);
    drop(first);
    drop(first + 4);
    drop(first + 8);
}

static void test_carve(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    struct {
        size_t from, pages, left, right;
    } cases[] = {{0, 20, 0, 0}, {0, 5, 0, 15}, {15, 5, 15, 0}, {7, 1, 7, 12}, {1, 18, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = span.pages[RUN_DIRTY];
        free_run_add(first, 20, RUN_DIRTY, 10);
        free_run_carve(tag_run(tag_at(first)), first + cases[i].from, cases[i].pages);
        assert_int_equal(span.pages[RUN_DIRTY], before + cases[i].left + cases[i].right);
        if (cases[i].left != 0) {
            require_run(first, cases[i].left, RUN_DIRTY, 10);
            drop(first);
        }
        if (cases[i].right != 0) {
            size_t right = first + cases[i].from + cases[i].pages;
            require_run(right, cases[i].right, RUN_DIRTY, 10);
            drop(right);
        }
        assert_int_equal(span.pages[RUN_DIRTY], before);
    }
}

/* The queue: every dirty run once, older before newer as far as they were added in that order. */
static void test_queue(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    for (size_t i = 0; i < 10; i++)
        free_run_add(first + 6 * i, 2, RUN_DIRTY, 100 + i);
    drop(first);
    drop(first + 6 * 9);
    drop(first + 6 * 4);
    static const size_t left[] = {1, 2, 3, 5, 6, 7, 8};
    const struct run *r = span.oldest;
    const struct run *older = NULL;
    for (int i = 0; i < 7; i++) {
        assert_non_null(r);
        assert_int_equal(r->first, first + 6 * left[i]);
        assert_ptr_equal(r->older, older);
        older = r;
        r = r->newer;
    }
    assert_null(r);
    assert_ptr_equal(span.newest, older);
    for (int i = 0; i < 7; i++)
        drop(first + 6 * left[i]);
    assert_null(span.oldest);
    assert_null(span.newest);
}

static void require_released(size_t first, size_t pages)
{
    assert_int_equal(tag_kind(tag_at(first)), RUN_RELEASED);
    assert_int_equal(tag_pages(tag_at(first)), pages);
}

/* Neighbours, released in a row, are apart until all are settled, and one run then. */
static void test_released_runs_merge_later(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    free_run_release(first, 4, 10);
    free_run_release(first + 4, 2, 20);
    require_released(first, 4);
    require_released(first + 4, 2);
    assert_null(span.oldest);
    assert_int_equal(span.pages[RUN_RELEASED], 6);
    free_runs_settle();
    assert_int_equal(span.pages[RUN_RELEASED], 0);
    require_run(first, 6, RUN_DIRTY, 10);
    drop(first);
}

/* A release too many files the oldest one, with its age. */
static void test_the_ring_of_released_runs_is_bounded(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    for (size_t i = 0; i < RELEASED_MAX; i++)
        free_run_release(first + 3 * i, 2, 100 + i);
    assert_int_equal(span.runs[RUN_DIRTY], 0);
    free_run_release(first + 3 * RELEASED_MAX, 2, 200);
    assert_int_equal(span.runs[RUN_RELEASED], RELEASED_MAX);
    assert_int_equal(span.runs[RUN_DIRTY], 1);
    require_run(first, 2, RUN_DIRTY, 100);
    require_released(first + 3, 2);
    free_runs_settle();
    for (size_t i = 0; i <= RELEASED_MAX; i++) {
        require_run(first + 3 * i, 2, RUN_DIRTY, i < RELEASED_MAX ? 100 + i : 200);
        drop(first + 3 * i);
    }
}

/* A part cut out anywhere: what is left keeps its age and its place between an older run and a younger. */
static void test_cut(void **state)
{
    (void)state;
    size_t first = fresh_pages();
    static const struct {
        size_t from, pages, left, right;
    } cases[] = {{0, 5, 0, 15}, {15, 5, 15, 0}, {7, 1, 7, 12}, {1, 18, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        free_run_add(first, 1, RUN_DIRTY, 1);
        free_run_add(first + 2, 20, RUN_DIRTY, 10);
        free_run_add(first + 24, 1, RUN_DIRTY, 20);
        free_run_cut(tag_run(tag_at(first + 2)), first + 2 + cases[i].from, cases[i].pages);
        size_t n_left = (cases[i].left != 0) + (cases[i].right != 0);
        assert_int_equal(span.pages[RUN_DIRTY], 2 + cases[i].left + cases[i].right);
        assert_int_equal(span.runs[RUN_DIRTY], 2 + n_left);
        const struct run *r = span.oldest->newer;
        if (cases[i].left != 0) {
            require_run(first + 2, cases[i].left, RUN_DIRTY, 10);
            assert_int_equal(r->first, first + 2);
            r = r->newer;
        }
        if (cases[i].right != 0) {
            size_t right = first + 2 + cases[i].from + cases[i].pages;
            require_run(right, cases[i].right, RUN_DIRTY, 10);
            assert_int_equal(r->first, right);
            r = r->newer;
        }
        assert_ptr_equal(r, span.newest);
        assert_int_equal(r->first, first + 24);
        while (span.oldest != NULL)
            free_run_take(span.oldest);
    }
}

/* A gap left by alignment becomes a clean free run; addresses are aligned, not page numbers. */
static void test_frontier_aligned(void **state)
{
    (void)state;
    size_t before = span.frontier;
    size_t clean = span.pages[RUN_CLEAN];
    size_t first;
    assert_true(frontier_take(3, 512, &first));
    assert_int_equal(address_of(first) % (512UL << page_shift), 0);
    assert_int_equal(span.frontier, first + 3);
    assert_int_equal(span.pages[RUN_CLEAN], clean + first - before);
}

static void test_frontier_refused(void **state)
{
    (void)state;
    struct span_state before = span;
    size_t first;
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    assert_false(frontier_take(MIB(64) >> page_shift, 1, &first));
    assert_int_equal(span.frontier, before.frontier);
    assert_int_equal(span.mapped, before.mapped);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    assert_false(frontier_take(window.unit_limit << (UNIT_SHIFT - page_shift), 1, &first));
    assert_false(frontier_take(1, (size_t)1 << 51, &first));
    assert_int_equal(span.frontier, before.frontier);
}

/* A generous piece is asked for first; when that is refused, what is needed alone. */
static void test_frontier_takes_what_it_can_get(void **state)
{
    (void)state;
    size_t first;
    size_t rest = span.mapped - span.frontier;
    size_t before = span.mapped;
    fake_os_fail(ENTRY_BIT(ENTRY_PAGES_MAP), 1, false);
    assert_true(frontier_take(rest + 1, 1, &first));
    assert_int_equal(fake.failed, 1);
    assert_int_equal(span.mapped, before + 1);
    fake_os_fail(0, 0, false);
    assert_true(frontier_take(1, 1, &first));
    assert_true(span.mapped >= before + 1 + (MIB(1) >> page_shift));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_the_larger_part_gives_the_age),
        cmocka_unit_test(test_kinds_do_not_merge),
        cmocka_unit_test(test_carve),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_released_runs_merge_later),
        cmocka_unit_test(test_the_ring_of_released_runs_is_bounded),
        cmocka_unit_test(test_frontier_aligned),
        cmocka_unit_test(test_frontier_refused),
        cmocka_unit_test(test_frontier_takes_what_it_can_get),
    };
    return cmocka_run_group_tests(tests, open_span, NULL);
}
