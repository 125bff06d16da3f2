/* Starting the child of a demo, counting its system calls, and reading what it reported. */
#include "../command.h"
#include "demo.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The calls by which a process gets, gives back and changes memory. */
static const struct {
    uint64_t number;
    const char *name;
} memory_calls[] = {{SYS_brk, "calls of brk"},         {SYS_mmap, "calls of mmap"},
                    {SYS_munmap, "calls of munmap"},   {SYS_mremap, "calls of mremap"},
                    {SYS_madvise, "calls of madvise"}, {SYS_mprotect, "calls of mprotect"}};

enum { n_memory_calls = sizeof memory_calls / sizeof memory_calls[0] };

void demo_add(struct demo_column *column, const char *name, const char *unit, double value)
{
    if (column->n_figures == most_figures)
        return;
    struct demo_value *figure = &column->figures[column->n_figures++];
    snprintf(figure->name, sizeof figure->name, "%s", name);
    snprintf(figure->unit, sizeof figure->unit, "%s", unit);
    figure->value = value;
}

static void exec_child(const struct demo_scenario *scenario, const char *library, bool own_way,
                       int figures, int errors)
{
    char argument[40], self[] = "/proc/self/exe", command[] = "demo", option[64];
    char name[40];
    snprintf(argument, sizeof argument, "%d,%d", figures, own_way ? 1 : 0);
    snprintf(option, sizeof option, "--child=%s", argument);
    snprintf(name, sizeof name, "%s", scenario->name);
    char *arguments[] = {self, command, option, name, NULL};
    if (library != NULL)
        setenv("LD_PRELOAD", library, 1);
    else
        unsetenv("LD_PRELOAD");
    dup2(errors, STDERR_FILENO);
    execv(self, arguments);
    _exit(127);
}

static void count_call(pid_t child, uint64_t counts[n_memory_calls])
{
    struct __ptrace_syscall_info info;
    memset(&info, 0, sizeof info);
    ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info);
    for (int i = 0; info.op == PTRACE_SYSCALL_INFO_ENTRY && i < n_memory_calls; i++)
        if (memory_calls[i].number == info.entry.nr)
            counts[i]++;
}

/* From the child's SIGSTOP to its SIGUSR2. Returns the status of its end, or -1 while it lives. */
static int count_calls(pid_t child, struct demo_column *column)
{
    uint64_t counts[n_memory_calls] = {0}, all = 0;
    int status, signal_to_pass = 0;
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)PTRACE_O_TRACESYSGOOD);
    for (;;) {
        ptrace(PTRACE_SYSCALL, child, NULL, (void *)(long)signal_to_pass);
        if (waitpid(child, &status, 0) < 0)
            return errno == EINTR ? -1 : 0;
        if (!WIFSTOPPED(status))
            return status;
        signal_to_pass = WSTOPSIG(status);
        if (signal_to_pass == SIGUSR2)
            break;
        if (signal_to_pass == (SIGTRAP | 0x80)) {
            count_call(child, counts);
            signal_to_pass = 0;
        }
    }
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    for (int i = 0; i < n_memory_calls; i++)
        all += counts[i];
    demo_add(column, "memory system calls", "", (double)all);
    for (int i = 0; i < n_memory_calls; i++)
        if (counts[i] > 0)
            demo_add(column, memory_calls[i].name, "", (double)counts[i]);
    return -1;
}

static int wait_for(pid_t child, const struct demo_scenario *scenario, struct demo_column *column)
{
    int status = 0;
    while (waitpid(child, &status, scenario->counts_calls ? WUNTRACED : 0) < 0)
        if (errno != EINTR)
            return -1;
    while (WIFSTOPPED(status)) {
        const int end = WSTOPSIG(status) == SIGSTOP ? count_calls(child, column) : -1;
        if (end >= 0)
            return end;
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                return -1;
    }
    return status;
}

static void read_all(int fd, char *text, size_t capacity)
{
    const ssize_t length = pread(fd, text, capacity - 1, 0);
    text[length > 0 ? length : 0] = '\0';
}

static void append(char *text, size_t capacity, const char *line)
{
    const size_t used = strlen(text);
    snprintf(text + used, capacity - used, "%s\n", line);
}

static void read_report(struct demo_column *column, int fd)
{
    static char text[1 << 16];
    read_all(fd, text, sizeof text);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        const char *kind = strsep(&line, "\t");
        if (strcmp(kind, "note") == 0 && line != NULL)
            append(column->notes, sizeof column->notes, line);
        if (strcmp(kind, "figure") != 0 || line == NULL)
            continue;
        const char *name = strsep(&line, "\t"), *unit = strsep(&line, "\t");
        if (name != NULL && unit != NULL && line != NULL)
            demo_add(column, name, unit, strtod(line, NULL));
    }
}

int demo_spawn(struct demo_column *column, const struct demo_scenario *scenario,
               const char *library, bool own_way)
{
    const int figures = memfd_create("ration-demo-figures", 0);
    const int errors = memfd_create("ration-demo-errors", MFD_CLOEXEC);
    fflush(NULL);
    const pid_t child = figures >= 0 && errors >= 0 ? fork() : -1;
    if (child == 0)
        exec_child(scenario, library, own_way, figures, errors);
    column->status = child > 0 ? wait_for(child, scenario, column) : -1;
    if (child > 0) {
        read_report(column, figures);
        read_all(errors, column->errors, sizeof column->errors);
    }
    close(figures);
    close(errors);
    return child > 0 ? 0 : -1;
}
