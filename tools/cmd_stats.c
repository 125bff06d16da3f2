/* ration stats: the ledger of a running process, read from outside. The process is not stopped, no
 * signal is sent, nothing in it runs. */
#include "command.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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
    char *end;
    long pid;
    switch (key) {
    case key_json:
        asking->wants_json = true;
        return 0;
    case key_openmetrics:
        asking->wants_openmetrics = true;
        return 0;
    case ARGP_KEY_ARG:
        pid = strtol(argument, &end, 10);
        if (*end != '\0' || end == argument || pid <= 0 || pid > INT_MAX)
            argp_error(state, "'%s' is not the number of a process", argument);
        else if (asking->pid != 0)
            argp_error(state, "one process at a time, please");
        asking->pid = (int)pid;
        return 0;
    case ARGP_KEY_END:
        if (asking->pid == 0)
            argp_error(state, "no process given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
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

/* A library as a line of /proc/PID/maps names it. */
struct mapped_file {
    char path[PATH_MAX];
    unsigned major, minor;
    unsigned long inode;
};

static bool is_libration(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL &&
           (strncmp(slash, "/libration.so", 13) == 0 || strcmp(slash, "/libft_malloc.so") == 0);
}

/* 1: found, 0: not there, -1: cannot be read. */
static int find_mapped(int pid, struct mapped_file *found)
{
    char name[64], line[PATH_MAX + 128];
    snprintf(name, sizeof name, "/proc/%d/maps", pid);
    FILE *maps = fopen(name, "re");
    int result = 0;
    if (maps == NULL)
        return -1;
    while (result == 0 && fgets(line, sizeof line, maps) != NULL) {
        struct mapped_file file = {.path = ""};
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*x-%*x %*s %*x %x:%x %lu %4095[^\n]", &file.major, &file.minor,
                   &file.inode, file.path) == 4 &&
            is_libration(file.path)) {
            *found = file;
            result = 1;
        }
    }
    if (result == 0 && ferror(maps))
        result = -1;
    fclose(maps);
    return result;
}

/* Code of that file is run here: it must be the process's own, and the process must be ours. */
static int check_owner(int pid)
{
    char name[64];
    struct stat status;
    snprintf(name, sizeof name, "/proc/%d", pid);
    if (stat(name, &status) != 0)
        return command_fail("stats", EXIT_USAGE, "there is no process %d", pid);
    if (status.st_uid != geteuid())
        return command_fail("stats", EXIT_USAGE,
                            "process %d belongs to user %u, and you are user %u: only its own user "
                            "may look into it",
                            pid, (unsigned)status.st_uid, (unsigned)geteuid());
    return EXIT_FINE;
}

static int choose_library(int pid, char path[PATH_MAX + 64])
{
    struct mapped_file file;
    struct stat status;
    const int found = find_mapped(pid, &file);
    if (found < 0)
        return command_fail("stats", EXIT_USAGE, "process %d cannot be read: %s", pid,
                            strerror(errno));
    if (found == 0)
        return command_fail("stats", EXIT_FINDING,
                            "process %d does not run under libration: no libration.so is loaded in "
                            "it (`ration run -- PROGRAM` starts one that does)",
                            pid);
    /* Seen from the process's own root: it may live in a container. */
    snprintf(path, PATH_MAX + 64, "/proc/%d/root%s", pid, file.path);
    if (stat(path, &status) != 0 || status.st_ino != file.inode)
        return command_fail("stats", EXIT_USAGE,
                            "process %d runs %s, which was replaced or removed since: restart the "
                            "process to look into it",
                            pid, file.path);
    return EXIT_FINE;
}

static int explain(enum ration_status status, int pid)
{
    switch (status) {
    case RATION_OK:
        return EXIT_FINE;
    case RATION_NO_PROCESS:
        return command_fail("stats", EXIT_USAGE, "there is no process %d (any more)", pid);
    case RATION_DENIED:
        return command_fail("stats", EXIT_USAGE,
                            "the system does not let you read process %d: it may have raised "
                            "privileges, or kernel.yama.ptrace_scope is 1 or more (root may)",
                            pid);
    case RATION_NOT_LOADED:
        return command_fail("stats", EXIT_FINDING, "process %d does not run under libration", pid);
    case RATION_UNREADABLE:
        break;
    }
    return command_fail("stats", EXIT_DAMAGED, "the records of process %d make no sense", pid);
}

static int run_stats(int argc, char **argv)
{
    struct asking asking = {0};
    struct library library;
    struct ration_stats stats;
    char path[PATH_MAX + 64];
    argp_parse(&argp, argc, argv, 0, NULL, &asking);
    int status = check_owner(asking.pid);
    if (status == EXIT_FINE)
        status = choose_library(asking.pid, path);
    if (status == EXIT_FINE)
        status = library_open(&library, path, "stats");
    if (status == EXIT_FINE)
        status = explain(library.stats_read_process(asking.pid, &stats), asking.pid);
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
    .run = run_stats,
};
