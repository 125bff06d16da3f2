/* Runs one program under the system malloc and under libration, in turn, and prints what each took.
 *
 *   side-by-side --lib FILE [--rounds N] [--stays] -- PROGRAM [ARGUMENT...]
 *
 * --stays: the program prints "done" when its work is over and waits for the end of its standard
 * input; then its memory is looked at, at once and two seconds later. Otherwise the program is
 * timed to its end, with the programs that it starts.
 *
 * The best of N rounds counts (default 3). Memory calls (brk, mmap, munmap, mremap, madvise,
 * mprotect, process_madvise) are counted in a further run by ptrace. Exit status 0, or 1 with the
 * reason on stderr, 2 usage. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

enum {
    LIMIT_SECONDS = 300,
    REST_MS = 2000,
    N_SIDES = 2,
    TRACE_OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                    PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL,
};

struct settings {
    const char *library;
    char **command;
    long n_rounds;
    bool stays;
};

/* Of one side; negative: not known. */
struct figures {
    double seconds;
    double cpu_seconds;
    double peak_kib;
    double after_kib;
    double rested_kib;
    double calls;
};

struct process {
    pid_t pid;
    int in;  /* its standard input; closing it lets a program that stays end */
    int out; /* its standard output */
};

static volatile pid_t current; /* what an alarm ends */

static _Noreturn __attribute__((format(printf, 1, 2))) void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("side-by-side: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (current > 0)
        kill(current, SIGKILL);
    exit(1);
}

static void on_alarm(int number)
{
    static const char text[] =
        "side-by-side: expected the program to end within 300 s; it was stopped\n";
    (void)number;
    if (current > 0)
        kill(current, SIGKILL);
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(1);
    _exit(1);
}

static double now(clockid_t clock)
{
    struct timespec t = {0, 0};
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Noreturn void become(const struct settings *settings, const char *library)
{
    if (library != NULL)
        setenv("LD_PRELOAD", library, 1);
    else
        unsetenv("LD_PRELOAD");
    execvp(settings->command[0], settings->command);
    fprintf(stderr, "side-by-side: cannot run %s: %s\n", settings->command[0], strerror(errno));
    _exit(127);
}

static struct process start(const struct settings *settings, const char *library)
{
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        give_up("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork: %s", strerror(errno));
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        become(settings, library);
    }
    current = pid;
    close(in[0]);
    close(out[1]);
    return (struct process){pid, in[1], out[0]};
}

static double read_status_kib(pid_t pid, const char *key)
{
    char path[64];
    char line[256];
    double kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    if (status == NULL)
        return kib;
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtod(line + strlen(key), NULL);
    }
    fclose(status);
    return kib;
}

/* Reads until the program says so, or ends. */
static bool wait_until_done(int out)
{
    char text[64];
    size_t n = 0;
    while (n < sizeof text - 1) {
        ssize_t got = read(out, text + n, sizeof text - 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "done\n") != NULL)
            return true;
    }
    return false;
}

static void drain(int out)
{
    char text[4096];
    ssize_t got;
    do {
        got = read(out, text, sizeof text);
    } while (got > 0 || (got < 0 && errno == EINTR));
}

static void look_at_memory(pid_t pid, struct figures *f, bool rest)
{
    f->after_kib = read_status_kib(pid, "VmRSS:");
    f->rested_kib = -1;
    if (!rest)
        return;
    struct timespec pause = {REST_MS / 1000, (REST_MS % 1000) * 1000000L};
    nanosleep(&pause, NULL);
    f->rested_kib = read_status_kib(pid, "VmRSS:");
}

static struct figures run_once(const struct settings *settings, const char *library, bool rest)
{
    struct figures f = {-1, -1, -1, -1, -1, -1};
    double begin = now(CLOCK_MONOTONIC);
    struct process process = start(settings, library);
    if (settings->stays) {
        clockid_t clock;
        if (!wait_until_done(process.out))
            give_up("expected %s to print \"done\"; it ended or printed something else",
                    settings->command[0]);
        f.seconds = now(CLOCK_MONOTONIC) - begin;
        if (clock_getcpuclockid(process.pid, &clock) == 0)
            f.cpu_seconds = now(clock);
        look_at_memory(process.pid, &f, rest);
    }
    close(process.in);
    drain(process.out);
    close(process.out);
    int status = 0;
    struct rusage usage;
    if (wait4(process.pid, &status, 0, &usage) < 0)
        give_up("wait: %s", strerror(errno));
    current = 0;
    if (status != 0)
        give_up("%s %s: expected status 0, got 0x%x", settings->command[0],
                library != NULL ? "under libration" : "under the system malloc", (unsigned)status);
    if (!settings->stays) {
        f.seconds = now(CLOCK_MONOTONIC) - begin;
        f.cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    }
    f.peak_kib = (double)usage.ru_maxrss;
    return f;
}

static bool is_memory_call(unsigned long long number)
{
    switch (number) {
    case SYS_brk:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_mprotect:
    case SYS_process_madvise:
        return true;
    default:
        return false;
    }
}

/* One stop of one thread: says whether it enters a memory call, and lets it go on. */
static bool handle_stop(pid_t thread, int status)
{
    bool counted = false;
    int pass_on = WSTOPSIG(status);
    if (pass_on == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info = {.op = PTRACE_SYSCALL_INFO_NONE};
        ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, &info);
        counted = info.op == PTRACE_SYSCALL_INFO_ENTRY && is_memory_call(info.entry.nr);
        pass_on = 0;
    } else if (pass_on == SIGTRAP || pass_on == SIGSTOP) {
        pass_on = 0;
    }
    ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(long)pass_on);
    return counted;
}

static void become_traced(const struct settings *settings, const char *library)
{
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(126);
    become(settings, library);
}

/* Negative where tracing is not permitted. */
static double count_calls(const struct settings *settings, const char *library)
{
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0)
        become_traced(settings, library);
    current = child;
    int status = 0;
    if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
        return -1;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)TRACE_OPTIONS) != 0) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return -1;
    }
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    double calls = 0;
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0)
            break;
        if (WIFSTOPPED(status))
            calls += handle_stop(thread, status);
        else if (thread == child)
            break;
    }
    current = 0;
    return status == 0 ? calls : -1;
}

static double least(double a, double b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static struct figures better(struct figures a, struct figures b)
{
    return (struct figures){least(a.seconds, b.seconds),       least(a.cpu_seconds, b.cpu_seconds),
                            least(a.peak_kib, b.peak_kib),     least(a.after_kib, b.after_kib),
                            least(a.rested_kib, b.rested_kib), least(a.calls, b.calls)};
}

static void print_value(double value, const char *unit)
{
    char text[32];
    if (value < 0)
        snprintf(text, sizeof text, "unknown");
    else if (unit[0] == '\0')
        snprintf(text, sizeof text, "%.0f", value);
    else
        snprintf(text, sizeof text, "%.*f %s", unit[0] == 's' ? 2 : 1, value, unit);
    printf(" %14s", text);
}

static void print_row(const char *what, double plain, double under, double scale, const char *unit)
{
    printf("  %-34s", what);
    print_value(plain * scale, unit);
    print_value(under * scale, unit);
    if (plain > 0 && under >= 0) {
        double percent = (under / plain - 1) * 100;
        if (percent > -0.5 && percent < 0.5)
            printf("    the same");
        else
            printf("    %.0f %% %s", percent < 0 ? -percent : percent,
                   percent < 0 ? "less" : "more");
    }
    printf("\n");
}

static void print_table(const struct settings *settings, const struct figures f[N_SIDES])
{
    const double mib = 1.0 / 1024;
    printf("  %-34s %14s %14s\n", "", "system malloc", "ration");
    print_row("time", f[0].seconds, f[1].seconds, 1, "s");
    print_row("processor time", f[0].cpu_seconds, f[1].cpu_seconds, 1, "s");
    print_row("peak memory", f[0].peak_kib, f[1].peak_kib, mib, "MiB");
    if (settings->stays) {
        print_row("memory when the load is gone", f[0].after_kib, f[1].after_kib, mib, "MiB");
        print_row("two seconds later", f[0].rested_kib, f[1].rested_kib, mib, "MiB");
    }
    if (f[0].calls < 0 || f[1].calls < 0)
        printf("  %-34s   (cannot be counted: this system does not permit ptrace)\n",
               "calls to the system for memory");
    else
        print_row("calls to the system for memory", f[0].calls, f[1].calls, 1, "");
}

/* Whether this very process has the library; asked of a copy of it under preload. */
static int probe(const char *library)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, library) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found ? 0 : 1;
}

static void check_library(const char *library)
{
    char real[4096];
    if (realpath(library, real) == NULL)
        give_up("--lib %s: %s; `make` builds it", library, strerror(errno));
    char self[] = "/proc/self/exe";
    char word[] = "--probe";
    char *command[] = {self, word, real, NULL};
    const struct settings settings = {.command = command};
    struct process process = start(&settings, library);
    int status = 0;
    close(process.in);
    waitpid(process.pid, &status, 0);
    close(process.out);
    current = 0;
    if (status != 0)
        give_up("%s is not loaded into programs here: is it built for this machine, and does "
                "this system honour LD_PRELOAD?",
                real);
}

static int usage(void)
{
    fprintf(stderr, "usage: side-by-side --lib FILE [--rounds N] [--stays] -- PROGRAM "
                    "[ARGUMENT...]\n");
    return 2;
}

static int read_settings(int argc, char **argv, struct settings *settings)
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--stays") == 0)
            settings->stays = true;
        else if (strcmp(argv[i], "--lib") == 0 && i + 1 < argc)
            settings->library = argv[++i];
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            settings->n_rounds = strtol(argv[++i], NULL, 10);
        else
            return usage();
    }
    settings->command = argv + i + 1;
    if (i + 1 >= argc || settings->library == NULL || settings->n_rounds < 1)
        return usage();
    return 0;
}

int main(int argc, char **argv)
{
    struct settings settings = {.n_rounds = 3};
    if (argc == 3 && strcmp(argv[1], "--probe") == 0)
        return probe(argv[2]);
    int wrong = read_settings(argc, argv, &settings);
    if (wrong != 0)
        return wrong;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_alarm);
    alarm(LIMIT_SECONDS);
    check_library(settings.library);
    const char *const libraries[N_SIDES] = {NULL, settings.library};
    struct figures best[N_SIDES] = {{0}};
    for (long round = 0; round < settings.n_rounds; round++) {
        for (int side = 0; side < N_SIDES; side++) {
            struct figures f = run_once(&settings, libraries[side], round == 0);
            best[side] = round == 0 ? f : better(best[side], f);
        }
    }
    for (int side = 0; side < N_SIDES; side++)
        best[side].calls = count_calls(&settings, libraries[side]);
    print_table(&settings, best);
    return 0;
}
