/* record/record: history of an address, requested sizes, what a report tells. */
#include "record/record.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "support/heap.h"

#include <string.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
    conf.stacks = 8;
    REQUIRE(ration_history(&conf, NULL, 0) == 0 && record_requested(1) == SIZE_MAX);
    REQUIRE(record_begin(8) && record_is_on);
}

static NOINLINE void *get(size_t n)
{
    void *p = malloc_fast(n);
    __asm__ volatile("");
    return p;
}

static void history(void *arg)
{
    enum { MOST = 40 };
    struct ration_history_event events[MOST];
    void *first = NULL;
    (void)arg;
    start();
    for (int i = 0; i < 10; i++) {
        fake.now_ms = 1000 + (uint64_t)i * 10;
        void *p = get(100000 + (size_t)i); /* large ones reuse their place at once */
        REQUIRE(first == NULL || p == first);
        first = p;
        REQUIRE(record_requested((uintptr_t)p) == 100000 + (size_t)i);
        size_t n = ration_history(p, events, MOST);
        REQUIRE(n == (size_t)i * 2 + 1);
        for (size_t k = 0; k < n; k++) {
            REQUIRE(events[k].kind ==
                    (k % 2 == 0 ? RATION_HISTORY_ALLOCATED : RATION_HISTORY_FREED));
            REQUIRE(events[k].thread == os->thread_id() && events[k].n_callers > 3);
            REQUIRE(events[k].age_ms == k / 2 * 10 + (k % 2) * 10);
            REQUIRE(k % 2 == 1 || events[k].bytes == 100000 + (size_t)i - k / 2);
        }
        REQUIRE(ration_history((char *)p + 50, events, 1) == 1);
        REQUIRE(ration_history(p, events, 0) == 0);
        free_fast(p);
        REQUIRE(record_requested((uintptr_t)p) == SIZE_MAX);
    }
    REQUIRE(ration_history(&conf, events, MOST) == 0 && ration_history(NULL, events, MOST) == 0);
}

/* The rings forget, the last allocation and free stay. */
static void forgotten(void *arg)
{
    struct ration_history_event events[10];
    (void)arg;
    start();
    void *p = get(100);
    void *q = core_realloc(p, 70000, "realloc");
    for (int i = 0; i < 10000; i++)
        free_fast(get(500));
    REQUIRE(ration_history(p, events, 10) == 2 && events[0].kind == RATION_HISTORY_FREED);
    REQUIRE(events[1].bytes == 100);
    REQUIRE(ration_history((char *)q + 65000, events, 10) == 1 && events[0].bytes == 70000);
    REQUIRE(core_realloc(q, SIZE_MAX / 2, "realloc") == NULL);
    REQUIRE(record_requested((uintptr_t)q) == 70000);
}

static const char *require_next(const char *at, const char *words)
{
    at = strstr(at, words);
    REQUIRE(at != NULL);
    return at + strlen(words);
}

static void report(void *arg)
{
    (void)arg;
    start();
    char *p = get(100);
    fake.now_ms += 1234;
    free_fast(p);
    fake.now_ms += 50;
    free_fast(p);
    const char *at = require_next(fake.message, "ration: double free at 0x");
    at = require_next(at, "\n  allocated by thread ");
    at = require_next(at, ", 1.284 s ago, 100 bytes, from\n    #0 ");
    at = require_next(at, "\n  first freed by thread ");
    at = require_next(at, ", 0.050 s ago, from\n    #0 ");
    at = require_next(at, "\n  freed again by thread ");
    at = require_next(at, ", now, from\n    #0 ");
    require_next(at, "\n  thread ");
    fake_os_clear();
    REQUIRE(core_usable(p, "malloc_usable_size") == 0);
    at = require_next(fake.message, "ration: use after free at 0x");
    at = require_next(at, "\n  allocated by thread ");
    at = require_next(at, "\n  freed by thread ");
    require_next(at, "\n  this call is made by thread ");
    fake_os_clear();
    p = get(100);
    free_fast(p + 16);
    at = require_next(fake.message, "ration: interior free at 0x");
    at = require_next(at, "\n  allocated by thread ");
    require_next(at, "\n  this call is made by thread ");
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(history)
IN_CHILD(forgotten)
IN_CHILD(report)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
