/* os/faults: who is told, in what order, and that the program's own fate is what it would have been. */
#include "os/linux.h"

#include "support/unit.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char *forbidden;
static uintptr_t told_address;
static enum os_access told_access;
static int told;

static void on_fault(uintptr_t address, enum os_access access)
{
    told++;
    told_address = address;
    told_access = access;
    errno = 5;
    if (write(STDOUT_FILENO, "", 0) != 0)
        _exit(3);
}

static void prepare(void)
{
    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(forbidden != MAP_FAILED);
}

static void die_by_default(void *arg)
{
    (void)arg;
    prepare();
    signal(SIGSEGV, SIG_DFL);
    REQUIRE(linux_faults_watch(on_fault));
    forbidden[7] = 1;
}

static void die_ignored(void *arg)
{
    (void)arg;
    prepare();
    signal(SIGSEGV, SIG_IGN);
    REQUIRE(linux_faults_watch(on_fault));
    forbidden[7] = 1;
}

static void die_by_sent_signal(void *arg)
{
    (void)arg;
    prepare();
    signal(SIGSEGV, SIG_DFL);
    REQUIRE(linux_faults_watch(on_fault));
    raise(SIGSEGV);
    _exit(told == 0 ? 0 : 4);
}

static void require_end_by_fault(void (*body)(void *arg))
{
    int status = run_in_child(body, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void test_default(void **state)
{
    (void)state;
    require_end_by_fault(die_by_default);
    require_end_by_fault(die_ignored);
    require_end_by_fault(die_by_sent_signal);
}

static sigjmp_buf back;
static int seen_told;
static int seen_errno;
static void *seen_address;
static sigset_t seen_mask;

static void own_handler(int number, siginfo_t *info, void *context)
{
    seen_told = told;
    seen_errno = errno;
    seen_address = info->si_addr;
    sigprocmask(SIG_BLOCK, NULL, &seen_mask);
    if (number != SIGSEGV || context == NULL)
        _exit(2);
    siglongjmp(back, 1);
}

static void plain_handler(int number)
{
    seen_told = number == SIGSEGV ? told : -1;
    siglongjmp(back, 1);
}

static void own_handler_comes_after(void *arg)
{
    (void)arg;
    prepare();
    struct sigaction own = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&own.sa_mask);
    sigaddset(&own.sa_mask, SIGUSR2);
    REQUIRE(sigaction(SIGSEGV, &own, NULL) == 0 && linux_faults_watch(on_fault));
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    REQUIRE((now.sa_flags & SA_NODEFER) != 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
            sigismember(&now.sa_mask, SIGUSR2) == 1);
    for (int i = 1; i <= 3; i++) {
        errno = 777;
        if (sigsetjmp(back, 1) == 0)
            ((volatile char *)forbidden)[i] = 1;
        REQUIRE(told == i && seen_told == i && seen_errno == 777);
        REQUIRE(seen_address == forbidden + i &&
                told_address == (uintptr_t)forbidden + (uintptr_t)i);
        REQUIRE(sigismember(&seen_mask, SIGUSR2) == 1 && sigismember(&seen_mask, SIGSEGV) == 0);
    }
    REQUIRE(told_access == OS_ACCESS_WRITE);
    if (sigsetjmp(back, 1) == 0)
        (void)((volatile char *)forbidden)[1];
    REQUIRE(told_access == OS_ACCESS_READ);
}

static void plain_handler_comes_after(void *arg)
{
    (void)arg;
    prepare();
    signal(SIGSEGV, plain_handler);
    REQUIRE(linux_faults_watch(on_fault));
    if (sigsetjmp(back, 1) == 0)
        ((volatile char *)forbidden)[9] = 1;
    REQUIRE(told == 1 && seen_told == 1);
}

static void test_own_handlers(void **state)
{
    (void)state;
    require_in_child(own_handler_comes_after, NULL);
    require_in_child(plain_handler_comes_after, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_own_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
