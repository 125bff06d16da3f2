/* core/fill: what is filled with which byte, and what is left alone. */
#include "core/fill.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/events.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <pthread.h>
#include <string.h>

enum { NEW = 0xaa, FREED = 0x55, SIZES = 5 };
static const size_t sizes[SIZES] = {1, 16, 100, 5000, 70000};

static bool all_are(const void *block, size_t from, size_t end, int byte)
{
    for (size_t i = from; i < end; i++)
        if (((const unsigned char *)block)[i] != byte)
            return false;
    return true;
}

static void start(int fill_new, int fill_freed)
{
    fake_os_install();
    conf.purge_thread = 0;
    conf.purge_delay = -1;
    conf.fill_new = fill_new;
    conf.fill_freed = fill_freed;
    REQUIRE(fill_begin() && fill_begin()); /* the second time nothing happens */
}

static void fill_all(void *arg)
{
    (void)arg;
    start(NEW, FREED);
    for (int i = 0; i < SIZES; i++) {
        size_t n = sizes[i];
        unsigned char *p = malloc_fast(n);
        REQUIRE(all_are(p, 0, n, NEW));
        unsigned char *zero = calloc_fast(1, n);
        REQUIRE(all_are(zero, 0, n, 0));
        memset(p, 1, n);
        size_t had = core_usable(p, "test");
        p = core_realloc(p, had + n, "realloc");
        REQUIRE(all_are(p, 0, n, 1) && all_are(p, had, had + n, NEW));
        size_t usable = core_usable(p, "test");
        free_fast(p);
        REQUIRE(all_are(p, 0, usable, FREED));    /* mapped still: nothing is purged */
        unsigned char *again = calloc_fast(1, n); /* over memory that was filled */
        REQUIRE(all_are(again, 0, n, 0));
        free_fast(zero);
        free_fast(again);
    }
}

static void fill_one_side(void *arg)
{
    (void)arg;
    start(NEW, FILL_NOT);
    unsigned char *p = malloc_fast(100);
    REQUIRE(all_are(p, 0, 100, NEW));
    memset(p, 1, 100);
    free_fast(p);
    REQUIRE(all_are(p, 0, 100, 1));
    conf.fill_new = FILL_NOT;
    conf.fill_freed = FREED;
    REQUIRE(fill_begin());
    p = malloc_fast(200);
    REQUIRE(all_are(p, 0, 200, 0));
    free_fast(p);
    REQUIRE(all_are(p, 0, 200, FREED));
}

static void leave_alone(void *arg)
{
    (void)arg;
    start(FILL_NOT, FILL_NOT);
    REQUIRE(!fast_paths_are_closed);
}

static void *hold_cache(void *arg)
{
    REQUIRE(life_cache() != NULL);
    pthread_barrier_wait(arg);
    pthread_barrier_wait(arg);
    return NULL;
}

static void come_too_late(void *arg)
{
    (void)arg;
    start(FILL_NOT, FILL_NOT);
    pthread_barrier_t barrier;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, hold_cache, &barrier) == 0);
    pthread_barrier_wait(&barrier);
    conf.fill_freed = FREED;
    REQUIRE(!fill_begin() && !fast_paths_are_closed);
    conf.fill_freed = FILL_NOT;
    REQUIRE(fill_begin());
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

static void test_all(void **state)
{
    (void)state;
    require_in_child(fill_all, NULL);
}

static void test_one_side(void **state)
{
    (void)state;
    require_in_child(fill_one_side, NULL);
}

static void test_off(void **state)
{
    (void)state;
    require_in_child(leave_alone, NULL);
}

static void test_late(void **state)
{
    (void)state;
    require_in_child(come_too_late, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_one_side),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
