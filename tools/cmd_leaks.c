/* ration leaks: run a program under libration and list the blocks that it lost, by call site or by size. Each process tells
 * at its end, by lines in a file in memory whose descriptor it inherits. */
#include "command.h"
#include "elf_facts.h"
#include "launch.h"
#include "leak_report.h"
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { key_json = 256, key_fail_over, key_suppressions, key_stacks, key_reachable };

struct searching {
    char **program;
    size_t fail_over;
    size_t stacks;
    bool wants_json, wants_reachable;
    int file;
    struct suppressions suppressions;
    struct leak_report report;
};

static const struct argp_option options[] = {
    {"fail-over", key_fail_over, "BYTES", 0,
     "End with status 1 only if more than BYTES are lost (default 0)", 0},
    {"suppressions", key_suppressions, "FILE", 0,
     "Pass over leaks that FILE names, by lines as LeakSanitizer reads them: leak:PATTERN", 0},
    {"stacks", key_stacks, "N", 0,
     "Record N callers of each allocation, at most 64 (default 16); 0: list by size only", 0},
    {"reachable", key_reachable, NULL, 0, "List what is still reachable, too", 0},
    {"json", key_json, NULL, 0, "Print JSON; the program's own output goes to stderr", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static void read_suppressions(struct searching *searching, const char *path,
                              struct argp_state *state)
{
    const long line = suppressions_read(&searching->suppressions, path);
    if (line < 0)
        argp_failure(state, EXIT_USAGE, errno, "--suppressions: %s cannot be read", path);
    if (line > 0)
        argp_failure(state, EXIT_DAMAGED, 0,
                     "%s:%ld: expected leak:PATTERN, or a comment that begins with #", path, line);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct searching *searching = state->input;
    switch (key) {
    case key_json:
        searching->wants_json = true;
        return 0;
    case key_fail_over:
        if (parse_size(argument, &searching->fail_over) != 0)
            argp_error(state, "--fail-over cannot be '%s', expected bytes, as in 0 or 64k",
                       argument);
        return 0;
    case key_suppressions:
        read_suppressions(searching, argument, state);
        return 0;
    case key_stacks:
        if (parse_size(argument, &searching->stacks) != 0 || searching->stacks > 64)
            argp_error(state, "--stacks cannot be '%s', expected a number from 0 to 64", argument);
        return 0;
    case key_reachable:
        searching->wants_reachable = true;
        return 0;
    default:
        return command_parse_program(key, state, &searching->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM, and list by call site the blocks to which no pointer leads any more when it "
    "ends, in "
    "it and in the processes that it starts.\v"
    "  ration leaks --fail-over=64k --suppressions=known.txt -- ./server --selftest\n\n"
    "Any word that looks like a pointer into a block counts as one, so a lost block may be missed. "
    "A process that is killed, ends by _exit(), or goes on "
    "after PROGRAM has ended, is not searched.\n"
    "Exit status: 0 fine, 1 blocks are lost or PROGRAM failed, 2 it was not started.",
    NULL,
    NULL,
    NULL,
};

static void exec_program(const struct searching *searching, const char *path, const char *library)
{
    char number[24];
    snprintf(number, sizeof number, "%d", searching->file);
    launch_preload(library);
    launch_set("leaks", number);
    snprintf(number, sizeof number, "%zu", searching->stacks);
    launch_set("stacks", number);
    if (searching->wants_json)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    execv(path, searching->program);
    command_fail("leaks", 0, "'%s' cannot be run: %s", path, strerror(errno));
    _exit(127);
}

static int run_program(const struct searching *searching, const char *path, const char *library,
                       int *status)
{
    const pid_t child = launch_fork();
    if (child == 0)
        exec_program(searching, path, library);
    return launch_wait("leaks", child, status);
}

static int report_program(const char *path, int status)
{
    if (WIFSIGNALED(status))
        return command_fail("leaks", EXIT_FINDING, "%s was ended by signal %d (%s)", path,
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return command_fail("leaks", EXIT_FINDING, "%s ended with status %d", path,
                            WEXITSTATUS(status));
    return EXIT_FINE;
}

static int report_lost(struct searching *searching, const char *path)
{
    struct leak_report *report = &searching->report;
    lseek(searching->file, 0, SEEK_SET);
    FILE *from = fdopen(searching->file, "r");
    if (from == NULL || !leak_report_read(report, from))
        command_fail("leaks", 0,
                     "the program wrote into the report (descriptor %d): counts may be "
                     "incomplete",
                     searching->file);
    if (report->processes == 0)
        return command_fail(
            "leaks", EXIT_FINDING,
            "%s told nothing: it was killed, ended by _exit(), or closed descriptor "
            "%d",
            path, searching->file);
    leak_report_settle(report, &searching->suppressions);
    if (searching->wants_json)
        leak_report_print_json(report);
    else
        leak_report_print(report, searching->wants_reachable);
    return report->lost_bytes > searching->fail_over ? EXIT_FINDING : EXIT_FINE;
}

static int run_leaks(int argc, char **argv)
{
    static struct searching searching = {.stacks = 16};
    char library[PATH_MAX], path[PATH_MAX];
    struct elf_facts facts;
    int program_status = 0;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &searching);
    if (command_find_library("libration.so", library, sizeof library) != 0)
        return command_fail("leaks", EXIT_USAGE, "no library at %s: build it with `make`", library);
    if (launch_find_program(searching.program[0], path) != 0)
        return command_fail("leaks", EXIT_USAGE, "'%s' cannot be run: %s", searching.program[0],
                            strerror(errno));
    elf_read_program(&facts, path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("leaks", EXIT_USAGE, "%s: %s; nothing could be searched", facts.path,
                            reason);
    searching.file = memfd_create("ration-leaks", 0);
    if (searching.file < 0)
        return command_fail("leaks", EXIT_USAGE, "no file in memory: %s", strerror(errno));
    const int status = run_program(&searching, path, library, &program_status);
    if (status != EXIT_FINE)
        return status;
    const int lost = report_lost(&searching, path);
    const int ended = report_program(path, program_status);
    return lost > ended ? lost : ended;
}

const struct command command_leaks = {
    .name = "leaks",
    .what = "the blocks that a program lost, by call site",
    .argp = &argp,
    .run = run_leaks,
};
