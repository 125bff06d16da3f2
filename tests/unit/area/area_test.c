/* area/area: growth from the start upward, in steps that grow; refusals change nothing. */
#include "area/area.h"

#include "base/bits.h"
#include "support/fake_os.h"
#include "support/unit.h"

static struct area make_area(size_t limit, bool reserved)
{
    void *range = os_linux.pages_map(NULL, limit, OS_MAP_RESERVE);
    assert_non_null(range);
    if (!reserved)
        assert_true(os_linux.pages_unmap(range, limit));
    return (struct area){.start = (uintptr_t)range, .limit_bytes = limit, .reserved = reserved};
}

static void require_usable(const struct area *a)
{
    for (size_t i = 0; i < a->mapped_bytes; i += 4096) {
        volatile unsigned char *p = (unsigned char *)a->start + i;
        assert_int_equal(*p, 0);
        *p = 1;
        *p = 0;
    }
}

static void test_growth(bool reserved)
{
    fake_os_install();
    struct area a = make_area(MIB(4), reserved);
    assert_true(area_reach(&a, 0));
    assert_int_equal(a.mapped_bytes, 0);
    assert_true(area_reach(&a, 1));
    assert_int_equal(a.mapped_bytes, KIB(64));
    assert_true(area_reach(&a, KIB(64)));
    assert_int_equal(fake_os_calls(ENTRY_PAGES_MAP), 1);
    require_usable(&a);
    for (size_t bytes = 1; bytes <= MIB(4); bytes += 4000)
        assert_true(area_reach(&a, bytes) && a.mapped_bytes >= bytes);
    require_usable(&a);
    assert_in_range(fake_os_calls(ENTRY_PAGES_MAP), 10, 40); /* logarithmic, not 64 */
    assert_true(area_reach(&a, MIB(4)));
    assert_int_equal(a.mapped_bytes, MIB(4));
    assert_false(area_reach(&a, MIB(4) + 1));
    assert_false(area_reach(&a, SIZE_MAX));
    assert_int_equal(a.mapped_bytes, MIB(4));
}

static void test_free_range(void **state)
{
    (void)state;
    test_growth(false);
}

static void test_reserved_range(void **state)
{
    (void)state;
    test_growth(true);
}

static void test_refusal(void **state)
{
    (void)state;
    fake_os_install();
    struct area a = make_area(MIB(4), false);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    assert_false(area_reach(&a, 1));
    assert_int_equal(a.mapped_bytes, 0);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    assert_true(area_reach(&a, 1));
    /* somebody else's mapping in the way is not mapped over */
    fake.taken = (struct os_range){(void *)(a.start + KIB(100)), 4096};
    assert_false(area_reach(&a, KIB(200)));
    assert_int_equal(a.mapped_bytes, KIB(64));
}

static void test_large_pages(void **state)
{
    (void)state;
    fake_os_install();
    fake.page_bytes = KIB(64);
    struct area a = make_area(MIB(4), true);
    a.start = align_up(a.start, KIB(64)); /* the fake checks multiples */
    a.limit_bytes -= KIB(64);
    for (size_t bytes = 1; bytes <= MIB(3); bytes += 50000)
        assert_true(area_reach(&a, bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_range),
        cmocka_unit_test(test_reserved_range),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_large_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
