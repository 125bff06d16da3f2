/* core/fence: places, contents and sizes; what faults when; the queue; budgets; refusals; F1 to F3. */
#include "core/fence.h"

#include "area/window.h"
#include "base/bits.h"
#include "slab/slab.h"
#include "span/span.h"
#include "support/heap.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t page;

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
    REQUIRE(span_open(&no_slab));
    fence_begin();
    page = os->page_bytes();
}

/* Whether a write of one byte ends a process. */
static bool faults(char *p)
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)p = 1;
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status) || WTERMSIG(status) == SIGSEGV);
    return WIFSIGNALED(status);
}

static size_t bytes_of(const void *p)
{
    size_t bytes = 0;
    REQUIRE(fence_is_live(p, &bytes));
    return bytes;
}

static void require_report(const char *kind, const char *explains)
{
    REQUIRE(fake.message_writes == 1 && strncmp(fake.message, kind, strlen(kind)) == 0);
    REQUIRE(strstr(fake.message, explains) != NULL);
    fake_os_clear();
}

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

static void places(void *arg)
{
    (void)arg;
    start();
    static const size_t sizes[] = {0, 1, 15, 16, 100, 4095, 4096, 4097, 16385, 65536, 1000000};
    for (size_t align = 1; align <= MIB(64); align *= 16) {
        for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
            size_t n = sizes[i / 2];
            enum fence_place place = i % 2 == 0 ? FENCE_AT_START : FENCE_AT_END;
            char *p = fence_alloc(n, align, place, true, true);
            REQUIRE(p != NULL && (uintptr_t)p % max_size(align, 16) == 0);
            REQUIRE(bytes_of(p) == n && is_zero(p, n));
            REQUIRE(place == FENCE_AT_END || (uintptr_t)p % page == 0);
            memset(p, 0x5a, n);
            REQUIRE_SOUND();
            REQUIRE(fence_free(p, "free") && !fence_free(p, "free") && fake.message_writes == 0);
        }
    }
    REQUIRE(fence_live_count() == 0);
    REQUIRE_SOUND();
}

static void what_faults(void *arg)
{
    (void)arg;
    start();
    fake.guards_map = arg != NULL;
    char *p = fence_alloc(3 * page, 1, FENCE_AT_START, true, false);
    REQUIRE(!faults(p) && !faults(p + 3 * page - 1));
    REQUIRE(faults(p - 1) && faults(p + 3 * page));
    char *q = fence_alloc(96, 1, FENCE_AT_END, true, false);
    REQUIRE(!faults(q) && !faults(q + 95) && faults(q + 96));
    REQUIRE(faults(fence_alloc(0, 1, FENCE_AT_END, true, false)));
    memset(p, 1, 3 * page);
    fence_free(p, "free");
    fence_free(q, "free");
    REQUIRE(faults(p) && faults(p + 3 * page - 1) && faults(q));
    char *big = fence_alloc(MIB(9), 1, FENCE_AT_START, true, false);
    fence_free(big, "free");
    REQUIRE(faults(big) && faults(big + MIB(8)) && fake_os_calls(ENTRY_PAGES_UNMAP) == 1);
    REQUIRE_SOUND();
}

static void damage(void *arg)
{
    (void)arg;
    start();
    char *p = fence_alloc(100, 1, FENCE_AT_START, true, false);
    p[100] ^= 1;
    REQUIRE(fence_free(p, "free"));
    require_report(
        "ration: overflow at 0x",
        "asked for 100 bytes and wrote behind them: the first damage is at offset 100\n");
    p = fence_alloc(100, 1, FENCE_AT_END, true, false);
    p[-3] ^= 1;
    REQUIRE(fence_free(p, "free"));
    require_report("ration: overflow at 0x",
                   "before this block: the nearest damage is 3 bytes before it\n");
    p = fence_alloc(100, 1, FENCE_AT_END, true, false);
    p[107] ^= 1;
    REQUIRE(fence_resize(p, 90, "realloc") == NULL && fence_free(p, "free"));
    require_report("ration: overflow at 0x", "at offset 107\n");
    /* Not exact: all of the pages are the program's. */
    p = fence_alloc(100, 1, FENCE_AT_START, false, false);
    REQUIRE(bytes_of(p) == page);
    memset(p, 1, page);
    REQUIRE(fence_free(p, "free") && fake.message_writes == 0);
}

/* Addresses come back after FENCE_HELD_MAX others, as clean pages, or after fewer if they are many. */
static void queue(void *arg)
{
    (void)arg;
    start();
    char *first = fence_alloc(page, 1, FENCE_AT_START, true, false);
    memset(first, 7, page);
    fence_free(first, "free");
    for (int i = 0; i < FENCE_HELD_MAX - 1; i++) {
        char *p = fence_alloc(page, 1, FENCE_AT_START, true, false);
        REQUIRE(p != first);
        fence_free(p, "free");
    }
    REQUIRE(fence_find((uintptr_t)first)->state == FENCE_FREED && faults(first));
    fence_free(fence_alloc(page, 1, FENCE_AT_START, true, false), "free");
    REQUIRE(fence_find((uintptr_t)first) == NULL && !faults(first));
    REQUIRE(fence_alloc(page, 1, FENCE_AT_START, true, false) == first && is_zero(first, page));
    struct span_counts counts;
    char *big = fence_alloc(MIB(600), 1, FENCE_AT_START, true, false);
    fence_free(big, "free");
    fence_free(fence_alloc(MIB(600), 1, FENCE_AT_START, true, false), "free");
    span_count(&counts);
    REQUIRE(fence_find((uintptr_t)big) == NULL && counts.pages[RUN_VOID] >= MIB(600) / page);
    REQUIRE_SOUND();
}

static void resize(void *arg)
{
    fake.refuse |= arg != NULL ? ENTRY_BIT(ENTRY_PAGES_MOVE) : 0;
    start();
    if (arg != NULL)
        fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MOVE);
    char *p = fence_alloc(KIB(200), 1, FENCE_AT_START, true, false);
    pattern_write(p, KIB(200), 1);
    REQUIRE(fence_resize(p, KIB(200) - 50, "realloc") == p && bytes_of(p) == KIB(200) - 50);
    p[KIB(200) - 50] ^= 1;
    REQUIRE(fence_resize(p, KIB(200) - 10, "realloc") == p);
    require_report("ration: overflow at 0x", "first damage is at offset 204750\n");
    REQUIRE(fence_resize(p, KIB(100), "realloc") == NULL && bytes_of(p) == KIB(200) - 10);
    char *q = fence_resize(p, MIB(1), "realloc");
    REQUIRE((q == NULL) == (arg != NULL));
    if (q != NULL) {
        REQUIRE(q != p && bytes_of(q) == MIB(1) && pattern_is(q, KIB(200) - 50, 1) && faults(p));
        p = q;
    }
    REQUIRE(!faults(p) && fence_free(p, "free") && fake.message_writes == 0);
    char *small = fence_alloc(page, 1, FENCE_AT_START, true, false);
    REQUIRE(fence_resize(small, 2 * page, "realloc") == NULL && bytes_of(small) == page);
    REQUIRE_SOUND();
}

/* Without marks each guard takes mappings, and there is an end to them. */
static void budget(void *arg)
{
    (void)arg;
    start();
    fake.guards_map = true;
    conf.guard_mappings = 4;
    char *guarded = fence_alloc(page, 1, FENCE_AT_START, true, false);
    char *bare = fence_alloc(100, 1, FENCE_AT_START, true, false);
    REQUIRE(faults(guarded + page) && faults(guarded - 1) && !faults(bare + page));
    bare[100] ^= 1; /* the slack is checked all the same */
    fence_free(bare, "free");
    require_report("ration: overflow at 0x", "offset 100\n");
    REQUIRE(!faults(bare));
    fence_free(guarded, "free");
    conf.guard_mappings = 16384;
    for (int i = 0; i < FENCE_HELD_MAX; i++)
        fence_free(fence_alloc(page, 1, FENCE_AT_START, true, false), "free");
    REQUIRE(fence_find((uintptr_t)guarded) == NULL && !faults(guarded) && !faults(guarded - 1));
    REQUIRE_SOUND();
}

static void refusals(void *arg)
{
    (void)arg;
    start();
    char *p = fence_alloc(MIB(1), 1, FENCE_AT_START, true, true);
    fence_free(p, "free");
    /* What waits in the queue is taken before memory counts as out. */
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    fence_free(fence_alloc(KIB(500), 1, FENCE_AT_START, true, false), "free");
    REQUIRE(fence_alloc(MIB(900), 1, FENCE_AT_START, true, false) == NULL);
    REQUIRE(fence_find((uintptr_t)p) == NULL);
    REQUIRE_SOUND();
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    /* Guards that cannot be taken away keep their addresses out of use. */
    fence_free(fence_alloc(page, 1, FENCE_AT_START, true, false), "free");
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_UNGUARD);
    for (int i = 0; i < FENCE_HELD_MAX; i++)
        fence_free(fence_alloc(page, 1, FENCE_AT_START, true, false), "free");
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_GUARD);
    p = fence_alloc(page, 1, FENCE_AT_START, true, false);
    memset(p, 1, page);
    REQUIRE(!faults(p + page) && fence_free(p, "free") && !faults(p));
    REQUIRE_SOUND();
}

static struct fence *record_of(const char *p)
{
    return (struct fence *)(uintptr_t)fence_find((uintptr_t)p);
}

static void broken(void *arg)
{
    (void)arg;
    start();
    char *p = fence_alloc(page, 1, FENCE_AT_START, true, false);
    char *q = fence_alloc(page, 1, FENCE_AT_START, true, false);
    fence_free(q, "free");
    struct fence *live = record_of(p);
    struct fence *freed = record_of(q);
    REQUIRE(fence_check() == 0);
    live->bytes += 2 * page;
    REQUIRE(fence_check() == 1);
    live->bytes -= 2 * page;
    live->page_bytes += page;
    REQUIRE(fence_check() == 1);
    live->page_bytes -= page;
    live->start -= 16;
    REQUIRE(fence_check() == 1);
    live->start += 16;
    live->pages += page;
    REQUIRE(fence_check() == 2);
    live->pages -= page;
    freed->whole_bytes += page;
    REQUIRE(fence_check() == 3);
    freed->whole_bytes -= page;
    REQUIRE(fence_check() == 0);
}

#define TEST_IN_CHILD(name, body, arg)                                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, arg);                                                               \
    }
static int yes;
TEST_IN_CHILD(test_places, places, NULL)
TEST_IN_CHILD(test_faults, what_faults, NULL)
TEST_IN_CHILD(test_faults_by_mappings, what_faults, &yes)
TEST_IN_CHILD(test_damage, damage, NULL)
TEST_IN_CHILD(test_queue, queue, NULL)
TEST_IN_CHILD(test_resize, resize, NULL)
TEST_IN_CHILD(test_resize_refused, resize, &yes)
TEST_IN_CHILD(test_budget, budget, NULL)
TEST_IN_CHILD(test_refusals, refusals, NULL)
TEST_IN_CHILD(test_broken, broken, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_by_mappings),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_resize_refused),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
