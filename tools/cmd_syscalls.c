/* ration syscalls: the memory system calls of a program's run, each with the allocator's reason for
 * it. The library counts them itself, in a file in memory that it shares with this command; nothing
 * stops or watches the program. --compare runs it twice more, watched (tracer.h), to set all memory
 * system calls beside those that it makes under the system's malloc. */
#include "callers.h"
#include "command.h"
#include "elf_facts.h"
#include "json.h"
#include "launch.h"
#include "tracer.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { key_json = 256, key_compare };

/* One watched run. */
struct watched {
    struct tally by[CALLER_COUNT][KIND_COUNT];
    int status;
};

struct counting {
    char **program;
    char path[PATH_MAX];
    char file[PATH_MAX]; /* of the library */
    struct library library;
    bool wants_json, compares;
    int account_fd;
    struct ration_account account;
    int status; /* wait status of the run that counts by reason */
    struct callers *callers;
    struct watched own, system;
};

static const struct argp_option options[] = {
    {"compare", key_compare, NULL, 0,
     "Run it twice more, watched: all memory system calls, under libration and under the system's "
     "malloc",
     0},
    {"json", key_json, NULL, 0, "Print JSON; what PROGRAM prints goes to stderr then", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct counting *counting = state->input;
    (void)argument;
    switch (key) {
    case key_json:
        counting->wants_json = true;
        return 0;
    case key_compare:
        counting->compares = true;
        return 0;
    default:
        return command_parse_program(key, state, &counting->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM under libration, and list the memory system calls that libration made in it and "
    "in "
    "the processes that it starts, by reason: how many, for how many bytes, how long.\v"
    "  ration syscalls --compare -- sort big.txt\n\n"
    "libration counts them itself: nothing is lost when a process is killed or ends by _exit(). "
    "Calls of the program, of the C library (stacks of threads) and of the loader are not "
    "libration's; --compare lists them too. A process that closes the descriptors it inherited "
    "before it starts another program is the last one of its line that is counted.\n"
    "Exit status: 0 fine, 1 PROGRAM failed, 2 it was not started.",
    NULL,
    NULL,
    NULL,
};

static void set_output(const struct counting *counting)
{
    if (counting->wants_json)
        dup2(STDERR_FILENO, STDOUT_FILENO);
}

static void exec_program(const struct counting *counting)
{
    char number[16];
    snprintf(number, sizeof number, "%d", counting->account_fd);
    launch_preload(counting->file);
    launch_set("syscalls", number);
    set_output(counting);
    execv(counting->path, counting->program);
    command_fail("syscalls", 0, "'%s' cannot be run: %s", counting->path, strerror(errno));
    _exit(127);
}

static int make_account(struct counting *counting)
{
    counting->account =
        (struct ration_account){.magic = RATION_ACCOUNT_MAGIC, .bytes = sizeof counting->account};
    counting->account_fd = memfd_create("ration-syscalls", 0);
    if (counting->account_fd < 0 ||
        write(counting->account_fd, &counting->account, sizeof counting->account) !=
            (ssize_t)sizeof counting->account)
        return command_fail("syscalls", EXIT_USAGE, "no file in memory: %s", strerror(errno));
    return EXIT_FINE;
}

static int run_counted(struct counting *counting)
{
    int status = make_account(counting);
    if (status != EXIT_FINE)
        return status;
    const pid_t child = launch_fork();
    if (child == 0)
        exec_program(counting);
    status = launch_wait("syscalls", child, &counting->status);
    if (status != EXIT_FINE)
        return status;
    if (pread(counting->account_fd, &counting->account, sizeof counting->account, 0) !=
        (ssize_t)sizeof counting->account)
        return command_fail("syscalls", EXIT_DAMAGED, "the account was cut short by the program");
    if (counting->account.programs == 0)
        return command_fail("syscalls", EXIT_FINDING,
                            "libration was not loaded into %s: `ration doctor -- %s` tells why",
                            counting->path, counting->path);
    return EXIT_FINE;
}

static void prepare_own(void *context)
{
    launch_preload(((struct counting *)context)->file);
    set_output(context);
}

static void prepare_system(void *context)
{
    unsetenv("LD_PRELOAD");
    set_output(context);
}

static void note(struct counting *counting, struct watched *watched, const struct traced_call *call)
{
    enum call_kind kind;
    uint64_t bytes;
    const enum caller caller = callers_judge(counting->callers, call, &kind, &bytes);
    watched->by[caller][kind].calls++;
    watched->by[caller][kind].bytes += bytes;
}

static void note_own(const struct traced_call *call, void *context)
{
    note(context, &((struct counting *)context)->own, call);
}

static void note_system(const struct traced_call *call, void *context)
{
    note(context, &((struct counting *)context)->system, call);
}

static void forget(pid_t thread, void *context)
{
    callers_forget(((struct counting *)context)->callers, thread);
}

static int run_watched(struct counting *counting, bool own)
{
    const struct tracing tracing = {
        .path = counting->path,
        .program = counting->program,
        .prepare = own ? prepare_own : prepare_system,
        .visit = own ? note_own : note_system,
        .forget = forget,
        .context = counting,
    };
    counting->callers = callers_new();
    if (counting->callers == NULL)
        return command_fail("syscalls", EXIT_USAGE, "out of memory");
    fflush(NULL);
    const int failed = tracer_run(&tracing, own ? &counting->own.status : &counting->system.status);
    callers_free(counting->callers);
    if (failed != 0)
        return command_fail("syscalls", EXIT_USAGE,
                            "the program cannot be watched: %s (ptrace may be forbidden here; "
                            "without --compare it is not needed)",
                            strerror(errno));
    return EXIT_FINE;
}

static const char *const caller_words[CALLER_COUNT] = {
    [CALLER_LIBRATION] = "libration",
    [CALLER_LIBC] = "C library",
    [CALLER_LOADER] = "loader",
    [CALLER_OTHER] = "program",
};

static const char *const kind_words[KIND_COUNT] = {
    [KIND_BREAK] = "brk",           [KIND_MAP] = "mmap",       [KIND_UNMAP] = "munmap",
    [KIND_MOVE] = "mremap",         [KIND_ADVISE] = "madvise", [KIND_PROTECT] = "mprotect",
    [KIND_STACK] = "thread stacks", [KIND_FILE] = "files",
};

static void print_reasons(const struct counting *counting)
{
    const struct colours colours = colours_for_stdout();
    struct ration_calls sum = {0};
    printf("%s%-32s %9s %9s %15s %12s%s\n", colours.bold, "libration's memory system calls",
           "calls", "refused", "bytes", "microseconds", colours.plain);
    for (int why = 0; why < RATION_REASON_COUNT; why++) {
        const struct ration_calls *c = &counting->account.calls[why];
        sum.calls += c->calls;
        sum.refused += c->refused;
        sum.bytes += c->bytes;
        sum.nanoseconds += c->nanoseconds;
        if (c->calls != 0)
            printf("  %-30s %9llu %9llu %15llu %12llu\n",
                   counting->library.reason_name((enum ration_reason)why),
                   (unsigned long long)c->calls, (unsigned long long)c->refused,
                   (unsigned long long)c->bytes, (unsigned long long)c->nanoseconds / 1000);
    }
    printf("  %-30s %9llu %9llu %15llu %12llu\n", "all", (unsigned long long)sum.calls,
           (unsigned long long)sum.refused, (unsigned long long)sum.bytes,
           (unsigned long long)sum.nanoseconds / 1000);
    if (counting->account.programs > 1)
        printf("in %llu programs\n", (unsigned long long)counting->account.programs);
}

static void print_row(const char *who, const char *what, const struct tally *a,
                      const struct tally *b)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", who, what[0] != '\0' ? ": " : "", what);
    printf("  %-30s %9llu %15llu %9llu %15llu\n", name, (unsigned long long)a->calls,
           (unsigned long long)a->bytes, (unsigned long long)b->calls,
           (unsigned long long)b->bytes);
}

static void print_watched(const struct counting *counting)
{
    const struct colours colours = colours_for_stdout();
    struct tally a = {0}, b = {0};
    printf("\n%s%-32s %25s %25s%s\n", colours.bold, "all memory system calls", "under libration",
           "under the system's malloc", colours.plain);
    printf("%-32s %9s %15s %9s %15s\n", "", "calls", "bytes", "calls", "bytes");
    for (int who = 0; who < CALLER_COUNT; who++)
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            const struct tally *x = &counting->own.by[who][kind];
            const struct tally *y = &counting->system.by[who][kind];
            if (x->calls + y->calls == 0)
                continue;
            print_row(caller_words[who], kind_words[kind], x, y);
            a.calls += x->calls;
            a.bytes += x->bytes;
            b.calls += y->calls;
            b.bytes += y->bytes;
        }
    print_row("all", "", &a, &b);
    puts("brk, mmap, munmap, mremap, madvise and mprotect of the C library are its malloc, but for "
         "a few.");
}

static void print_text(const struct counting *counting)
{
    print_reasons(counting);
    if (counting->compares)
        print_watched(counting);
    else
        puts("Not counted: calls of the program itself, of the loader, and for stacks of threads "
             "(--compare lists all).");
}

static void write_watched(struct json *json, const char *key, const struct watched *watched)
{
    json_open_object(json, key);
    for (int who = 0; who < CALLER_COUNT; who++) {
        json_open_object(json, caller_words[who]);
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            json_open_object(json, kind_words[kind]);
            json_size(json, "calls", watched->by[who][kind].calls);
            json_size(json, "bytes", watched->by[who][kind].bytes);
            json_close_object(json);
        }
        json_close_object(json);
    }
    json_close_object(json);
}

static void print_json(const struct counting *counting)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_string(&json, "program", counting->path);
    json_size(&json, "programs", counting->account.programs);
    json_open_object(&json, "system_calls");
    for (int why = 0; why < RATION_REASON_COUNT; why++) {
        const struct ration_calls *c = &counting->account.calls[why];
        json_open_object(&json, counting->library.reason_key((enum ration_reason)why));
        json_size(&json, "calls", c->calls);
        json_size(&json, "refused", c->refused);
        json_size(&json, "bytes", c->bytes);
        json_size(&json, "nanoseconds", c->nanoseconds);
        json_close_object(&json);
    }
    json_close_object(&json);
    if (counting->compares) {
        write_watched(&json, "watched_libration", &counting->own);
        write_watched(&json, "watched_system", &counting->system);
    }
    json_close_object(&json);
    json_end(&json);
}

static int choose(struct counting *counting)
{
    struct elf_facts facts;
    if (command_find_library("libration.so", counting->file, sizeof counting->file) != 0)
        return command_fail("syscalls", EXIT_USAGE, "no library at %s: build it with `make`",
                            counting->file);
    if (launch_find_program(counting->program[0], counting->path) != 0)
        return command_fail("syscalls", EXIT_USAGE, "'%s' cannot be run: %s", counting->program[0],
                            strerror(errno));
    elf_read_program(&facts, counting->path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("syscalls", EXIT_USAGE, "%s: %s; it would run without libration",
                            facts.path, reason);
    return library_open(&counting->library, counting->file, "syscalls");
}

static int report_program(const char *path, int status)
{
    if (WIFSIGNALED(status))
        return command_fail("syscalls", EXIT_FINDING, "%s was ended by signal %d (%s)", path,
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return command_fail("syscalls", EXIT_FINDING, "%s ended with status %d", path,
                            WEXITSTATUS(status));
    return EXIT_FINE;
}

static int run_syscalls(int argc, char **argv)
{
    static struct counting counting;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &counting);
    int status = choose(&counting);
    if (status == EXIT_FINE)
        status = run_counted(&counting);
    if (status == EXIT_FINE && counting.compares)
        status = run_watched(&counting, true);
    if (status == EXIT_FINE && counting.compares)
        status = run_watched(&counting, false);
    if (status != EXIT_FINE)
        return status;
    (counting.wants_json ? print_json : print_text)(&counting);
    return report_program(counting.path, counting.status);
}

const struct command command_syscalls = {
    .name = "syscalls",
    .what = "the memory system calls of a program's run, by reason",
    .argp = &argp,
    .run = run_syscalls,
};
