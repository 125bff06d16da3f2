/* sizeclass: exhaustively. Every class, every offset of a slab, every size of a small block. */
#include "sizeclass/sizeclass.h"

#include "support/unit.h"

static void test_sizes_grow_and_serve(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        assert_int_equal(size_classes[c].size % GRAIN, 0);
        if (c > 0)
            assert_true(size_classes[c].size > size_classes[c - 1].size);
    }
    assert_int_equal(size_classes[0].size, GRAIN);
    assert_int_equal(size_classes[CLASS_COUNT - 1].size, SMALL_MAX);
}

/* The class of a size is the first that is long enough; above 128 bytes it wastes at most an eighth. */
static void test_every_size(void **state)
{
    (void)state;
    for (size_t n = 0; n <= SMALL_MAX; n++) {
        unsigned c = class_of(n);
        assert_true(c < CLASS_COUNT);
        assert_true(size_classes[c].size >= n);
        if (c > 0)
            assert_true(size_classes[c - 1].size < n);
        if (n > 128)
            assert_true((size_classes[c].size - n) * 8 <= size_classes[c].size);
    }
    assert_int_equal(class_of(0), class_of(1));
}

static void test_geometry(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct size_class *k = &size_classes[c];
        size_t slab = (size_t)class_units(c) * UNIT_BYTES;
        assert_int_equal(class_units(c), k->size <= 512 ? 1 : k->size <= 2048 ? 2 : 4);
        assert_int_equal(k->slots, slab / k->size);
        assert_true(k->slots >= 16 && k->slots <= UINT16_MAX);
        assert_true((size_t)k->slots * k->size <= slab);
        assert_int_equal(k->reciprocal, ((1UL << 32) + k->size - 1) / k->size);
    }
}

/* The slot test is true for the starts of slots and false for every other offset, and gives the right slot. */
static void test_every_offset(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct size_class *k = &size_classes[c];
        size_t slab = (size_t)class_units(c) * UNIT_BYTES;
        for (uint64_t offset = 0; offset < slab; offset++) {
            uint64_t x = offset * k->reciprocal;
            bool passes = (uint32_t)x < k->start_limit;
            bool starts = offset % k->size == 0 && offset / k->size < k->slots;
            if (passes != starts || (starts && x >> 32 != offset / k->size))
                fail_msg("class of %u, offset %lu", k->size, (unsigned long)offset);
        }
    }
}

/* A slab starts at a multiple of UNIT_BYTES: its slots are aligned to what divides the size. */
static void test_alignment(void **state)
{
    (void)state;
    for (size_t align = 1; align <= SMALL_MAX; align *= 2) {
        for (size_t n = 0; n <= SMALL_MAX; n++) {
            unsigned c = class_of_aligned(n, align);
            if (c == CLASS_COUNT)
                fail_msg("no class for %zu bytes aligned to %zu", n, align);
            if (size_classes[c].size < n || size_classes[c].size % align != 0)
                fail_msg("class of %u for %zu bytes aligned to %zu", size_classes[c].size, n,
                         align);
            for (unsigned less = 0; less < c; less++) {
                if (size_classes[less].size >= (n > 1 ? n : 1) &&
                    size_classes[less].size % align == 0)
                    fail_msg("%zu bytes aligned to %zu: class of %u would do", n, align,
                             size_classes[less].size);
            }
        }
    }
}

static void test_alignment_too_much(void **state)
{
    (void)state;
    assert_int_equal(class_of_aligned(SMALL_MAX + 1, 1), CLASS_COUNT);
    assert_int_equal(class_of_aligned(1, 2 * SMALL_MAX), CLASS_COUNT);
    assert_int_equal(class_of_aligned(SIZE_MAX, 16), CLASS_COUNT);
    assert_int_equal(class_of_aligned(1, (size_t)1 << 63), CLASS_COUNT);
    assert_int_equal(class_of_aligned(SMALL_MAX, SMALL_MAX), CLASS_COUNT - 1);
}

/* Longer by a quarter at most, and of the same kind. Those that may are next to each other. */
static void test_stand_ins(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        for (unsigned k = 0; k < CLASS_COUNT; k++) {
            double ratio = (double)size_classes[k].size / size_classes[c].size;
            bool same_kind =
                (size_classes[c].size > NARROW_MAX) == (size_classes[k].size > NARROW_MAX);
            assert_int_equal(class_may_hold(k, c), same_kind && ratio >= 1 && ratio <= 1.25);
            if (k > c && class_may_hold(k, c))
                assert_true(class_may_hold(k - 1, c) && class_may_hold(k, c + 1));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_grow_and_serve),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_geometry),
        cmocka_unit_test(test_every_offset),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_alignment_too_much),
        cmocka_unit_test(test_stand_ins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
