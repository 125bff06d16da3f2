/* span/run_tree: against a sorted array; T1 and T2 broken on purpose. */
#include "span/run_tree.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS = 400, STEPS = 40000 };

static struct run runs[RUNS];
static bool is_in[RUNS];

static bool is_less(const struct run *a, const struct run *b)
{
    return a->pages != b->pages ? a->pages < b->pages : a->first < b->first;
}

static struct run *expected_best_fit(size_t pages)
{
    struct run *best = NULL;
    for (int i = 0; i < RUNS; i++) {
        if (is_in[i] && runs[i].pages >= pages && (best == NULL || is_less(&runs[i], best)))
            best = &runs[i];
    }
    return best;
}

static struct run *expected_next(const struct run *r)
{
    struct run *next = NULL;
    for (int i = 0; i < RUNS; i++) {
        if (is_in[i] && is_less(r, &runs[i]) && (next == NULL || is_less(&runs[i], next)))
            next = &runs[i];
    }
    return next;
}

static void test_against_sorted_array(void **state)
{
    (void)state;
    struct chance chance = {chance_seed()};
    struct run *root = NULL;
    memset(is_in, 0, sizeof is_in);
    for (int step = 0; step < STEPS; step++) {
        size_t i = chance_below(&chance, RUNS);
        if (is_in[i]) {
            run_tree_remove(&root, &runs[i]);
            is_in[i] = false;
        } else {
            /* few lengths, so that many are equal; an address that no other run has */
            runs[i] = (struct run){.first = i * 1000 + chance_below(&chance, 1000),
                                   .pages = 1 + chance_below(&chance, 12)};
            run_tree_insert(&root, &runs[i]);
            is_in[i] = true;
        }
        assert_int_equal(run_tree_check(root), 0);
        size_t pages = chance_below(&chance, 14);
        struct run *best = run_tree_best_fit(root, pages);
        assert_ptr_equal(best, expected_best_fit(pages));
        if (best != NULL)
            assert_ptr_equal(run_tree_next(root, best), expected_next(best));
    }
}

static void test_empty(void **state)
{
    (void)state;
    assert_null(run_tree_best_fit(NULL, 0));
    assert_int_equal(run_tree_check(NULL), 0);
}

/* Its shape depends on the set alone, whatever the order of insertion. */
static void test_shape(void **state)
{
    (void)state;
    struct run one[64];
    struct run two[64];
    struct run *root_one = NULL;
    struct run *root_two = NULL;
    for (size_t i = 0; i < 64; i++) {
        one[i] = two[i] = (struct run){.first = i * 7, .pages = 1 + i % 5};
        run_tree_insert(&root_one, &one[i]);
    }
    for (size_t i = 64; i-- > 0;)
        run_tree_insert(&root_two, &two[i]);
    assert_int_equal(root_one - one, root_two - two);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(one[i].left ? one[i].left - one : -1,
                         two[i].left ? two[i].left - two : -1);
        assert_int_equal(one[i].right ? one[i].right - one : -1,
                         two[i].right ? two[i].right - two : -1);
    }
}

static struct run *grow_tree(struct run *some, size_t n)
{
    struct run *root = NULL;
    for (size_t i = 0; i < n; i++) {
        some[i] = (struct run){.first = i * 10, .pages = 1 + i % 4};
        run_tree_insert(&root, &some[i]);
    }
    return root;
}

/* T1: a run that changed its length while it was filed, wherever it sits. */
static void test_t1_is_found(void **state)
{
    (void)state;
    struct run some[32];
    const struct run *root = grow_tree(some, 32);
    assert_int_equal(run_tree_check(root), 0);
    for (int i = 0; i < 32; i++) {
        size_t pages = some[i].pages;
        some[i].pages = pages == 4 ? 1 : 40;
        if (&some[i] != root || some[i].left != NULL)
            assert_int_equal(run_tree_check(root), 1);
        some[i].pages = pages;
    }
    assert_int_equal(run_tree_check(root), 0);
}

/* T2: two runs that are in order, hung the wrong way round. */
static void test_t2_is_found(void **state)
{
    (void)state;
    struct run low = {.first = 1, .pages = 1};
    struct run high = {.first = 2, .pages = 2};
    struct run *root = NULL;
    run_tree_insert(&root, &low);
    run_tree_insert(&root, &high);
    assert_int_equal(run_tree_check(root), 0);
    if (root == &low) {
        low.right = NULL;
        high.left = &low;
        root = &high;
    } else {
        high.left = NULL;
        low.right = &high;
        root = &low;
    }
    assert_int_equal(run_tree_check(root), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorted_array),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_t1_is_found),
        cmocka_unit_test(test_t2_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
