/* os/syscall: all six arguments arrive in order; errors are numbers and errno is left alone; a
 * thread by clone. */
#include "os/syscall.h"

#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_six_arguments(void **state)
{
    (void)state;
    long page = sysconf(_SC_PAGESIZE);
    char path[] = "/tmp/ration_syscall_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 3 * page) == 0);
    assert_int_equal(pwrite(fd, "third page", 10, 2 * page), 10);
    void *at = mmap(NULL, (size_t)page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    long got = syscall6(SYS_mmap, (long)at, page, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 2 * page);
    assert_ptr_equal((void *)got, at);
    assert_memory_equal(at, "third page", 10);
    assert_int_equal(syscall6(SYS_munmap, got, page, 0, 0, 0, 0), 0);
    close(fd);
}

static void test_errors(void **state)
{
    (void)state;
    errno = 12345;
    assert_int_equal(syscall6(SYS_close, -1, 0, 0, 0, 0, 0), -EBADF);
    assert_int_equal(syscall6(SYS_munmap, 1, 1, 0, 0, 0, 0), -EINVAL);
    assert_int_equal(syscall6(100000, 0, 0, 0, 0, 0, 0), -ENOSYS);
    assert_int_equal(errno, 12345);
    assert_int_equal(syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0), getpid());
}

static void test_failed(void **state)
{
    (void)state;
    assert_true(syscall_failed(-1) && syscall_failed(-4095));
    assert_false(syscall_failed(0) || syscall_failed(1) || syscall_failed(-4096));
    assert_false(syscall_failed((long)0x7fffffffffffffff) ||
                 syscall_failed((long)0x8000000000000000U));
}

static uint32_t said;
static char thread_block[256] __attribute__((aligned(64)));
static char stack[32768] __attribute__((aligned(64)));

static void say(void *arg)
{
    __atomic_store_n(&said, *(uint32_t *)arg, __ATOMIC_RELEASE);
}

static void test_clone(void **state)
{
    (void)state;
    uint32_t word = 4711;
    uint32_t alive = 1;
    memcpy(thread_block, &(void *){thread_block}, sizeof(void *));
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                          CLONE_SYSVSEM | CLONE_SETTLS | CLONE_CHILD_CLEARTID;
    long id =
        syscall_clone_into(flags, stack + sizeof stack - 1024, &alive, thread_block, say, &word);
    assert_true(id > 0);
    while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE) != 0)
        syscall6(SYS_futex, (long)&alive, FUTEX_WAIT, 1, 0, 0, 0);
    assert_int_equal(said, 4711);
    assert_int_equal(syscall_clone_into(CLONE_THREAD, NULL, NULL, NULL, say, &word), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_six_arguments),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
