/* What is not there, or does not fit, is not read, and the place stays. */
#include "lab_tests.h"
#include "scan.h"
#include <limits.h>

static void takes_pieces_in_turn(void **state)
{
    (void)state;
    const char *at = "7f12-ffffffffffffffff \t lost 3 4\n";
    unsigned long from, to, n[2];
    assert_true(scan_number(&at, 16, &from) && scan_text(&at, "-") && scan_number(&at, 16, &to));
    assert_int_equal(from, 0x7f12);
    assert_true(to == ULONG_MAX);
    assert_true(scan_text(&at, "lost") && scan_numbers(&at, n, 2));
    assert_int_equal(n[0], 3);
    assert_int_equal(n[1], 4);
    assert_string_equal(at, "\n");
}

static void refuses_what_is_no_number(void **state)
{
    static const char *const texts[] = {"", "-1", "+1", "x", "f", "\n1", "18446744073709551616"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *at = texts[i];
        unsigned long number = 5;
        assert_false(scan_number(&at, 10, &number));
        assert_int_equal(number, 5);
        assert_ptr_equal(at, texts[i]);
    }
}

static void refuses_another_text(void **state)
{
    (void)state;
    const char *const text = " leaf", *at = text;
    assert_false(scan_text(&at, "leak"));
    assert_ptr_equal(at, text);
}

static void takes_the_numbers_that_are_there(void **state)
{
    (void)state;
    const char *at = "1 2 three";
    unsigned long n[3] = {0};
    assert_false(scan_numbers(&at, n, 3));
    assert_int_equal(n[0], 1);
    assert_int_equal(n[1], 2);
    assert_string_equal(at, " three");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_pieces_in_turn),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(refuses_another_text),
        cmocka_unit_test(takes_the_numbers_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
