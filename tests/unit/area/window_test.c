/* area/window: where it opens, with every refusal; the map. */
#include "area/window.h"

#include "area/records.h"
#include "base/bits.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>
#include <sys/mman.h>

static struct slab *const no_slab_here = (struct slab *)64;

/* A free may read the base before the window opens, and the count of units after. */
static void require_closed(void)
{
    REQUIRE(!window_is_open() && window_unit(0) > UINT32_MAX && window_unit(1 << 20) > UINT32_MAX);
    REQUIRE(window_unit((uintptr_t)&window) > UINT32_MAX);
}

static void use_window(void)
{
    REQUIRE(window.base % UNIT_BYTES == 0 && window.unit_count == 0 && window.unit_limit > 0);
    memset((void *)window.base, 1, MIB(1));
    REQUIRE(window_map(PAGES_SLABS, window.base + MIB(1), MIB(1)));
    memset((void *)(window.base + MIB(1)), 1, MIB(1));
    unsigned long maps = fake_os_calls(ENTRY_PAGES_MAP);
    REQUIRE(window_cover(3, no_slab_here) && window.unit_count == 3);
    REQUIRE(fake_os_calls(ENTRY_PAGES_MAP) == maps); /* a small program's map is there */
    for (int i = 0; i < 3; i++)
        REQUIRE(window.map[i] == no_slab_here);
    window_enter(1, 1, (struct slab *)128);
    REQUIRE(window_cover(2, no_slab_here) && window.unit_count == 3);
    struct slab **first = window.map;
    REQUIRE(window_cover(FIRST_UNITS, no_slab_here) && window.map == first);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!window_cover(FIRST_UNITS + 1, no_slab_here) && window.map == first &&
            window.unit_count == FIRST_UNITS);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    size_t some = window.unit_limit < 20000 ? window.unit_limit - 1 : 20000;
    REQUIRE(window_cover(some, no_slab_here) && window.unit_count == some);
    REQUIRE(window.map != first && first[1] == (struct slab *)128); /* who still looks there */
    REQUIRE(window.map[1] == (struct slab *)128 && window.map[3] == no_slab_here &&
            window.map[some - 1] == no_slab_here);
    window_enter(some - 2, 2, (struct slab *)192);
    REQUIRE(window.map[some - 3] == no_slab_here && window.map[some - 2] == (struct slab *)192 &&
            window.map[some - 1] == (struct slab *)192);
    REQUIRE(!window_cover(window.unit_limit + 1, no_slab_here));
    REQUIRE(window_unit(window.base) == 0 && window_unit(window.base + UNIT_BYTES) == 1);
    REQUIRE(window_unit(window.base - 1) >= window.unit_limit &&
            window_unit(0) >= window.unit_limit);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!window_cover(window.unit_limit, no_slab_here) && window.unit_count == some);
    REQUIRE(!window_map(PAGES_SLABS, window.base + MIB(2), MIB(1)));
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    for (size_t used = 0; used < MIB(2); used += 4096)
        REQUIRE(records_take(4096) != NULL); /* beyond the built-in block */
}

static void open_far(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(window_open(MIB(1)) && !window.reserved);
    REQUIRE(window.base % GIB(1) == 0 && window.base >= GIB(8192) && window.base < GIB(102400));
    REQUIRE(window.unit_limit == GIB(1024) / UNIT_BYTES);
    REQUIRE(fake_os_calls(ENTRY_PAGES_MAP) <= 8);
    use_window();
}

static void open_reserved(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    REQUIRE(window_open(MIB(1)) && window.reserved);
    REQUIRE(window.unit_limit == GIB(16) / UNIT_BYTES);
    use_window();
}

/* 8 far places and 8 nearer ones are refused, then the first reservation: half of it serves. */
static void open_small(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    fake_os_fail(ENTRY_BIT(ENTRY_PAGES_MAP), 8 + 8 + 1, false);
    REQUIRE(window_open(MIB(1)) && window.reserved && fake.failed == 1);
    REQUIRE(window.unit_limit == GIB(8) / UNIT_BYTES);
    use_window();
}

static void open_in_small_space(void *arg)
{
    (void)arg;
    fake_os_install();
    /* like a kernel with 39 bits of addresses: nothing far away */
    fake.taken = (struct os_range){(void *)GIB(512), GIB(512 * 1024)};
    REQUIRE(window_open(MIB(1)) && !window.reserved);
    REQUIRE(window.base >= GIB(64) && window.base < GIB(256));
    use_window();
}

static void open_never(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!window_open(MIB(1)) && window.unit_count == 0);
    require_closed();
    fake.refuse = 0;
    REQUIRE(window_open(MIB(1)));
    use_window();
}

/* Addresses can be reserved but no page of them be had: nothing may point there afterwards. */
static void open_without_memory(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT | 1U << OS_MAP_OVER;
    REQUIRE(!window_open(MIB(1)) && !window_is_open());
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    fake_os_clear();
    while (records_take(4096) != NULL)
        REQUIRE(fake_os_calls(ENTRY_PAGES_MAP) ==
                0); /* no mapping over addresses that are not ours */
}

static void test_far(void **state)
{
    (void)state;
    require_in_child(open_far, NULL);
}

static void test_reserved(void **state)
{
    (void)state;
    require_in_child(open_reserved, NULL);
}

static void test_small(void **state)
{
    (void)state;
    require_in_child(open_small, NULL);
}

static void test_small_space(void **state)
{
    (void)state;
    require_in_child(open_in_small_space, NULL);
}

static void test_never(void **state)
{
    (void)state;
    require_in_child(open_never, NULL);
}

static void test_without_memory(void **state)
{
    (void)state;
    require_in_child(open_without_memory, NULL);
}

/* Records as the map sees them: here a "slab" is the number of its first unit, and two units long.
 */
static bool covers_two(const struct slab *s, size_t unit)
{
    return s == no_slab_here || unit - ((uintptr_t)s >> 8) < 2;
}

static struct slab *slab_at(size_t unit)
{
    return (struct slab *)(unit << 8);
}

static void break_the_window(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(window_check(covers_two) == 0); /* not opened */
    REQUIRE(window_open(MIB(1)) && window_cover(10, no_slab_here));
    window.map[4] = slab_at(4);
    window.map[5] = slab_at(4);
    REQUIRE(window_check(covers_two) == 0);
    window.base += 4096;
    REQUIRE(window_check(covers_two) == 1);
    window.base -= 4096;
    size_t limit = window.unit_limit;
    window.unit_limit = 9;
    REQUIRE(window_check(covers_two) == 1);
    window.unit_limit = limit;
    window.map[9] = NULL;
    REQUIRE(window_check(covers_two) == 2);
    window.map[9] = no_slab_here;
    window.map[6] = slab_at(4); /* one unit too long */
    REQUIRE(window_check(covers_two) == 3);
    window.map[6] = no_slab_here;
    REQUIRE(window_check(covers_two) == 0);
}

static void test_invariants(void **state)
{
    (void)state;
    require_in_child(break_the_window, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_far),        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_small),      cmocka_unit_test(test_small_space),
        cmocka_unit_test(test_never),      cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
