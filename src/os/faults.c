/* Faults of memory, told before they take their course.
 *
 * The handler that was there before is kept, flags and mask as well: it is called as the system would have called it.
 * Where there was none, the action is set back to the default and the access happens again: the process ends by the signal
 * at the place of the fault, as if nobody had looked. */
#define _GNU_SOURCE
#include "base/atomics.h"
#include "os/linux.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static void (*tell)(uintptr_t address, enum os_access access);
static struct sigaction earlier;

#if defined(__aarch64__)
/* The exception syndrome register, a record among those behind the registers; 0: the system did not tell it. */
static uint64_t find_syndrome(const void *context)
{
    const ucontext_t *u = context;
    const unsigned char *record = u->uc_mcontext.__reserved;
    const unsigned char *end = record + sizeof u->uc_mcontext.__reserved;
    struct esr_context esr;
    for (; (size_t)(end - record) >= sizeof esr; record += esr.head.size) {
        memcpy(&esr, record, sizeof esr);
        if (esr.head.magic == ESR_MAGIC)
            return esr.esr;
        if (esr.head.size == 0 || esr.head.size > (size_t)(end - record))
            break;
    }
    return 0;
}
#endif

static enum os_access access_of(const void *context)
{
#if defined(__x86_64__)
    enum { PAGE_FAULT = 14, BY_WRITE = 2 };
    const ucontext_t *u = context;
    if (u->uc_mcontext.gregs[REG_TRAPNO] != PAGE_FAULT)
        return OS_ACCESS_UNKNOWN;
    return (u->uc_mcontext.gregs[REG_ERR] & BY_WRITE) != 0 ? OS_ACCESS_WRITE : OS_ACCESS_READ;
#elif defined(__aarch64__)
    enum { DATA_ABORT = 0x24, CLASS_SHIFT = 26, WRITE_SHIFT = 6 };
    uint64_t syndrome = find_syndrome(context);
    if ((syndrome >> CLASS_SHIFT & 63) != DATA_ABORT)
        return OS_ACCESS_UNKNOWN;
    return (syndrome >> WRITE_SHIFT & 1) != 0 ? OS_ACCESS_WRITE : OS_ACCESS_READ;
#else
    (void)context;
    return OS_ACCESS_UNKNOWN;
#endif
}

/* As if we were not here: for a fault the instruction is tried again; a signal that was sent is sent again. */
static void take_course(int number, const siginfo_t *info)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL);
    if (info->si_code <= 0)
        raise(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    if (info->si_code > 0)
        tell((uintptr_t)info->si_addr, access_of(context));
    errno = saved_errno;
    if ((earlier.sa_flags & SA_SIGINFO) != 0)
        earlier.sa_sigaction(number, info, context);
    else if (earlier.sa_handler == SIG_DFL || earlier.sa_handler == SIG_IGN)
        take_course(number, info);
    else
        earlier.sa_handler(number);
}

bool linux_faults_watch(void (*on_fault)(uintptr_t address, enum os_access access))
{
    if (sigaction(SIGSEGV, NULL, &earlier) != 0)
        return false;
    bool has_handler = (earlier.sa_flags & SA_SIGINFO) != 0 ||
                       (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN);
    struct sigaction ours = {.sa_flags = SA_ONSTACK};
    if (has_handler)
        ours = earlier;
    ours.sa_sigaction = handle;
    ours.sa_flags |= SA_SIGINFO;
    tell = on_fault;
    return sigaction(SIGSEGV, &ours, NULL) == 0;
}
