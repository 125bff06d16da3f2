/* core/fault: what is said about each place of an access, and that nothing is watched without need. */
#include "core/fault.h"

#include "core/fence.h"
#include "core/harden.h"
#include "slab/slab.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>

static size_t page;

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
    REQUIRE(span_open(&no_slab));
    page = os->page_bytes();
}

static void require_text(const char *kind, const char *p, const char *word, const char *at,
                         const char *place, size_t bytes)
{
    char first[128];
    char second[160];
    snprintf(first, sizeof first, "ration: %s at 0x%lx by a %s\n", kind,
             (unsigned long)(uintptr_t)p, word);
    snprintf(second, sizeof second, "  the address is 0x%lx: %s, which has %zu bytes\n",
             (unsigned long)(uintptr_t)at, place, bytes);
    REQUIRE(fake.message_writes == 1 && strncmp(fake.message, first, strlen(first)) == 0);
    REQUIRE(strncmp(fake.message + strlen(first), second, strlen(second)) == 0);
    REQUIRE(strstr(fake.message, "the fault takes its course now") != NULL);
}

static void explains(void *arg)
{
    (void)arg;
    start();
    fence_begin();
    size_t bytes = 5 * page - 480;
    char *p = fence_alloc(bytes, 1, FENCE_AT_START, true, false);
    fault_explain((uintptr_t)p - 1, OS_ACCESS_WRITE);
    require_text("overflow", p, "write", p - 1, "1 byte before the block", bytes);
    REQUIRE(strstr(fake.message, "  the block is live; allocated by thread ") != NULL &&
            strstr(fake.message, ", 0 ms ago\n") != NULL && strstr(fake.message, "freed") == NULL);
    fake_os_clear();
    fault_explain((uintptr_t)p + 5 * page, OS_ACCESS_READ);
    require_text("overflow", p, "read", p + 5 * page, "480 bytes behind the end of the block",
                 bytes);
    fake_os_clear();
    fake.now_ms += 7;
    fence_free(p, "free");
    fake.now_ms += 11;
    fault_explain((uintptr_t)p + 5, OS_ACCESS_UNKNOWN);
    require_text("use after free", p, "access", p + 5, "5 bytes into the block", bytes);
    REQUIRE(strstr(fake.message, ", 18 ms ago; freed by thread ") != NULL &&
            strstr(fake.message, ", 11 ms ago\n") != NULL);
}

static NOINLINE char *make_one(void)
{
    char *p = fence_alloc(100, 1, FENCE_AT_END, true, false);
    __asm__ volatile("" : "+r"(p)); /* no tail call: this function shall be a caller */
    return p;
}

static void with_stacks(void *arg)
{
    (void)arg;
    start();
    fence_begin();
    REQUIRE(fence_keep_callers());
    char *p = make_one();
    fence_free(p, "free");
    fault_explain((uintptr_t)p, OS_ACCESS_WRITE);
    const char *allocated = strstr(fake.message, "\n  allocated from\n    #0 ");
    const char *freed = strstr(fake.message, "\n  freed from\n    #0 ");
    const char *used = strstr(fake.message, "\n  now used from\n    #0 ");
    REQUIRE(allocated != NULL && freed > allocated && used > freed);
    REQUIRE(strstr(allocated, "unit_core_fault+0x") != NULL);
}

static void void_run(void *arg)
{
    (void)arg;
    start();
    bool is_zero;
    char *p = span_alloc(16 << 20, 1, RUN_LARGE, &is_zero);
    span_release((uintptr_t)p, RUN_LARGE);
    fault_explain((uintptr_t)p, OS_ACCESS_READ);
    fault_explain((uintptr_t)&page, OS_ACCESS_READ);
    fault_explain(0, OS_ACCESS_READ);
    REQUIRE(fake.message_writes == 0); /* no fault of ours */
    span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX);
    fault_explain((uintptr_t)p + 9, OS_ACCESS_READ);
    REQUIRE(fake.message_writes == 1 && strstr(fake.message, "ration: use after free at 0x") &&
            strstr(fake.message, "went back to the system: a free run of 16777216 bytes"));
}

static void watches(void *arg)
{
    (void)arg;
    start();
    fault_watch();
    REQUIRE(fake_os_calls(ENTRY_FAULTS_WATCH) == 0);
    REQUIRE(harden_begin(HARDEN_FULL));
    REQUIRE(fake_os_calls(ENTRY_FAULTS_WATCH) == 0); /* not before there is a guard */
    fence_alloc(1, 1, FENCE_AT_END, true, false);
    fence_alloc(1, 1, FENCE_AT_END, true, false);
    REQUIRE(fake_os_calls(ENTRY_FAULTS_WATCH) == 1 && fake.on_fault == fault_explain);
}

static void under_fast(void *arg)
{
    (void)arg;
    start();
    REQUIRE(harden_begin(HARDEN_FAST));
    fence_alloc(1, 1, FENCE_AT_END, true, false);
    REQUIRE(fake_os_calls(ENTRY_FAULTS_WATCH) == 0);
}

static void test_explains(void **state)
{
    (void)state;
    require_in_child(explains, NULL);
    require_in_child(with_stacks, NULL);
}

static void test_void_run(void **state)
{
    (void)state;
    require_in_child(void_run, NULL);
}

static void test_watch(void **state)
{
    (void)state;
    require_in_child(watches, NULL);
    require_in_child(under_fast, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explains),
        cmocka_unit_test(test_void_run),
        cmocka_unit_test(test_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
