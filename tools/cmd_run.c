/* ration run: start a program under libration, with options in words instead of variables. */
#include "command.h"
#include "elf_facts.h"
#include "launch.h"
#include "report_names.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum key {
    key_harden = 256,
    key_stats,
    key_on_error,
    key_purge_delay,
    key_stacks,
    key_leaks,
    key_log,
    key_log_file,
};

struct running {
    char **program;
    bool names_reports; /* callers are recorded: reports get functions and lines */
};

static const struct argp_option options[] = {
    {"harden", key_harden, "LEVEL", 0,
     "off: detection only; fast: random placement, delayed reuse, zeroing on free; full: canaries "
     "and a check for writes after free too",
     0},
    {"on-error", key_on_error, "WHAT", 0,
     "What a detected misuse does after its report: abort, report (every one, and go on) or ignore "
     "(after the first report)",
     0},
    {"purge-delay", key_purge_delay, "MS", 0,
     "Age at which free pages go back to the system; 0 at once, -1 never", 0},
    {"stacks", key_stacks, "N", 0,
     "Record N callers of each allocation and free, at most 64: reports of misuse show them", 0},
    {"leaks", key_leaks, NULL, 0, "Look for lost blocks when the program ends, and tell on stderr",
     0},
    {"log", key_log, "CALLS", 0,
     "Write a line for each of these calls before it returns: some of "
     "malloc,calloc,realloc,aligned,free, "
     "or all",
     0},
    {"log-file", key_log_file, "FILE", 0, "Write them to FILE instead of stderr", 0},
    {"stats", key_stats, NULL, 0, "Print where the memory is to stderr when the program ends", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

/* Names the value and what it could be, like every message about options. */
static void set_choice(const struct argp_state *state, const char *key, const char *option,
                       const char *value, const char *const *words)
{
    for (const char *const *word = words; *word != NULL; word++) {
        if (strcmp(*word, value) == 0) {
            launch_set(key, value);
            return;
        }
    }
    argp_error(state, "%s cannot be '%s', expected %s, %s or %s", option, value, words[0], words[1],
               words[2]);
}

static void set_delay(const struct argp_state *state, const char *value)
{
    char *end;
    errno = 0;
    const long n = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || n < -1 || n > 3600000)
        argp_error(state, "--purge-delay cannot be '%s', expected milliseconds from -1 to 3600000",
                   value);
    else
        launch_set("purge_delay", value);
}

static void set_stacks(const struct argp_state *state, const char *value)
{
    char *end;
    const long n = strtol(value, &end, 10);
    struct running *running = state->input;
    if (end == value || *end != '\0' || n < 0 || n > 64)
        argp_error(state, "--stacks cannot be '%s', expected a number from 0 to 64", value);
    launch_set("stacks", value);
    running->names_reports = n > 0;
}

/* Commas separate settings in RATION, so there the words are joined by `+`. */
static void set_log(const struct argp_state *state, const char *value)
{
    static const char *const words[] = {"malloc", "calloc", "realloc", "aligned", "free"};
    char joined[128] = "";
    if (strcmp(value, "all") == 0)
        value = "malloc,calloc,realloc,aligned,free";
    for (const char *at = value;; at++) {
        const size_t n = strcspn(at, ",");
        size_t i = 0;
        while (i < 5 && (strlen(words[i]) != n || strncmp(words[i], at, n) != 0))
            i++;
        if (i == 5 || strlen(joined) + n + 2 > sizeof joined)
            argp_error(
                state,
                "--log cannot be '%s', expected some of malloc,calloc,realloc,aligned,free, or all",
                value);
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%.*s",
                 joined[0] != '\0' ? "+" : "", (int)n, at);
        at += n;
        if (*at == '\0')
            break;
    }
    launch_set("log", joined);
}

/* To append, so that lines of several processes do not write over each other. */
static void set_log_file(const struct argp_state *state, const char *path)
{
    char number[16];
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    if (fd < 0)
        argp_failure(state, EXIT_USAGE, errno, "--log-file: %s cannot be written", path);
    snprintf(number, sizeof number, "%d", fd);
    launch_set("log_fd", number);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    static const char *const levels[] = {"off", "fast", "full", NULL};
    static const char *const reactions[] = {"abort", "report", "ignore", NULL};
    struct running *running = state->input;
    switch (key) {
    case key_harden:
        set_choice(state, "harden", "--harden", argument, levels);
        return 0;
    case key_on_error:
        set_choice(state, "on_error", "--on-error", argument, reactions);
        return 0;
    case key_purge_delay:
        set_delay(state, argument);
        return 0;
    case key_stats:
        launch_set("stats", "1");
        return 0;
    case key_stacks:
        set_stacks(state, argument);
        return 0;
    case key_leaks:
        launch_set("leaks", "1");
        return 0;
    case key_log:
        set_log(state, argument);
        return 0;
    case key_log_file:
        set_log_file(state, argument);
        return 0;
    default:
        return command_parse_program(key, state, &running->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM, and what it starts, under libration.\v"
    "  ration run --harden=full -- python3 script.py\n"
    "  ration run --stats --on-error=report -- make -j4\n"
    "  ration run --stacks=16 -- ./server\n"
    "  ration run --log=malloc,free --log-file=calls.txt -- ./server\n\n"
    "A program into which nothing can be loaded is refused with the reason; `ration doctor` "
    "explains.\n"
    "Exit status: that of PROGRAM; 2 if it was not started.",
    NULL,
    NULL,
    NULL,
};

static void start_names(const struct running *running)
{
    char number[16];
    const int fd = running->names_reports ? report_names_start() : -1;
    if (fd < 0)
        return;
    snprintf(number, sizeof number, "%d", fd);
    launch_set("reports", number);
}

static int run_run(int argc, char **argv)
{
    struct running running = {.program = NULL};
    char library[PATH_MAX];
    char path[PATH_MAX];
    struct elf_facts facts;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &running);
    if (command_find_library("libration.so", library, sizeof library) != 0)
        return command_fail("run", EXIT_USAGE, "no library at %s: build it with `make`", library);
    if (launch_find_program(running.program[0], path) != 0)
        return command_fail("run", EXIT_USAGE, "'%s' cannot be run: %s", running.program[0],
                            strerror(errno));
    elf_read_program(&facts, path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("run", EXIT_USAGE, "%s: %s; it would run without libration", facts.path,
                            reason);
    launch_preload(library);
    start_names(&running);
    execv(path, running.program);
    return command_fail("run", EXIT_USAGE, "'%s' cannot be run: %s", running.program[0],
                        strerror(errno));
}

const struct command command_run = {
    .name = "run",
    .what = "run a program under libration",
    .argp = &argp,
    .run = run_run,
};
