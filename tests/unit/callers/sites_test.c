/* callers/sites: each row once, whatever the order, from many threads. */
#include "callers/sites.h"

#include "core/life.h"
#include "support/heap.h"

#include <pthread.h>
#include <string.h>

enum { ROWS = 5000, THREADS = 4 };

static void start(void)
{
    fake_os_install();
    REQUIRE(site_of((const uintptr_t[]){1}, 1) == SITE_NONE);
    REQUIRE(life_cache() != NULL && sites_begin() && sites_begin());
}

static unsigned make_row(unsigned number, uintptr_t *row)
{
    struct chance c = {.state = number + 1};
    unsigned n = 1 + (unsigned)chance_below(&c, CALLERS_MAX);
    for (unsigned i = 0; i < n; i++)
        row[i] = chance_below(&c, 1000);
    row[0] = number;
    return n;
}

static void each_once(void *arg)
{
    static uint32_t sites[ROWS];
    uintptr_t row[CALLERS_MAX];
    const uintptr_t *kept;
    (void)arg;
    start();
    REQUIRE(site_of(row, 0) == SITE_NONE && site_callers(SITE_NONE, &kept) == 0);
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned n = make_row(i, row);
        sites[i] = site_of(row, n);
        REQUIRE(sites[i] != SITE_NONE);
    }
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned n = make_row(i, row);
        REQUIRE(site_of(row, n) == sites[i] && site_callers(sites[i], &kept) == n);
        REQUIRE(memcmp(kept, row, n * sizeof *row) == 0);
    }
    REQUIRE(sites_count() == ROWS && sites_refused() == 0);
    REQUIRE(site_callers(UINT32_MAX, &kept) == 0);
    /* A beginning of a row is another row. */
    REQUIRE(site_of((const uintptr_t[]){7, 8, 9}, 3) != site_of((const uintptr_t[]){7, 8, 9}, 2));
}

static uint32_t by_thread[THREADS][ROWS];

static void *intern_all(void *arg)
{
    uintptr_t row[CALLERS_MAX];
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned n = make_row(i, row);
        ((uint32_t *)arg)[i] = site_of(row, n);
    }
    return NULL;
}

static void threads_agree(void *arg)
{
    pthread_t threads[THREADS];
    (void)arg;
    start();
    for (int t = 0; t < THREADS; t++)
        REQUIRE(pthread_create(&threads[t], NULL, intern_all, by_thread[t]) == 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    for (int t = 1; t < THREADS; t++)
        REQUIRE(memcmp(by_thread[0], by_thread[t], sizeof by_thread[0]) == 0);
    REQUIRE(sites_count() == ROWS);
}

/* Memory that runs out is told by SITE_NONE; what is there stays. */
static void out_of_memory_is_told(void *arg)
{
    (void)arg;
    start();
    uint32_t first = site_of((const uintptr_t[]){1, 2}, 2);
    fake.refuse = ENTRY_BIT(ENTRY_PAGES_MAP);
    uintptr_t row[CALLERS_MAX];
    unsigned refused = 0;
    for (unsigned i = 0; i < 20000 && refused == 0; i++)
        refused = site_of(row, make_row(i, row)) == SITE_NONE;
    REQUIRE(refused == 1 && sites_refused() == 1);
    REQUIRE(site_of((const uintptr_t[]){1, 2}, 2) == first);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(each_once)
IN_CHILD(threads_agree)
IN_CHILD(out_of_memory_is_told)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_threads_agree),
        cmocka_unit_test(test_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
