/* base/bits.h against plain definitions. */
#include "base/bits.h"

#include "support/unit.h"

static void test_powers(void **state)
{
    (void)state;
    assert_false(is_power_of_two(0));
    for (unsigned i = 0; i < 64; i++) {
        size_t n = (size_t)1 << i;
        assert_true(is_power_of_two(n));
        assert_int_equal(lowest_bit(n), i);
        assert_int_equal(lowest_bit_wide(n), i);
        assert_int_equal(highest_bit(n), i);
        if (i > 1)
            assert_false(is_power_of_two(n - 1));
        if (i > 0)
            assert_false(is_power_of_two(n + 1));
    }
}

static void test_align(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 64; align *= 2) {
        for (uintptr_t n = 0; n < 300; n++) {
            assert_int_equal(align_up(n, align), (n + align - 1) / align * align);
            assert_int_equal(align_down(n, align), n / align * align);
        }
    }
}

static void test_scans(void **state)
{
    (void)state;
    struct chance chance = {chance_seed()};
    for (int i = 0; i < 200000; i++) {
        uint64_t n = chance_next(&chance) & chance_next(&chance) & chance_next(&chance);
        if (n == 0)
            continue;
        unsigned count = 0;
        unsigned low = 64;
        unsigned high = 0;
        for (unsigned b = 0; b < 64; b++) {
            if ((n >> b & 1) == 0)
                continue;
            count++;
            high = b;
            low = low == 64 ? b : low;
        }
        assert_int_equal(count_bits(n), count);
        assert_int_equal(lowest_bit(n), low);
        assert_int_equal(lowest_bit_wide(n), low);
        assert_int_equal(highest_bit(n), high);
    }
    assert_int_equal(count_bits(0), 0);
    assert_int_equal(count_bits(UINT64_MAX), 64);
}

static void test_min_max(void **state)
{
    (void)state;
    assert_int_equal(min_size(1, SIZE_MAX), 1);
    assert_int_equal(min_size(SIZE_MAX, 1), 1);
    assert_true(max_size(1, SIZE_MAX) == SIZE_MAX);
    assert_true(max_size(SIZE_MAX, 1) == SIZE_MAX);
    assert_int_equal(KIB(1), 1024);
    assert_int_equal(MIB(1), 1048576);
    assert_int_equal(GIB(4), 4294967296);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_powers),
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_scans),
        cmocka_unit_test(test_min_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
