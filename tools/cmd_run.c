/* ration run: start a program under libration, with options in words instead of variables. */
#include "command.h"
#include "elf_facts.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum key { key_harden = 256, key_stats, key_on_error, key_purge_delay };

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

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    static const char *const levels[] = {"off", "fast", "full", NULL};
    static const char *const reactions[] = {"abort", "report", "ignore", NULL};
    char ***program = state->input;
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
    default:
        return command_parse_program(key, state, program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM, and what it starts, under libration.\v"
    "  ration run --harden=full -- python3 script.py\n"
    "  ration run --stats --on-error=report -- make -j4\n\n"
    "A program into which nothing can be loaded is refused with the reason; `ration doctor` "
    "explains.\n"
    "Exit status: that of PROGRAM; 2 if it was not started.",
    NULL,
    NULL,
    NULL,
};

static int run_run(int argc, char **argv)
{
    char **program = NULL;
    char library[PATH_MAX];
    char path[PATH_MAX];
    struct elf_facts facts;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &program);
    if (command_find_library("libration.so", library, sizeof library) != 0)
        return command_fail("run", EXIT_USAGE, "no library at %s: build it with `make`", library);
    if (launch_find_program(program[0], path) != 0)
        return command_fail("run", EXIT_USAGE, "%s cannot be run: %s", program[0], strerror(errno));
    elf_read_program(&facts, path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("run", EXIT_USAGE, "%s: %s; it would run without libration", facts.path,
                            reason);
    launch_preload(library);
    execv(path, program);
    return command_fail("run", EXIT_USAGE, "%s cannot be run: %s", program[0], strerror(errno));
}

const struct command command_run = {
    .name = "run",
    .what = "run a program under libration",
    .argp = &argp,
    .run = run_run,
};
