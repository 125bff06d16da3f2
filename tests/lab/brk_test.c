/* The simulated program break has the semantics of sbrk(2). */
#include "lab_tests.h"
#include <errno.h>

enum { limit = 1 << 20 };

static const char *const failed = (const char *)-1;

static struct brk open_break(size_t limit_bytes)
{
    struct brk brk;
    assert_int_equal(brk_open(&brk, limit_bytes), 0);
    return brk;
}

static void zero_reads_and_moves_nothing(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    assert_ptr_equal(brk_move(&brk, 0), brk.start);
    assert_int_equal(brk_bytes(&brk), 0);
    brk_move(&brk, 100);
    assert_ptr_equal(brk_move(&brk, 0), brk.start + 100);
    assert_int_equal(brk.n_calls, 1);
    brk_close(&brk);
}

static void returns_the_break_from_before(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    char *const start = brk.start;
    assert_ptr_equal(brk_move(&brk, 100), start);
    assert_ptr_equal(brk_move(&brk, 28), start + 100);
    assert_ptr_equal(brk_move(&brk, -64), start + 128);
    assert_ptr_equal(brk_move(&brk, 0), start + 64);
    brk_close(&brk);
}

static void fresh_memory_is_zero_and_writable(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    char *from = brk_move(&brk, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(from[i], 0);
    memset(from, 0xa5, 10000);
    brk_close(&brk);
}

/* Also within a page, where no page can be thrown away. */
static void memory_above_a_lowered_break_is_lost(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    char *from = brk_move(&brk, 20000);
    memset(from, 0xa5, 20000);
    brk_move(&brk, -19900);
    assert_ptr_equal(brk_move(&brk, 19900), from + 100);
    for (int i = 0; i < 20000; i++)
        assert_int_equal((unsigned char)from[i], i < 100 ? 0xa5 : 0);
    brk_close(&brk);
}

static void refuses(struct brk *brk, intptr_t increment)
{
    char *const before = brk->end;
    const size_t n_calls = brk->n_calls;
    errno = 0;
    assert_ptr_equal(brk_move(brk, increment), failed);
    assert_int_equal(errno, ENOMEM);
    assert_ptr_equal(brk->end, before);
    assert_int_equal(brk->n_calls, n_calls);
}

static void refuses_to_leave_its_range(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    refuses(&brk, -1);
    refuses(&brk, limit + 1);
    refuses(&brk, INTPTR_MAX);
    refuses(&brk, INTPTR_MIN);
    brk_move(&brk, 5000);
    refuses(&brk, -5001);
    refuses(&brk, limit - 5000 + 1);
    refuses(&brk, INTPTR_MAX);
    refuses(&brk, INTPTR_MIN);
    brk_close(&brk);
}

static void reaches_both_ends_exactly(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    char *const start = brk.start;
    assert_ptr_equal(brk_move(&brk, limit), start);
    start[limit - 1] = 1;
    refuses(&brk, 1);
    assert_ptr_equal(brk_move(&brk, -limit), start + limit);
    assert_int_equal(brk_bytes(&brk), 0);
    brk_close(&brk);
}

static void success_keeps_errno(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    errno = EINTR;
    brk_move(&brk, 4096);
    brk_move(&brk, -4096);
    assert_int_equal(errno, EINTR);
    brk_close(&brk);
}

static void the_peak_never_falls(void **state)
{
    (void)state;
    struct brk brk = open_break(limit);
    brk_move(&brk, 3000);
    brk_move(&brk, -2000);
    assert_int_equal(brk.peak_bytes, 3000);
    brk_move(&brk, 1500);
    assert_int_equal(brk.peak_bytes, 3000);
    brk_move(&brk, 600);
    assert_int_equal(brk.peak_bytes, 3100);
    brk_close(&brk);
}

static void a_break_of_one_byte(void **state)
{
    (void)state;
    struct brk brk = open_break(1);
    refuses(&brk, 2);
    char *byte = brk_move(&brk, 1);
    *byte = 7;
    refuses(&brk, 1);
    brk_close(&brk);
}

/* Break, mappings and tables count towards one limit and one peak. */
static void a_space_adds_up_its_three_parts(void **state)
{
    (void)state;
    struct space space;
    assert_int_equal(space_open(&space, limit), 0);
    space_move_break(&space, 1000);
    char *mapping = space_map(&space, 5000);
    assert_non_null(mapping);
    space_charge_table(&space, 24);
    assert_int_equal(space_bytes(&space), 1000 + 8192 + 24);
    assert_true(space_holds(&space, mapping, 8192));
    assert_false(space_holds(&space, mapping, 8193));
    assert_false(space_holds(&space, space.brk.start, 1001));
    assert_null(space_map(&space, limit));
    space_unmap(&space, mapping);
    assert_false(space_holds(&space, mapping, 1));
    assert_int_equal(space_bytes(&space), 1024);
    assert_int_equal(space.peak_bytes, 1000 + 8192 + 24);
    space_close(&space);
}

static void a_mapping_grows_by_moving_and_never_counts_twice(void **state)
{
    (void)state;
    enum { page = space_page_bytes };
    struct space space;
    assert_int_equal(space_open(&space, limit), 0);
    char *first = space_map(&space, page);
    char *second = space_map(&space, page);
    memset(first, 1, page);
    char *moved = space_remap(&space, first, 2 * page); /* the second is in its way */
    assert_true(moved > second);
    assert_int_equal(moved[page - 1], 1);
    assert_int_equal(moved[page], 0);
    assert_false(space_holds(&space, first, 1));
    assert_int_equal(space_bytes(&space), 3 * page);
    assert_int_equal(space.peak_bytes, 3 * page);
    assert_ptr_equal(space_remap(&space, moved, 3 * page), moved); /* nothing is in its way */
    assert_int_equal(moved[2 * page], 0);
    assert_ptr_equal(space_remap(&space, moved, page), moved);
    assert_int_equal(space_bytes(&space), 2 * page);
    assert_ptr_equal(space_remap(&space, moved, 2 * page), moved);
    assert_int_equal(moved[page], 0); /* what was given back is zero */
    assert_null(space_remap(&space, moved, 2 * limit));
    assert_int_equal(space_bytes(&space), 3 * page);
    space_close(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_reads_and_moves_nothing),
        cmocka_unit_test(returns_the_break_from_before),
        cmocka_unit_test(fresh_memory_is_zero_and_writable),
        cmocka_unit_test(memory_above_a_lowered_break_is_lost),
        cmocka_unit_test(refuses_to_leave_its_range),
        cmocka_unit_test(reaches_both_ends_exactly),
        cmocka_unit_test(success_keeps_errno),
        cmocka_unit_test(the_peak_never_falls),
        cmocka_unit_test(a_break_of_one_byte),
        cmocka_unit_test(a_space_adds_up_its_three_parts),
        cmocka_unit_test(a_mapping_grows_by_moving_and_never_counts_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
