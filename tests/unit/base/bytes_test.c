/* base/bytes.h: every single byte value at every place, then random rows, against plain loops. */
#include "base/bytes.h"

#include "support/unit.h"

#include <string.h>

static uint8_t row[4096] __attribute__((aligned(64)));

static uint64_t expected_mask(const uint8_t *bytes, unsigned n)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < n; i++)
        mask |= (uint64_t)(bytes[i] == 0) << i;
    return mask;
}

static void test_every_byte(void **state)
{
    (void)state;
    for (int background = 0; background < 2; background++) {
        for (unsigned value = 0; value < 256; value++) {
            for (unsigned at = 0; at < 64; at++) {
                memset(row, background, 64);
                row[at] = (uint8_t)value;
                for (unsigned n = 16; n <= 64; n *= 2)
                    assert_int_equal(zero_bytes(row, n), expected_mask(row, n));
                assert_int_equal(count_zero_bytes(row, 64),
                                 __builtin_popcountll(expected_mask(row, 64)));
            }
        }
    }
}

static void test_random_rows(void **state)
{
    (void)state;
    struct chance chance = {chance_seed()};
    for (int round = 0; round < 2000; round++) {
        unsigned count = 0;
        unsigned n = 16 * (1 + (unsigned)chance_below(&chance, 256));
        size_t share = 1 + chance_below(&chance, 8);
        for (unsigned i = 0; i < n; i++) {
            row[i] = chance_below(&chance, share) == 0 ? (uint8_t)chance_next(&chance) : 0;
            count += row[i] == 0;
        }
        assert_int_equal(count_zero_bytes(row, n), count);
        assert_int_equal(all_zero_bytes(row, n), count == n);
    }
}

static void test_all_zero(void **state)
{
    (void)state;
    memset(row, 0, sizeof row);
    assert_true(all_zero_bytes(row, 0));
    for (unsigned n = 1; n < 200; n++) {
        assert_true(all_zero_bytes(row + 1, n));
        row[n] = 1;
        assert_false(all_zero_bytes(row + 1, n));
        assert_true(all_zero_bytes(row + 1, n - 1));
        row[n] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_random_rows),
        cmocka_unit_test(test_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
