/* area/records: alignment, zero, no overlap, first the built-in block and then the area, refusals. */
#include "area/records.h"

#include "base/bits.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <pthread.h>
#include <string.h>

static void place(size_t limit)
{
    void *range = os_linux.pages_map(NULL, limit, OS_MAP_RESERVE);
    REQUIRE(range != NULL && os_linux.pages_unmap(range, limit));
    records_place((uintptr_t)range, limit, false);
}

static void take_many(void *arg)
{
    (void)arg;
    enum { N = 3000 };
    static struct {
        unsigned char *start;
        size_t bytes;
    } taken[N];
    struct chance chance = {chance_seed()};
    fake_os_install();
    place(MIB(64));
    size_t used = records_used_bytes();
    for (int i = 0; i < N; i++) {
        taken[i].bytes = 1 + chance_below(&chance, 5000);
        taken[i].start = records_take(taken[i].bytes);
        REQUIRE(taken[i].start != NULL && (uintptr_t)taken[i].start % CACHE_LINE == 0);
        for (size_t b = 0; b < taken[i].bytes; b++)
            REQUIRE(taken[i].start[b] == 0);
        memset(taken[i].start, i % 255 + 1, taken[i].bytes);
        used += align_up(taken[i].bytes, CACHE_LINE);
        REQUIRE(records_used_bytes() == used);
    }
    for (int i = 0; i < N; i++) {
        for (size_t b = 0; b < taken[i].bytes; b++)
            REQUIRE(taken[i].start[b] == i % 255 + 1);
    }
}

static void test_many(void **state)
{
    (void)state;
    require_in_child(take_many, NULL);
}

/* A small program's records cost no mapping; without any mapping the built-in block still serves. */
static void take_without_system(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    size_t got = 0;
    while (records_take(1024) != NULL)
        got += 1024;
    REQUIRE(got == KIB(96));
    size_t used = records_used_bytes();
    REQUIRE(records_take(64) == NULL && records_used_bytes() == used);
    place(MIB(1));
    REQUIRE(records_take(64) == NULL && records_used_bytes() == used);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(records_take(64) != NULL);
    REQUIRE(records_take(MIB(2)) == NULL);
    REQUIRE(records_take(MIB(1) - 64) != NULL);
    REQUIRE(records_take(1) == NULL);
}

static void test_without_system(void **state)
{
    (void)state;
    require_in_child(take_without_system, NULL);
}

/* Small records taken after a table lie before it, while there is room; touching changes nothing. */
static void take_beside_table(void *arg)
{
    (void)arg;
    fake_os_install();
    unsigned char *first = records_take(64);
    records_touch();
    unsigned char *table = records_take(RECORDS_TABLE_BYTES);
    REQUIRE(table == first + 64 + RECORDS_ROOM_BYTES);
    REQUIRE(records_used_bytes() == 64 + RECORDS_TABLE_BYTES);
    REQUIRE(records_take(RECORDS_ROOM_BYTES - 64) == first + 64);
    REQUIRE(records_take(128) == table + RECORDS_TABLE_BYTES);
    REQUIRE(records_take(64) == table - 64);
    REQUIRE(records_take(64) == table + RECORDS_TABLE_BYTES + 128);
    REQUIRE(records_take(RECORDS_TABLE_BYTES) == table + RECORDS_TABLE_BYTES + 192);
    REQUIRE(records_used_bytes() == 64 + RECORDS_ROOM_BYTES + 2 * RECORDS_TABLE_BYTES + 192);
    for (int i = 0; i < RECORDS_TABLE_BYTES; i++)
        REQUIRE(table[i] == 0);
}

static void test_beside_table(void **state)
{
    (void)state;
    require_in_child(take_beside_table, NULL);
}

static void *take_in_thread(void *arg)
{
    uintptr_t *places = arg;
    for (int i = 0; i < 2000; i++) {
        places[i] = (uintptr_t)records_take(64);
        REQUIRE(places[i] != 0 && *(uint64_t *)places[i] == 0);
        *(uint64_t *)places[i] = places[i];
    }
    return NULL;
}

static void take_in_threads(void *arg)
{
    (void)arg;
    static uintptr_t places[4][2000];
    pthread_t threads[4];
    fake_os_install();
    place(MIB(64));
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&threads[i], NULL, take_in_thread, places[i]) == 0);
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 2000; k++)
            REQUIRE(*(uint64_t *)places[i][k] == places[i][k]); /* nobody else wrote there */
    }
}

static void test_threads(void **state)
{
    (void)state;
    require_in_child(take_in_threads, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_without_system),
        cmocka_unit_test(test_beside_table),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
