/* Counts the memory system calls (brk, mmap, munmap, mremap, madvise, mprotect) of a program and
   its threads, from its first instruction to its end.

     memory_calls PROGRAM ARGUMENTS...                 prints the count
     memory_calls --compare LIMIT PROGRAM N            with N against with 0: at most LIMIT more

   The program runs with LD_PRELOAD set to $PRELOAD_UNDER_TEST. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK };

static bool is_memory_call(unsigned long number)
{
    return number == SYS_brk || number == SYS_mmap || number == SYS_munmap ||
           number == SYS_mremap || number == SYS_madvise || number == SYS_mprotect;
}

static void become_program(char **command)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    const char *library = getenv("PRELOAD_UNDER_TEST");
    if (library != NULL)
        setenv("LD_PRELOAD", library, 1);
    execv(command[0], command);
    fprintf(stderr, "memory_calls: cannot run %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

/* One stop of one thread: counts an entry to a memory call, then lets it go on. */
static unsigned handle_stop(pid_t thread, int status)
{
    unsigned counted = 0;
    int signal_to_pass = WSTOPSIG(status);
    if (signal_to_pass == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, &info);
        counted = info.op == PTRACE_SYSCALL_INFO_ENTRY && is_memory_call(info.entry.nr);
        signal_to_pass = 0;
    } else if (signal_to_pass == SIGTRAP || signal_to_pass == SIGSTOP) {
        signal_to_pass = 0;
    }
    ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(long)signal_to_pass);
    return counted;
}

static unsigned count(char **command)
{
    pid_t child = fork();
    if (child == 0)
        become_program(command);
    int status = 0;
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)OPTIONS);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    unsigned n_calls = 0;
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0)
            break;
        if (WIFSTOPPED(status)) {
            n_calls += handle_stop(thread, status);
        } else if (thread == child) {
            if (status != 0) {
                fprintf(stderr, "memory_calls: %s ended with status 0x%x\n", command[0], status);
                exit(1);
            }
            break;
        }
    }
    return n_calls;
}

static int compare(unsigned limit, char *program, char *n)
{
    char zero[] = "0";
    char *empty_command[] = {program, zero, NULL};
    char *full_command[] = {program, n, NULL};
    unsigned empty = count(empty_command);
    unsigned full = count(full_command);
    printf("memory system calls: %u with 0, %u with %s\n", empty, full, n);
    if (full > empty + limit) {
        fprintf(stderr, "FAIL: expected at most %u more, got %u\n", limit, full - empty);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--compare") == 0)
        return compare((unsigned)atoi(argv[2]), argv[3], argv[4]);
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: memory_calls [--compare LIMIT] PROGRAM ARGUMENTS...\n");
        return 2;
    }
    printf("%u\n", count(argv + 1));
    return 0;
}
