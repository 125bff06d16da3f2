/* inspect/proc: numbers of the system's files, residency, the memory of another process. */
#include "inspect/proc.h"

#include "base/bits.h"
#include "support/unit.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_fields(void **state)
{
    (void)state;
    size_t rss = proc_field_bytes(0, "smaps_rollup", "Rss:");
    size_t statm = proc_statm_bytes(0, lowest_bit((uint64_t)sysconf(_SC_PAGESIZE)));
    assert_true(rss > 100000 && rss % 1024 == 0);
    assert_true(statm > rss / 2 && statm < rss * 2);
    assert_true(proc_field_bytes(getpid(), "status", "VmHWM:") >= rss / 2);
    assert_int_equal(proc_field_bytes(0, "status", "NoSuchKey:"), 0);
    assert_int_equal(proc_field_bytes(0, "no-such-file", "Rss:"), 0);
    assert_int_equal(proc_open(0, "no-such-file"), -1);
}

static void test_residency(void **state)
{
    (void)state;
    enum { PAGES = 200 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned shift = (unsigned)__builtin_ctzl(page);
    unsigned char own[PAGES];
    unsigned char other[PAGES];
    char *at = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    madvise(at, PAGES * page, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < PAGES; i += 3)
        at[i * page] = 1;
    int fd = proc_open(0, "pagemap");
    assert_true(fd >= 0);
    assert_true(proc_own_resident((uintptr_t)at, PAGES, shift, own));
    assert_true(proc_other_resident(fd, (uintptr_t)at, PAGES, shift, other));
    /* Where the kernel can: a page that is only read is nobody's memory. More pieces than one call tells. */
    unsigned char scanned[PAGES];
    assert_int_equal(((volatile unsigned char *)at)[page], 0);
    if (proc_scan_resident(fd, (uintptr_t)at, PAGES, shift, scanned)) {
        for (size_t i = 0; i < PAGES; i++)
            assert_int_equal(scanned[i], i % 3 == 0);
    }
    proc_close(fd);
    assert_false(proc_scan_resident(-1, (uintptr_t)at, PAGES, shift, scanned));
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(own[i], i % 3 == 0);
        assert_int_equal(other[i], i % 3 == 0);
    }
    munmap(at, PAGES * page);
    assert_false(proc_own_resident((uintptr_t)at, PAGES, shift, own));
}

static int secret = 1;

/* A child has the same layout: what is read there is its value, not ours. */
static void test_memory(void **state)
{
    (void)state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        secret = 4711;
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    int seen = 0;
    intptr_t shift = 1;
    assert_true(proc_read_memory(child, &seen, (uintptr_t)&secret, sizeof seen));
    assert_int_equal(seen, 4711);
    assert_int_equal(secret, 1);
    assert_false(proc_read_memory(child, &seen, 16, sizeof seen));
    assert_int_equal(proc_find_library(child, &shift), VIEW_OK);
    assert_int_equal(shift, 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(proc_find_library(0x7ffffffe, &shift), VIEW_NO_PROCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_residency),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
