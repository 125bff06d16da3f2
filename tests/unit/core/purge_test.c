/* core/purge: what is old goes back and what is young stays, under every setting; refused calls;
 * the helper thread. */
#include "core/purge.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "os/limit.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BLOCKS = 20000, SIZE = 1000, LEASED = 600 };
static unsigned char *blocks[BLOCKS];

static void start(int delay)
{
    fake_os_install();
    heap_go_on_after_misuse();
    conf.purge_delay = delay;
    conf.purge_thread = 0;
}

static size_t resident_bytes(void)
{
    unsigned long all;
    unsigned long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    REQUIRE(f != NULL && fscanf(f, "%lu %lu", &all, &resident) == 2);
    fclose(f);
    return resident * os_linux.page_bytes();
}

static void allocate(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        pattern_write(blocks[i] = malloc_fast(SIZE), SIZE, i);
}

static bool is_kept(size_t i)
{
    return i % 10 == 0;
}

/* Swiss cheese in rows: whole pages become free, whole slabs do not. */
static void free_most(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (!is_kept(i / 8))
            free_fast(blocks[i]);
    }
}

static void require_kept(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        REQUIRE(!is_kept(i / 8) || pattern_is(blocks[i], SIZE, i));
    REQUIRE_SOUND();
}

static void *free_in_thread(void *arg)
{
    static void *p[LEASED];
    for (size_t i = 0; i < LEASED; i++)
        memset(p[i] = malloc_fast(i % 30 * 64), 1, i % 30 * 64);
    for (size_t i = 0; i < LEASED; i++)
        free_fast(p[i]);
    return arg;
}

/* An ended thread's leases are old at half the delay, and what is free in them at one and a half. */
static void end_rests(void *arg)
{
    (void)arg;
    start(500);
    malloc_fast(1);
    run_in_thread(free_in_thread, NULL);
    size_t full = resident_bytes();
    uint64_t ended = fake.now_ms;
    fake.now_ms = ended + 249;
    purge_note(MIB(1)); /* too early for a pass */
    REQUIRE(all_caches.first->bins[class_of(64)].slab != NULL);
    fake.now_ms = ended + 500;
    purge_note(MIB(1));
    REQUIRE(all_caches.first->bins[class_of(64)].slab == NULL);
    fake.now_ms = ended + 1000;
    purge_note(MIB(1));
    REQUIRE(resident_bytes() + KIB(256) < full);
    REQUIRE_SOUND();
}

static void test_rests(void **state)
{
    (void)state;
    require_in_child(end_rests, NULL);
}

static void free_everything(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (is_kept(i / 8))
            free_fast(blocks[i]);
    }
}

static void give_back_by_age(void *arg)
{
    (void)arg;
    start(500);
    allocate();
    size_t full = resident_bytes();
    free_most();
    fake.now_ms += 499;
    fake_os_clear();
    purge_note(MIB(2));
    REQUIRE(fake_os_calls(ENTRY_PAGES_PURGE) == 0 ||
            resident_bytes() + MIB(1) > full); /* too young */
    fake.now_ms += 600;
    purge_note(MIB(2));
    REQUIRE(resident_bytes() + MIB(10) < full); /* of 18 MB in free blocks */
    require_kept();
    fake_os_clear();
    purge_note(MIB(2)); /* no second pass in the same moment */
    REQUIRE(fake_os_calls(ENTRY_PAGES_PURGE) == 0);
    free_everything();
    REQUIRE_SOUND();
    REQUIRE(heap_live_blocks() == 0);
}

static void test_by_age(void **state)
{
    (void)state;
    require_in_child(give_back_by_age, NULL);
}

static void give_back_never(void *arg)
{
    (void)arg;
    start(-1);
    allocate();
    fake_os_clear();
    free_most();
    fake.now_ms += 1000000;
    for (int i = 0; i < 10; i++)
        purge_note(MIB(100));
    REQUIRE(fake.purged_count == 0 && fake_os_calls(ENTRY_PAGES_UNMAP) == 0);
    REQUIRE(purge_all() > MIB(10)); /* asked for, it does */
    require_kept();
}

static void test_never(void **state)
{
    (void)state;
    require_in_child(give_back_never, NULL);
}

/* Everything, however young, once the control group is near its limit. */
static void give_back_near_limit(void *arg)
{
    bool near = arg != NULL;
    start(1000);
    fake.files[0] = (struct fake_file){"/proc/self/cgroup", "0::/box\n"};
    fake.files[1] = (struct fake_file){"/sys/fs/cgroup/box/memory.high", "100000000\n"};
    fake.files[2] = (struct fake_file){"/sys/fs/cgroup/box/memory.stat", "anon 10000000\n"};
    limit_forget();
    allocate();
    purge_note(MIB(100)); /* a pass */
    fake.now_ms += 1000;
    if (near)
        fake.files[2].text = "anon 90000000\n";
    fake_os_clear();
    free_most();
    purge_note(MIB(100)); /* another; what was freed just now is too young for it */
    REQUIRE((fake.purged_count > 0) == near);
    require_kept();
}

static void test_near_limit(void **state)
{
    (void)state;
    require_in_child(give_back_near_limit, NULL);
    require_in_child(give_back_near_limit, (void *)1);
}

static void give_back_at_once(void *arg)
{
    (void)arg;
    start(0);
    allocate();
    size_t full = resident_bytes();
    free_most(); /* the clock stands still */
    REQUIRE(resident_bytes() + MIB(10) < full);
    require_kept();
}

static void test_at_once(void **state)
{
    (void)state;
    require_in_child(give_back_at_once, NULL);
}

/* Whatever the system does not take back stays valid, and goes back the next time. */
static void refuse_purges(void *arg)
{
    unsigned long n = *(const unsigned long *)arg;
    start(500);
    allocate();
    free_most();
    core_trim(); /* leases are back on their shelves */
    allocate();
    free_most();
    fake_os_fail(ENTRY_BIT(ENTRY_PAGES_PURGE) | ENTRY_BIT(ENTRY_PAGES_UNMAP), n, n == 1);
    purge_all();
    require_kept();
    fake_os_fail(0, 0, false);
    for (size_t i = 0; i < BLOCKS / 4; i++) { /* what was not purged is not taken for zero */
        const unsigned char *p = calloc_fast(1, SIZE);
        for (size_t k = 0; k < SIZE; k++)
            REQUIRE(p[k] == 0);
    }
    purge_all();
    REQUIRE(span_dirty_bytes() == 0);
    require_kept();
    REQUIRE(purge_all() == 0);
}

static void test_refused(void **state)
{
    (void)state;
    for (unsigned long n = 1; n <= 6; n++)
        require_in_child(refuse_purges, &n);
}

/* Purged pages are handed out again, as zero memory where calloc trusts it. */
static void use_again(void *arg)
{
    (void)arg;
    start(500);
    allocate();
    free_most();
    core_trim();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            if (is_kept(i / 8))
                continue;
            blocks[i] = calloc_fast(1, SIZE);
            for (size_t k = 0; k < SIZE; k++)
                REQUIRE(blocks[i][k] == 0);
            memset(blocks[i], 0xff, SIZE);
        }
        require_kept();
        free_most();
        core_trim();
    }
}

static void test_use_again(void **state)
{
    (void)state;
    require_in_child(use_again, NULL);
}

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* The real helper: an idle process gives back by itself, and then has no thread more than before.
 */
static void idle(void *arg)
{
    (void)arg;
    start(40);
    conf.purge_thread = 1;
    fake.refuse = 0;
    fake.clock_by_hand = false;
    for (int round = 0; round < 3; round++) {
        allocate();
        size_t full = resident_bytes();
        free_most();
        REQUIRE(fake_os_calls(ENTRY_HELPER_START) >= 1);
        for (int i = 0; i < 200 && resident_bytes() + MIB(10) > full; i++)
            nap(20);
        REQUIRE(resident_bytes() + MIB(10) <= full);
        require_kept();
        free_everything();
    }
    for (int i = 0; i < 400; i++) {
        unsigned long threads = 0;
        char line[256];
        FILE *f = fopen("/proc/self/status", "re");
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            sscanf(line, "Threads: %lu", &threads);
        fclose(f);
        if (threads == 1)
            return;
        nap(20);
    }
    REQUIRE(!"the helper goes when nothing is left to do");
}

static void test_idle(void **state)
{
    (void)state;
    require_in_child(idle, NULL);
}

/* The helper as a script: what happens in each of its sleeps. Much is freed just before the pass
 * after which it would have gone for want of work: it stays until that is old enough. */
static int sleeps;

static void sleep_by_script(uint32_t *word, uint32_t expected, int timeout_ms)
{
    (void)word;
    (void)expected;
    fake.now_ms += (unsigned)timeout_ms;
    sleeps++;
    if (sleeps == *fake.script)
        free_most();
    REQUIRE(sleeps < 50);
}

static void free_late(void *arg)
{
    start(40);
    conf.purge_thread = 1;
    fake.refuse = 0;
    fake.capture_helper = true;
    fake.on_wait = sleep_by_script;
    fake.script = arg;
    allocate();
    size_t full = resident_bytes();
    purge_note(MIB(2));
    REQUIRE(fake.helper_entry != NULL);
    fake.helper_entry(NULL); /* until it goes */
    REQUIRE(sleeps >= *fake.script && resident_bytes() + MIB(10) < full);
    require_kept();
}

static void test_free_late(void **state)
{
    (void)state;
    for (int when = 1; when <= 3; when++)
        require_in_child(free_late, &when);
}

/* A system that refuses the helper: asked once, then the freeing threads do it. */
static void without_helper(void *arg)
{
    (void)arg;
    start(100);
    conf.purge_thread = 1;
    for (int round = 0; round < 3; round++) {
        allocate();
        size_t full = resident_bytes();
        free_most();
        fake.now_ms += 1000;
        purge_note(MIB(2));
        REQUIRE(resident_bytes() + MIB(10) < full);
        require_kept();
        free_everything();
    }
    REQUIRE(fake_os_calls(ENTRY_HELPER_START) == 1);
}

static void test_without_helper(void **state)
{
    (void)state;
    require_in_child(without_helper, NULL);
}

/* A thread that grows while long runs lie dirty purges some, but no more at once than takes 200 us, however long the
 * runs are. */
static void grow_beside_long_runs(void *arg)
{
    size_t run_bytes = *(const size_t *)arg;
    enum { RUNS = 16, GROWTHS = 32, AT_MOST = 256 };
    static void *runs[RUNS];
    start(500);
    for (size_t i = 0; i < RUNS; i++)
        runs[i] = malloc_fast(run_bytes);
    for (size_t i = 0; i < RUNS; i += 2)
        free_fast(runs[i]);
    size_t purged = 0;
    for (size_t i = 0; i < GROWTHS; i++) {
        fake_os_clear();
        REQUIRE(malloc_fast(run_bytes + MIB(1)) != NULL);
        size_t now = 0;
        for (size_t k = 0; k < fake.purged_count; k++)
            now += fake.purged[k].bytes;
        REQUIRE(now >> page_shift <= AT_MOST && fake_os_calls(ENTRY_PAGES_UNMAP) == 0);
        purged += now;
    }
    REQUIRE(purged > 0);
    REQUIRE_SOUND();
}

static void test_growth_purges_little_at_once(void **state)
{
    (void)state;
    for (size_t bytes = MIB(1); bytes <= MIB(16); bytes *= 4)
        require_in_child(grow_beside_long_runs, &bytes);
}

/* Slabs that a pass finds empty are retired by it, later than it began: their runs go back with it. */
static void trim_while_time_passes(void *arg)
{
    (void)arg;
    start(500);
    fake.clock_by_hand = true;
    fake.ms_a_look = 1;
    free_fast(malloc_fast(SIZE));
    REQUIRE(core_trim() && !core_trim());
    REQUIRE(span_dirty_bytes() == 0);
    REQUIRE_SOUND();
}

static void test_trim_is_whole(void **state)
{
    (void)state;
    require_in_child(trim_while_time_passes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_age),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_rests),
        cmocka_unit_test(test_near_limit),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_use_again),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_free_late),
        cmocka_unit_test(test_without_helper),
        cmocka_unit_test(test_growth_purges_little_at_once),
        cmocka_unit_test(test_trim_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
