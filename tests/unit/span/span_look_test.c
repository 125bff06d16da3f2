/* span/span_look: search, counts, walk; each invariant S1 to S6 broken on purpose. */
#include "base/bits.h"
#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>

static struct slab *const no_slab_here = (struct slab *)64;

/* In order: a slab, a dirty run, a clean run, a large block, a dirty run, a slab at the end. */
static struct {
    uintptr_t slab, dirty, clean, large, dirty2, last;
} at;

static size_t page(void)
{
    return (size_t)1 << page_shift;
}

static uintptr_t take(size_t pages, enum run_kind use)
{
    bool is_zero;
    return (uintptr_t)span_alloc(pages * page(), 1, use, &is_zero);
}

static int lay_out(void **state)
{
    (void)state;
    fake_os_install();
    assert_true(span_open(no_slab_here));
    at.slab = take(16, RUN_SLAB);
    at.dirty = take(5, RUN_LARGE);
    at.large = take(3, RUN_LARGE);
    at.dirty2 = take(4, RUN_LARGE);
    at.last = take(16, RUN_SLAB);
    at.clean = at.dirty + 2 * page();
    span_trim((void *)at.dirty, 2 * page());
    assert_int_equal(span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX), 3); /* the clean run */
    assert_int_equal(span_release(at.dirty, RUN_LARGE), 2 * page());
    assert_int_equal(span_release(at.dirty2, RUN_LARGE), 4 * page());
    assert_int_equal(span_check(), 0);
    free_runs_settle();
    assert_int_equal(span_check(), 0);
    return 0;
}

static struct run *free_run_at(uintptr_t address)
{
    return tag_run(tag_at(page_of(address)));
}

static void require_place(uintptr_t address, enum run_kind kind, uintptr_t start, size_t pages)
{
    struct span_place p = span_find(address);
    assert_int_equal(p.kind, kind);
    if (kind == RUN_NONE)
        return;
    assert_int_equal(p.start, start);
    assert_int_equal(p.bytes, pages * page());
}

static void test_find(void **state)
{
    (void)state;
    require_place(at.slab, RUN_SLAB, at.slab, 16);
    require_place(at.slab + 16 * page() - 1, RUN_SLAB, at.slab, 16);
    require_place(at.dirty + 1, RUN_DIRTY, at.dirty, 2);
    require_place(at.dirty + 2 * page() - 1, RUN_DIRTY, at.dirty, 2);
    require_place(at.clean, RUN_CLEAN, at.clean, 3);
    require_place(at.clean + page() + 7, RUN_CLEAN, at.clean, 3);
    require_place(at.large + 2 * page(), RUN_LARGE, at.large, 3);
    require_place(at.last + 5, RUN_SLAB, at.last, 16);
    require_place(at.last + 16 * page(), RUN_NONE, 0, 0);
    require_place(window.base - 1, RUN_NONE, 0, 0);
    require_place(0, RUN_NONE, 0, 0);
    require_place(UINTPTR_MAX, RUN_NONE, 0, 0);
}

static void test_in_use_bytes(void **state)
{
    (void)state;
    assert_int_equal(span_in_use_bytes(at.large, RUN_LARGE), 3 * page());
    assert_int_equal(span_in_use_bytes(at.large, RUN_SLAB), 0);
    assert_int_equal(span_in_use_bytes(at.large + page(), RUN_LARGE), 0);
    assert_int_equal(span_in_use_bytes(at.large + 8, RUN_LARGE), 0);
    assert_int_equal(span_in_use_bytes(at.dirty, RUN_LARGE), 0);
    assert_int_equal(span_in_use_bytes(at.slab, RUN_SLAB), 16 * page());
}

static void test_count(void **state)
{
    (void)state;
    struct span_counts c;
    span_count(&c);
    assert_int_equal(c.pages[RUN_SLAB], 32);
    assert_int_equal(c.runs[RUN_SLAB], 2);
    assert_int_equal(c.pages[RUN_LARGE], 3);
    assert_int_equal(c.pages[RUN_DIRTY], 6);
    assert_int_equal(c.runs[RUN_DIRTY], 2);
    assert_int_equal(c.pages[RUN_CLEAN], 3);
    assert_int_equal(c.pages[RUN_VOID], 0);
    assert_int_equal(c.pages[RUN_HELD], 0);
    assert_int_equal(c.frontier_bytes, 44 * page());
    assert_int_equal(c.mapped_bytes, MIB(1));
    assert_int_equal(span_dirty_bytes(), 6 * page());
}

struct walked {
    struct span_place places[16];
    size_t n, stop_after;
};

static bool note(const struct span_place *p, void *arg)
{
    struct walked *w = arg;
    w->places[w->n++] = *p;
    return w->n < w->stop_after;
}

static void test_walk(void **state)
{
    (void)state;
    struct walked w = {.stop_after = 16};
    span_walk(note, &w);
    static const enum run_kind kinds[] = {RUN_SLAB,  RUN_DIRTY, RUN_CLEAN,
                                          RUN_LARGE, RUN_DIRTY, RUN_SLAB};
    assert_int_equal(w.n, 6);
    uintptr_t end = window.base;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(w.places[i].kind, kinds[i]);
        assert_int_equal(w.places[i].start, end);
        end += w.places[i].bytes;
    }
    struct walked first_two = {.stop_after = 2};
    span_walk(note, &first_two);
    assert_int_equal(first_two.n, 2);
}

/* Each of these breaks one thing, asks, and repairs it. */

static void test_s1_free_run_with_a_lost_end(void **state)
{
    (void)state;
    size_t last = page_of(at.clean) + 2;
    uint64_t tag = tag_at(last);
    tag_set(last, 0);
    assert_int_equal(span_check(), 1);
    tag_set(last, tag);
    assert_int_equal(span_check(), 0);
}

static void test_s1_run_beyond_the_frontier(void **state)
{
    (void)state;
    size_t first = page_of(at.last);
    uint64_t tag = tag_at(first);
    tag_set(first, (tag_pages(tag) + 1) << TAG_KIND_BITS | RUN_SLAB);
    assert_int_equal(span_check(), 1);
    tag_set(first, tag);
    assert_int_equal(span_check(), 0);
}

static void test_s1_record_of_another_place(void **state)
{
    (void)state;
    struct run *r = free_run_at(at.dirty);
    r->first++;
    assert_int_equal(span_check(), 1);
    r->first--;
    assert_int_equal(span_check(), 0);
}

static void test_s2_two_neighbours_of_one_kind(void **state)
{
    (void)state;
    struct run *r = free_run_at(at.clean);
    uint64_t tag = tag_at(page_of(at.clean));
    r->kind = RUN_DIRTY;
    tag_set(r->first, (uint64_t)(uintptr_t)r | RUN_DIRTY);
    tag_set(r->first + r->pages - 1, (uint64_t)(uintptr_t)r | RUN_DIRTY);
    assert_int_equal(span_check(), 2);
    r->kind = RUN_CLEAN;
    tag_set(r->first, tag);
    tag_set(r->first + r->pages - 1, tag);
    assert_int_equal(span_check(), 0);
}

static void test_s3_not_in_the_tree(void **state)
{
    (void)state;
    struct run *r = free_run_at(at.clean);
    run_tree_remove(&span.tree[RUN_CLEAN], r);
    assert_int_equal(span_check(), 3);
    run_tree_insert(&span.tree[RUN_CLEAN], r);
    assert_int_equal(span_check(), 0);
}

static void test_s3_not_in_the_queue(void **state)
{
    (void)state;
    struct run *oldest = span.oldest;
    span.oldest = oldest->newer;
    assert_int_equal(span_check(), 3);
    span.oldest = oldest;
    assert_int_equal(span_check(), 0);
}

static void test_s3_something_else_in_the_tree(void **state)
{
    (void)state;
    struct run stray = {.first = 1, .pages = 1, .kind = RUN_VOID};
    run_tree_insert(&span.tree[RUN_VOID], &stray);
    assert_int_equal(span_check(), 3);
    run_tree_remove(&span.tree[RUN_VOID], &stray);
    assert_int_equal(span_check(), 0);
}

static void test_s4_wrong_sums(void **state)
{
    (void)state;
    for (int k = RUN_SLAB; k < RUN_KIND_COUNT; k++) {
        span.pages[k]++;
        assert_int_equal(span_check(), 4);
        span.pages[k]--;
        span.runs[k]++;
        assert_int_equal(span_check(), 4);
        span.runs[k]--;
    }
    assert_int_equal(span_check(), 0);
}

static void test_s4_overlapping_runs_in_use(void **state)
{
    (void)state;
    size_t first = page_of(at.large);
    uint64_t tag = tag_at(first);
    tag_set(first, (tag_pages(tag) + 4) << TAG_KIND_BITS | RUN_LARGE);
    assert_int_not_equal(span_check(), 0);
    tag_set(first, tag);
    assert_int_equal(span_check(), 0);
}

/* S5: both dirty runs hung the wrong way round; each can still be found by search. */
static void test_s5_disordered_tree(void **state)
{
    (void)state;
    struct run *root = span.tree[RUN_DIRTY];
    struct run saved = *root;
    struct run *child = root->left != NULL ? root->left : root->right;
    assert_non_null(child);
    if (root->left != NULL)
        child->right = root;
    else
        child->left = root;
    root->left = root->right = NULL;
    span.tree[RUN_DIRTY] = child;
    assert_int_equal(span_check(), 5);
    *root = saved;
    child->left = child->right = NULL;
    span.tree[RUN_DIRTY] = root;
    assert_int_equal(span_check(), 0);
}

/* S6: a released run with another tag; one that the ring has lost. */
static void test_s6_ring_and_tags_differ(void **state)
{
    (void)state;
    uintptr_t p = take(2, RUN_LARGE);
    assert_int_equal(span_release(p, RUN_LARGE), 2 * page());
    assert_int_equal(span_check(), 0);
    uint64_t *tag = &(*tag_chunk(page_of(p) / CHUNK_PAGES))[page_of(p) % CHUNK_PAGES];
    *tag ^= RUN_RELEASED ^ RUN_HELD;
    span.pages[RUN_HELD] += 2, span.pages[RUN_RELEASED] -= 2;
    span.runs[RUN_HELD]++, span.runs[RUN_RELEASED]--;
    assert_int_equal(span_check(), 6);
    span.pages[RUN_HELD] -= 2, span.pages[RUN_RELEASED] += 2;
    span.runs[RUN_HELD]--, span.runs[RUN_RELEASED]++;
    *tag ^= RUN_RELEASED ^ RUN_HELD;
    released.filed++;
    assert_int_equal(span_check(), 6);
    released.filed--;
    assert_int_equal(span_check(), 0);
    free_runs_settle();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_in_use_bytes),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_s1_free_run_with_a_lost_end),
        cmocka_unit_test(test_s1_run_beyond_the_frontier),
        cmocka_unit_test(test_s1_record_of_another_place),
        cmocka_unit_test(test_s2_two_neighbours_of_one_kind),
        cmocka_unit_test(test_s3_not_in_the_tree),
        cmocka_unit_test(test_s3_not_in_the_queue),
        cmocka_unit_test(test_s3_something_else_in_the_tree),
        cmocka_unit_test(test_s4_wrong_sums),
        cmocka_unit_test(test_s4_overlapping_runs_in_use),
        cmocka_unit_test(test_s5_disordered_tree),
        cmocka_unit_test(test_s6_ring_and_tags_differ),
    };
    return cmocka_run_group_tests(tests, lay_out, NULL);
}
