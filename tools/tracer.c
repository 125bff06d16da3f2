#include "tracer.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static const long memory_calls[] = {SYS_mmap,     SYS_munmap, SYS_mremap,         SYS_madvise,
                                    SYS_mprotect, SYS_brk,    SYS_process_madvise};
enum { n_memory_calls = sizeof memory_calls / sizeof *memory_calls };

/* Threads that are inside a call: few at a time. */
enum { most_inside = 1024 };

struct inside {
    struct traced_call calls[most_inside];
    int n;
};

static int install_filter(void)
{
    struct sock_filter filter[n_memory_calls + 5];
    int n = 0;
    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 0,
                                               n_memory_calls + 1);
    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < n_memory_calls; i++)
        filter[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)memory_calls[i],
                                         (unsigned char)(n_memory_calls - i), 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    const struct sock_fprog program = {(unsigned short)n, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Waits until the parent watches. The filter comes last: what follows it is the program. */
static void become_program(const struct tracing *tracing, int gate)
{
    char go;
    if (read(gate, &go, 1) != 1)
        _exit(127);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    tracing->prepare(tracing->context);
    if (install_filter() == 0)
        execv(tracing->path, tracing->program);
    _exit(127);
}

static struct traced_call *find_inside(struct inside *inside, pid_t thread)
{
    for (int i = 0; i < inside->n; i++)
        if (inside->calls[i].thread == thread)
            return &inside->calls[i];
    return NULL;
}

static void drop(struct inside *inside, pid_t thread)
{
    struct traced_call *call = find_inside(inside, thread);
    if (call != NULL)
        *call = inside->calls[--inside->n];
}

static long ask(pid_t thread, struct __ptrace_syscall_info *info)
{
    return ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof *info, info);
}

/* Returns whether to stop at the call's end. */
static bool enter(struct inside *inside, pid_t thread)
{
    struct __ptrace_syscall_info info;
    drop(inside, thread);
    if (inside->n == most_inside || ask(thread, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_SECCOMP)
        return false;
    struct traced_call *call = &inside->calls[inside->n++];
    *call = (struct traced_call){
        .thread = thread, .number = (long)info.seccomp.nr, .from = info.instruction_pointer};
    for (int i = 0; i < 6; i++)
        call->arguments[i] = info.seccomp.args[i];
    return true;
}

static void leave(const struct tracing *tracing, struct inside *inside, pid_t thread)
{
    struct __ptrace_syscall_info info;
    struct traced_call *call = find_inside(inside, thread);
    if (call == NULL)
        return;
    if (ask(thread, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_EXIT) {
        call->result = info.exit.rval;
        tracing->visit(call, tracing->context);
    }
    drop(inside, thread);
}

/* What the stopped thread goes on with. */
static void answer(const struct tracing *tracing, struct inside *inside, pid_t thread, int status)
{
    const int event = status >> 16;
    const int stopped_by = WSTOPSIG(status);
    long request = PTRACE_CONT;
    long pass_on = 0;
    if (event == PTRACE_EVENT_SECCOMP) {
        if (enter(inside, thread))
            request = PTRACE_SYSCALL;
    } else if (stopped_by == (SIGTRAP | 0x80)) {
        leave(tracing, inside, thread);
    } else if (event == PTRACE_EVENT_EXEC) {
        drop(inside, thread);
        tracing->forget(thread, tracing->context);
    } else if (event == PTRACE_EVENT_STOP) {
        if (stopped_by != SIGTRAP) /* stopped by a signal: until it is told to go on */
            request = PTRACE_LISTEN;
    } else if (event == 0) {
        pass_on = stopped_by;
    }
    /* A signal may come between the call's start and its end. */
    if (request == PTRACE_CONT && find_inside(inside, thread) != NULL)
        request = PTRACE_SYSCALL;
    if (request == PTRACE_LISTEN)
        ptrace(PTRACE_LISTEN, thread, 0, 0);
    else if (request == PTRACE_SYSCALL)
        ptrace(PTRACE_SYSCALL, thread, 0, pass_on);
    else
        ptrace(PTRACE_CONT, thread, 0, pass_on);
}

/* Until nobody is left. */
static void watch(const struct tracing *tracing, pid_t first, int *first_status)
{
    static struct inside inside;
    inside.n = 0;
    for (;;) {
        int status;
        const pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR)
            continue;
        if (thread < 0)
            return;
        if (WIFSTOPPED(status)) {
            answer(tracing, &inside, thread, status);
            continue;
        }
        drop(&inside, thread);
        tracing->forget(thread, tracing->context);
        if (thread == first)
            *first_status = status;
    }
}

static int seize(pid_t child)
{
    const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC |
                         PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                         PTRACE_O_EXITKILL;
    return ptrace(PTRACE_SEIZE, child, 0, options) == 0 ? 0 : -1;
}

int tracer_run(const struct tracing *tracing, int *status)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) != 0)
        return -1;
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    const pid_t child = fork();
    if (child == 0) {
        close(gate[1]);
        become_program(tracing, gate[0]);
    }
    close(gate[0]);
    int failed = child < 0 || seize(child) != 0 ? errno : 0;
    if (failed == 0 && write(gate[1], "", 1) != 1)
        failed = errno;
    close(gate[1]); /* the child ends if nothing came */
    if (failed == 0)
        watch(tracing, child, status);
    else if (child > 0)
        waitpid(child, status, 0);
    errno = failed;
    return failed == 0 ? 0 : -1;
}
