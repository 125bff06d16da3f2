/* os/os_linux: every entry of the platform table against the kernel, and the rule that errno is
 * never touched. */
#include "base/bits.h"
#include "os/os.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static size_t page;

static int setup(void **state)
{
    (void)state;
    page = os_linux.page_bytes();
    errno = 777;
    return 0;
}

static int errno_is_untouched(void **state)
{
    (void)state;
    return errno == 777 ? 0 : -1;
}

static size_t resident_pages(void *start, size_t pages)
{
    unsigned char there[64];
    REQUIRE(pages <= sizeof there && mincore(start, pages * page, there) == 0);
    size_t n = 0;
    for (size_t i = 0; i < pages; i++)
        n += there[i] & 1;
    return n;
}

static void require_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        REQUIRE(p[i] == 0);
}

static void test_page_bytes(void **state)
{
    (void)state;
    assert_int_equal(page, sysconf(_SC_PAGESIZE));
    assert_ptr_equal(os, &os_linux);
}

static void test_map(void **state)
{
    (void)state;
    char *p = os_linux.pages_map((void *)page, 4 * page, OS_MAP_ANYWHERE);
    assert_non_null(p);
    require_zero(p, 4 * page);
    memset(p, 1, 4 * page);
    assert_null(os_linux.pages_map(p + page, page, OS_MAP_EXACT)); /* taken */
    assert_int_equal(p[page], 1);
    assert_ptr_equal(os_linux.pages_map(p + page, page, OS_MAP_OVER), p + page);
    require_zero(p + page, page);
    assert_int_equal(p[0] + p[2 * page], 2);
    assert_true(os_linux.pages_unmap(p + page, page));
    assert_ptr_equal(os_linux.pages_map(p + page, page, OS_MAP_EXACT), p + page);
    memset(p + page, 1, page);
    assert_true(os_linux.pages_unmap(p, 4 * page));
    assert_false(os_linux.pages_unmap(p + 1, page));
    assert_null(os_linux.pages_map(NULL, SIZE_MAX / 2 + 1, OS_MAP_ANYWHERE));
}

static void touch(void *p)
{
    *(volatile char *)p = 1;
}

static void test_reserve(void **state)
{
    (void)state;
    char *p = os_linux.pages_map(NULL, MIB(64), OS_MAP_RESERVE);
    assert_non_null(p);
    int status = run_in_child(touch, p);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_ptr_equal(os_linux.pages_map(p + MIB(1), page, OS_MAP_OVER), p + MIB(1));
    touch(p + MIB(1));
    assert_true(os_linux.pages_unmap(p, MIB(64)));
    errno = 777; /* fork may have set it */
}

/* One range, two, and more than one system call takes; ranges apart and touching. */
static void test_purge(void **state)
{
    (void)state;
    enum { PAGES = 1200 };
    char *p = os_linux.pages_map(NULL, PAGES * page, OS_MAP_ANYWHERE);
    static struct os_range ranges[PAGES / 2];
    static const size_t counts[] = {0, 1, 2, 255, 256, 257, PAGES / 2};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        memset(p, 1, PAGES * page);
        for (size_t i = 0; i < counts[k]; i++)
            ranges[i] = (struct os_range){p + 2 * i * page, page};
        size_t calls = 0;
        assert_int_equal(os_linux.pages_purge(ranges, counts[k], &calls), counts[k]);
        assert_true(calls >= (counts[k] + 255) / 256 && calls <= counts[k] + 1);
        for (size_t i = 0; i < counts[k]; i++) {
            assert_int_equal(resident_pages(p + 2 * i * page, 1), 0);
            assert_int_equal(p[(2 * i + 1) * page], 1);
            require_zero(p + 2 * i * page, page);
        }
    }
    /* a range that is not mapped ends it: the ones before are done, and counted */
    memset(p, 1, PAGES * page);
    assert_true(os_linux.pages_unmap(p + 4 * page, page));
    for (size_t i = 0; i < 5; i++)
        ranges[i] = (struct os_range){p + 2 * i * page, page};
    size_t calls = 0;
    assert_int_equal(os_linux.pages_purge(ranges, 5, &calls), 2);
    assert_true(calls > 1);
    require_zero(p, page);
    require_zero(p + 2 * page, page);
    assert_int_equal(p[6 * page], 1);
    os_linux.pages_unmap(p, PAGES * page);
}

static void test_move(void **state)
{
    (void)state;
    char *from = os_linux.pages_map(NULL, 4 * page, OS_MAP_ANYWHERE);
    char *to = os_linux.pages_map(NULL, 8 * page, OS_MAP_ANYWHERE);
    memset(from, 7, 4 * page);
    memset(to, 9, 8 * page);
    assert_true(os_linux.pages_move(from, 4 * page, to, 4 * page));
    for (size_t i = 0; i < 8 * page; i++)
        assert_int_equal(to[i], i < 4 * page ? 7 : 9);
    assert_ptr_equal(os_linux.pages_map(from, 4 * page, OS_MAP_EXACT),
                     from); /* its addresses are free */
    assert_false(os_linux.pages_move(from + 1, page, to, page));
    os_linux.pages_unmap(from, 4 * page);
    os_linux.pages_unmap(to, 8 * page);
}

static void test_advice(void **state)
{
    (void)state;
    os_linux.pages_no_huge(NULL, page); /* refused, and no matter */
    char line[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    bool is_told = f != NULL && fgets(line, sizeof line, f) != NULL;
    if (f != NULL)
        fclose(f);
    enum os_huge expected = OS_HUGE_WHEN_ASKED;
    if (is_told && strstr(line, "[always]") != NULL)
        expected = OS_HUGE_ALWAYS;
    else if (is_told && strstr(line, "[never]") != NULL)
        expected = OS_HUGE_NEVER;
    errno = 777;
    assert_int_equal(os_linux.huge_pages(), expected);
}

/* The first pages of each range count, as many as LOOK_PAGES_MAX; what was only mapped or was purged does not. */
static void test_resident(void **state)
{
    (void)state;
    enum { PAGES = 4 * LOOK_PAGES_MAX };
    char *p = os_linux.pages_map(NULL, PAGES * page, OS_MAP_ANYWHERE);
    assert_non_null(p);
    struct os_range all = {p, PAGES * page};
    struct os_range some[] = {{p, 10 * page},
                              {p + LOOK_PAGES_MAX * page, 3 * LOOK_PAGES_MAX * page}};
    assert_int_equal(os_linux.pages_resident(&all, 1), 0);
    for (size_t i = 0; i < PAGES; i += 2)
        p[i * page] = 1;
    assert_int_equal(os_linux.pages_resident(&all, 1), LOOK_PAGES_MAX / 2);
    assert_int_equal(os_linux.pages_resident(some, 2), 5 + LOOK_PAGES_MAX / 2);
    size_t calls = 0;
    struct os_range first = {p, page};
    assert_int_equal(os_linux.pages_purge(&first, 1, &calls), 1);
    assert_int_equal(os_linux.pages_resident(some, 2), 4 + LOOK_PAGES_MAX / 2);
    assert_int_equal(os_linux.pages_resident(some, 0), 0);
    os_linux.pages_unmap(p, PAGES * page);
}

/* KiB in huge pages of the mapping that holds `at`. */
static long huge_kib(const void *at)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[256];
    bool here = false;
    long kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        uintptr_t start;
        uintptr_t end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = start <= (uintptr_t)at && (uintptr_t)at < end;
        else if (here && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
            break;
    }
    if (f != NULL)
        fclose(f);
    return kib;
}

static void test_huge_page_is_split(void **state)
{
    (void)state;
    size_t huge = MIB(2);
    size_t calls = 0;
    char *range = os_linux.pages_map(NULL, 2 * huge, OS_MAP_ANYWHERE);
    assert_non_null(range);
    char *p = (char *)align_up((uintptr_t)range, huge);
    os_linux.pages_huge(p, huge);
    p[0] = 1;
    p[page] = 2;
    long kib = huge_kib(p);
    if (kib != 0) /* else the system gives none */
        assert_int_equal(kib, 2048);
    struct os_range rest = {p + page, huge - page};
    p[2 * page] = 3;
    os_linux.pages_split(rest.start, rest.bytes);
    assert_int_equal(huge_kib(p), 0);
    assert_true(p[0] == 1 && p[page] == 2 && p[2 * page] == 3);
    assert_int_equal(os_linux.pages_purge(&rest, 1, &calls), 1);
    assert_true(p[0] == 1 && p[page] == 0 && p[2 * page] == 0);
    os_linux.pages_unmap(range, 2 * huge);
}

static void limit_addresses(void *arg)
{
    (void)arg;
    REQUIRE(os_linux.address_space_limit() == SIZE_MAX);
    struct rlimit limit = {.rlim_cur = 123456789, .rlim_max = RLIM_INFINITY};
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    REQUIRE(os_linux.address_space_limit() == 123456789);
}

static void test_limit(void **state)
{
    (void)state;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY)
        skip();
    require_in_child(limit_addresses, NULL);
    errno = 777;
}

static void bind_a_thread(void *arg)
{
    (void)arg;
    cpu_set_t all, one;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    REQUIRE(os_linux.cpu_count() == (unsigned)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (unsigned i = 0; CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    }
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    REQUIRE(os_linux.cpu_count() == 1);
}

static void *count_when_bound(void *count)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    *(unsigned *)count = os_linux.cpu_count();
    return NULL;
}

static void bind_another_thread(void *arg)
{
    (void)arg;
    unsigned count = 0;
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, count_when_bound, &count) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    REQUIRE(count == os_linux.cpu_count());
}

static void test_cpus(void **state)
{
    (void)state;
    require_in_child(bind_a_thread, NULL);
    require_in_child(bind_another_thread, NULL);
}

static void test_clock(void **state)
{
    (void)state;
    uint64_t before = os_linux.now_ms();
    struct timespec t = {0, 50000000};
    nanosleep(&t, NULL);
    uint64_t after = os_linux.now_ms();
    assert_true(after >= before + 40 && after < before + 5000);
}

static void test_random(void **state)
{
    (void)state;
    unsigned char a[48] = {0};
    unsigned char b[48] = {0};
    os_linux.random(a, 40);
    os_linux.random(b, 40);
    assert_memory_not_equal(a, b, 40);
    for (int i = 40; i < 48; i++)
        assert_int_equal(a[i], 0);
}

static void test_write_error(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(2);
    dup2(ends[1], 2);
    os_linux.write_error("some words", 10);
    dup2(saved, 2);
    close(saved);
    close(ends[1]);
    char got[32] = "";
    assert_int_equal(read(ends[0], got, sizeof got), 10);
    assert_string_equal(got, "some words");
    close(ends[0]);
    saved = dup(2);
    close(2);
    os_linux.write_error("nobody listens", 14); /* and it comes back */
    dup2(saved, 2);
    close(saved);
    assert_int_equal(errno, 777);
}

static void end_by_abort(void *arg)
{
    (void)arg;
    os_linux.abort();
}

static void test_abort(void **state)
{
    (void)state;
    int status = run_in_child(end_by_abort, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    errno = 777;
}

static uint32_t word;

static void *wake_later(void *arg)
{
    (void)arg;
    struct timespec t = {0, 30000000};
    nanosleep(&t, NULL);
    __atomic_store_n(&word, 2, __ATOMIC_RELEASE);
    os_linux.wake_one(&word);
    return NULL;
}

static void test_wait(void **state)
{
    (void)state;
    word = 1;
    os_linux.wait(&word, 5, -1); /* another value: does not sleep */
    uint64_t before = os_linux.now_ms();
    os_linux.wait(&word, 1, 60);
    assert_true(os_linux.now_ms() + 10 >= before + 60);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, NULL), 0);
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 1)
        os_linux.wait(&word, 1, -1);
    pthread_join(thread, NULL);
}

static void test_thread_id(void **state)
{
    (void)state;
    assert_int_equal(os_linux.thread_id(), syscall(SYS_gettid));
}

static unsigned char stack[32768] __attribute__((aligned(64)));
static uint32_t alive;
static uint32_t helper_id;
static uint64_t helper_mask;

static void help(void *arg)
{
    helper_id = os_linux.thread_id();
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &helper_mask, 8);
    uint32_t never = 0;
    os_linux.wait(&never, 0, 20);
    __atomic_store_n((uint32_t *)arg, 99, __ATOMIC_RELEASE);
}

static void test_helper(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) { /* the same stack again, once the last one is gone */
        uint32_t result = 0;
        sigset_t before;
        sigset_t after;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        alive = 1;
        assert_true(os_linux.helper_start(help, &result, stack, sizeof stack, &alive));
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        assert_memory_equal(&before, &after, 8);
        while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE) != 0)
            syscall(SYS_futex, &alive, 0 /* FUTEX_WAIT, shared: the kernel wakes so */, 1, NULL,
                    NULL, 0);
        assert_int_equal(result, 99);
        assert_int_not_equal(helper_id, os_linux.thread_id());
        assert_int_equal(helper_mask & 0xff, 0xff); /* no signal of the program runs there */
    }
    errno = 777;
}

static void test_read_file(void **state)
{
    (void)state;
    char path[] = "/tmp/ration_file_XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    char got[16] = "";
    assert_int_equal(os_linux.read_file(path, got, sizeof got), 10);
    assert_string_equal(got, "0123456789");
    char some[5] = "....";
    assert_int_equal(os_linux.read_file(path, some, 3), 3);
    assert_string_equal(some, "012.");
    unlink(path);
    assert_int_equal(os_linux.read_file(path, got, sizeof got), -1);
    assert_int_equal(os_linux.read_file("/tmp", got, sizeof got), -1);
    assert_int_equal(os_linux.read_file("/dev/null", got, sizeof got), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(os_linux.read_file(path, got, sizeof got),
                     0); /* at once, though nobody writes */
    unlink(path);
    assert_int_equal(errno, 777);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, errno_is_untouched)
    const struct CMUnitTest tests[] = {
        TEST(test_page_bytes), TEST(test_map),
        TEST(test_reserve),    TEST(test_purge),
        TEST(test_move),       TEST(test_advice),
        TEST(test_resident),   TEST(test_huge_page_is_split),
        TEST(test_limit),      TEST(test_cpus),
        TEST(test_clock),      TEST(test_random),
        TEST(test_abort),      TEST(test_write_error),
        TEST(test_wait),       TEST(test_thread_id),
        TEST(test_helper),     TEST(test_read_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
