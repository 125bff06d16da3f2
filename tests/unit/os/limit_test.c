/* os/limit: groups of both versions, limits of groups above, what is no limit, damaged files. */
#include "os/limit.h"

#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>

#define V2 "/sys/fs/cgroup"
#define V1 "/sys/fs/cgroup/memory"

static int file_count;

static void file(const char *path, const char *text)
{
    fake.files[file_count++] = (struct fake_file){path, text};
}

static int start(void **state)
{
    (void)state;
    fake_os_install();
    file_count = 0;
    limit_forget();
    return 0;
}

static void test_version_2(void **state)
{
    (void)state;
    file("/proc/self/cgroup", "0::/system.slice/my.service\n");
    file(V2 "/system.slice/my.service/memory.high", "800000\n");
    file(V2 "/system.slice/my.service/memory.max", "max\n");
    file(V2 "/system.slice/my.service/memory.stat", "anon 700000\nfile 99999999\n");
    assert_false(limit_is_near()); /* not above seven eighths */
    fake.files[3].text = "anon 700001\nfile 0\n";
    assert_true(limit_is_near());
    fake.files[1].text = "max\n"; /* the limit is lifted while we run */
    assert_false(limit_is_near());
    fake.files[2].text = "700002\n";
    assert_true(limit_is_near());
}

static void test_container_root(void **state)
{
    (void)state;
    file("/proc/self/cgroup", "0::/\n");
    file(V2 "/memory.max", "1000\n");
    file(V2 "/memory.stat", "anon 999\n");
    assert_true(limit_is_near());
}

static void test_limit_of_a_group_above(void **state)
{
    (void)state;
    file("/proc/self/cgroup", "0::/a/b/c\n");
    file(V2 "/a/b/c/memory.max", "max\n");
    file(V2 "/a/memory.max", "1000\n");
    file(V2 "/a/memory.stat", "anon 990\n");
    file(V2 "/a/b/c/memory.stat", "anon 1\n");
    assert_true(limit_is_near());
}

static void test_version_1(void **state)
{
    (void)state;
    file("/proc/self/cgroup", "5:devices:/\n4:memory:/docker/abc\n0::/\n");
    file(V1 "/docker/abc/memory.limit_in_bytes", "8000\n");
    file(V1 "/docker/abc/memory.stat", "cache 99999\nrss 1\ntotal_cache 99999\ntotal_rss 7001\n");
    assert_true(limit_is_near());
    fake.files[2].text = "cache 99999\nrss 9999\ntotal_rss 7000\n";
    assert_false(limit_is_near());
    fake.files[1].text = "9223372036854771712\n";
    assert_false(limit_is_near());
}

/* A container sees its own group as the root of the mount, under another name than /proc tells. */
static void test_version_1_seen_from_inside(void **state)
{
    (void)state;
    file("/proc/self/cgroup", "4:memory:/docker/abc\n");
    file(V1 "/memory.limit_in_bytes", "8000\n");
    file(V1 "/memory.stat", "rss 1\ntotal_rss 7001\n");
    assert_true(limit_is_near());
}

static void test_no_limit(void **state)
{
    (void)state;
    assert_false(limit_is_near()); /* nothing can be read */
    unsigned long reads = fake.calls[ENTRY_READ_FILE];
    assert_false(limit_is_near());
    assert_int_equal(fake.calls[ENTRY_READ_FILE], reads); /* and nobody asks again */

    limit_forget();
    file("/proc/self/cgroup", "4:memory:/\n0::/\n");
    file(V1 "/memory.limit_in_bytes", "9223372036854771712\n");
    file(V1 "/memory.stat", "total_rss 99\n");
    assert_false(limit_is_near());
}

static void test_damaged_files(void **state)
{
    (void)state;
    static char long_path[900] = "0::/";
    memset(long_path + 4, 'x', sizeof long_path - 5);
    static const char *const damaged[] = {"",         "0::",   "\n\n\n", "0::/a//",
                                          ":memory:", "0::/a", long_path};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        start(NULL);
        file("/proc/self/cgroup", damaged[i]);
        assert_false(limit_is_near());
    }
    start(NULL);
    file("/proc/self/cgroup", "0::/a\n");
    file(V2 "/a/memory.max", "1000\n");
    static const char *const stats[] = {"", "anon", "anon x\n", "anonymous 2000\n"};
    file(V2 "/a/memory.stat", "");
    for (size_t i = 0; i < sizeof stats / sizeof *stats; i++) {
        fake.files[2].text = stats[i];
        assert_false(limit_is_near());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_version_2, start),
        cmocka_unit_test_setup(test_container_root, start),
        cmocka_unit_test_setup(test_limit_of_a_group_above, start),
        cmocka_unit_test_setup(test_version_1, start),
        cmocka_unit_test_setup(test_version_1_seen_from_inside, start),
        cmocka_unit_test_setup(test_no_limit, start),
        cmocka_unit_test_setup(test_damaged_files, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
