/* core/free: usable size and sized free of everything that is and is not a block; trim. */
#include "core/core.h"
#include "core/fast_path.h"
#include "span/span.h"
#include "support/heap.h"

#include <errno.h>
#include <string.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
}

extern char __libc_single_threaded;

static void require_report(const char *kind)
{
    char first[64] = "ration: ";
    strcat(strcat(first, kind), " at 0x");
    if (strncmp(fake.message, first, strlen(first)) != 0)
        require_failed(fake.message, kind, 0);
    fake_os_clear();
}

static void ask_usable(void *arg)
{
    (void)arg;
    start();
    REQUIRE(core_usable(NULL, "malloc_usable_size") == 0 && fake.message_writes == 0);
    char *small = malloc_fast(100);
    char *large = malloc_fast(100000);
    REQUIRE(core_usable(small, "malloc_usable_size") == core_good_size(100));
    REQUIRE(core_usable(large, "malloc_usable_size") == core_good_size(100000));
    REQUIRE(core_usable(small + 16, "malloc_usable_size") == 0);
    require_report("interior free");
    REQUIRE(core_usable(large + 4096, "malloc_usable_size") == 0);
    require_report("interior free");
    REQUIRE(core_usable(small + 1, "malloc_usable_size") == 0);
    require_report("misaligned free");
    REQUIRE(core_usable(&small, "malloc_usable_size") == 0);
    require_report("invalid free");
    free_fast(small);
    free_fast(large);
    REQUIRE(core_usable(small, "malloc_usable_size") == 0);
    require_report("use after free");
    REQUIRE(core_usable(large, "malloc_usable_size") == 0);
    require_report("use after free");
}

static void test_usable(void **state)
{
    (void)state;
    require_in_child(ask_usable, NULL);
}

static void free_with_sizes(void *arg)
{
    (void)arg;
    start();
    for (size_t align = 1; align <= 65536; align *= 2) {
        for (size_t n = 1; n < 200000; n = n * 2 + align / 3 + 1) {
            void *p = core_aligned(align, n);
            core_free_sized(p, n, align, "free_aligned_sized");
            REQUIRE(fake.message_writes == 0 && heap_live_blocks() == 0);
        }
    }
    core_free_sized(NULL, 12345, 0, "free_sized");
    char *large = malloc_fast(100000);
    core_free_sized(large, 10, 0, "free_sized");
    require_report("size mismatch");
    core_free_sized(large, 200000, 0, "free_sized");
    require_report("size mismatch");
    core_free_sized(large + 8192, 100000, 0, "free_sized");
    require_report("interior free");
    REQUIRE(heap_live_blocks() == 1);
    core_free_sized(large, 100000, 0, "free_sized");
    core_free_sized(large, 100000, 0, "free_sized");
    require_report("double free");
    core_free_sized(&large, 8, 0, "free_sized");
    require_report("invalid free");
    REQUIRE_SOUND();
}

static void test_sized(void **state)
{
    (void)state;
    require_in_child(free_with_sizes, NULL);
}

/* Alone a thread needs no exchange to tell the second free. */
static void free_wide_twice(void *arg)
{
    start();
    __libc_single_threaded = arg == NULL;
    for (size_t n = NARROW_MAX + 1; n <= SMALL_MAX; n += 1000) {
        char *p = malloc_fast(n);
        free_fast(p);
        free_fast(p);
        require_report("double free");
        REQUIRE(malloc_fast(n) == p && malloc_fast(n) != p);
        free_fast(p + 1);
        require_report("misaligned free");
    }
    REQUIRE_SOUND();
}

static void test_wide_twice(void **state)
{
    (void)state;
    require_in_child(free_wide_twice, NULL);
    require_in_child(free_wide_twice, state); /* with threads */
}

/* An event may start a purge; errno is the program's all the same. */
static void keep_errno(void *arg)
{
    (void)arg;
    start();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_PURGE) | ENTRY_BIT(ENTRY_PAGES_UNMAP);
    static void *blocks[5000];
    for (int i = 0; i < 5000; i++)
        blocks[i] = malloc_fast(1000);
    errno = 31337;
    for (int i = 0; i < 5000; i++) {
        fake.now_ms += 10;
        free_fast(blocks[i]);
        REQUIRE(errno == 31337);
    }
    free_fast(malloc_fast(MIB(20)));
    free_fast(&errno);
    REQUIRE(errno == 31337);
    require_report("invalid free");
}

static void test_errno(void **state)
{
    (void)state;
    require_in_child(keep_errno, NULL);
}

static void trim_all(void *arg)
{
    (void)arg;
    start();
    REQUIRE(!core_trim()); /* nothing was ever used */
    static void *blocks[20000];
    for (int i = 0; i < 20000; i++)
        blocks[i] = memset(malloc_fast(1000), 1, 1000);
    void *large = memset(malloc_fast(MIB(2)), 1, MIB(2));
    fake_os_clear();
    for (int i = 0; i < 20000; i++)
        free_fast(blocks[i]);
    free_fast(large);
    REQUIRE(core_trim());
    REQUIRE(span_dirty_bytes() == 0 && heap_live_blocks() == 0);
    REQUIRE_SOUND();
    REQUIRE(!core_trim()); /* and nothing is left */
    REQUIRE(malloc_fast(1000) != NULL);
    REQUIRE_SOUND();
}

static void test_trim(void **state)
{
    (void)state;
    require_in_child(trim_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usable),     cmocka_unit_test(test_sized),
        cmocka_unit_test(test_wide_twice), cmocka_unit_test(test_errno),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
