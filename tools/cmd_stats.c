/* ration stats: the ledger of a running process, read from outside. The process is not stopped, no
 * signal is sent, nothing in it runs. */
#include "command.h"
#include "launch.h"
#include "process.h"
#include <argp.h>
#include <unistd.h>

enum key { key_json = 256, key_openmetrics };

struct asking {
    int pid;
    bool wants_json, wants_openmetrics;
};

static const struct argp_option options[] = {
    {"json", key_json, NULL, 0, "Print JSON", 0},
    {"openmetrics", key_openmetrics, NULL, 0, "Print the OpenMetrics text format", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct asking *asking = state->input;
    switch (key) {
    case key_json:
        asking->wants_json = true;
        return 0;
    case key_openmetrics:
        asking->wants_openmetrics = true;
        return 0;
    default:
        return process_parse_pid(key, argument, state, &asking->pid);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "PID",
    "Show where the memory of a running process is, if it runs under libration.\v"
    "The process must be your own. It is neither stopped nor asked: its records are read.\n\n"
    "Exit status: 0 fine, 1 the process does not run under libration, 2 it cannot be read, "
    "3 its records make no sense.",
    NULL,
    NULL,
    NULL,
};

static int run_stats(int argc, char **argv)
{
    struct asking asking = {0};
    struct library library;
    struct ration_stats stats;
    argp_parse(&argp, argc, argv, 0, NULL, &asking);
    int status = process_open(&library, asking.pid, "stats");
    if (status == EXIT_FINE)
        status = process_read(&library, asking.pid, &stats, "stats");
    if (status != EXIT_FINE)
        return status;
    fflush(stdout);
    const int failed = asking.wants_json          ? library.write_json(&stats, STDOUT_FILENO)
                       : asking.wants_openmetrics ? library.write_openmetrics(&stats, STDOUT_FILENO)
                                                  : library.write_text(&stats, STDOUT_FILENO);
    return failed != 0 ? command_fail("stats", EXIT_USAGE, "the output cannot be written")
                       : EXIT_FINE;
}

const struct command command_stats = {
    .name = "stats",
    .what = "where the memory of a running process is",
    .argp = &argp,
    .run = run_stats,
};
