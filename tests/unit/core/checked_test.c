/* core/checked: what is sound passes, what is broken is named; the runs are looked at each so many calls. */
#include "core/checked.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "span/span_internal.h"
#include "support/heap.h"

#include <string.h>

static void caches(void *arg)
{
    (void)arg;
    fake_os_install();
    heap_go_on_after_misuse();
    free_fast(malloc_fast(64));
    checked_cache_slow(my_cache, "malloc");
    REQUIRE(fake.message_writes == 0);
    struct bin *bin = bin_for(my_cache, 64);
    bin->base += 64;
    checked_cache_slow(my_cache, "malloc");
    REQUIRE(strncmp(fake.message, "ration: corrupt heap at 0x", 26) == 0);
    REQUIRE(strstr(fake.message,
                   " in malloc()\n  invariant C2 of a thread's cache does not hold: ") != NULL);
}

static void runs(void *arg)
{
    (void)arg;
    fake_os_install();
    heap_go_on_after_misuse();
    free_fast(malloc_fast(64));
    for (int i = 0; i < CHECKED_EACH; i++)
        checked_runs_slow("free");
    REQUIRE(fake.message_writes == 0);
    span.pages[RUN_SLAB]++;
    for (int i = 0; i < CHECKED_EACH; i++)
        checked_runs_slow("free");
    REQUIRE(fake.message_writes == 1);
    REQUIRE(strstr(fake.message, " in free()\n  invariant S4 of the runs does not hold: ") != NULL);
}

static void test_caches(void **state)
{
    (void)state;
    require_in_child(caches, NULL);
}

static void test_runs(void **state)
{
    (void)state;
    require_in_child(runs, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
