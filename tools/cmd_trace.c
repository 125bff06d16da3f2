/* ration trace: run a program under the recorder, then write its allocations as a .rep trace. */
#include "command.h"
#include "launch.h"
#include "recorder/convert.h"
#include <argp.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum key { key_times = 256, key_classic, key_follow, key_convert };

struct tracing {
    const char *output;
    bool keeps_times, classic, follows;
    const char *raw; /* a recording to convert, instead of a program to run */
    char **program;  /* argument vector, ends with NULL */
    char prefix[PATH_MAX];
};

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Where the trace goes (default: PROGRAM.rep here)", 0},
    {"follow", key_follow, NULL, 0,
     "Record the processes that PROGRAM starts too, each in a file of its own: FILE with the "
     "process's number in front of `.rep`",
     0},
    {"times", key_times, NULL, 0, "Keep the time of every operation", 0},
    {"convert", key_convert, "RAW", 0,
     "Run nothing: write the trace of RAW, a recording that was left behind (.ration-trace-...)",
     0},
    {"classic", key_classic, NULL, 0,
     "Only what every replayer reads: no threads, calloc and aligned requests as malloc", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct tracing *tracing = state->input;
    switch (key) {
    case 'o':
        tracing->output = argument;
        return 0;
    case key_follow:
        tracing->follows = true;
        return 0;
    case key_times:
        tracing->keeps_times = true;
        return 0;
    case key_classic:
        tracing->classic = true;
        return 0;
    case key_convert:
        tracing->raw = argument;
        return 0;
    case ARGP_KEY_END:
        return tracing->raw != NULL ? 0 : command_parse_program(key, state, &tracing->program);
    default:
        return command_parse_program(key, state, &tracing->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Record every allocation of PROGRAM as a .rep trace for `ration sim`.\v"
    "The recording is complete up to the last instruction even if PROGRAM crashes or is killed. "
    "SIGTERM and SIGHUP go on to PROGRAM, and the trace is written. Should this command itself be "
    "killed, --convert writes it.\n\n"
    "  ration trace -o ls.rep -- ls -lR /usr\n"
    "  ration trace --follow -o gcc.rep -- gcc -O2 -c file.c\n"
    "  ration trace --convert=.ration-trace-77.78 -o ls.rep\n\n"
    "Exit status: 0 fine, 1 PROGRAM failed or records were lost (a trace was written all the "
    "same), "
    "2 nothing could be recorded.",
    NULL,
    NULL,
    NULL,
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void exec_program(const struct tracing *tracing, const char *library)
{
    char preload[2 * PATH_MAX], process[24];
    const char *before = getenv("LD_PRELOAD");
    snprintf(preload, sizeof preload, "%s%s%s", library, before != NULL ? ":" : "",
             before != NULL ? before : "");
    snprintf(process, sizeof process, "%ld", (long)getpid());
    setenv("LD_PRELOAD", preload, 1);
    setenv(raw_prefix_variable, tracing->prefix, 1);
    setenv(raw_process_variable, tracing->follows ? "all" : process, 1);
    execvp(tracing->program[0], tracing->program);
    command_fail("trace", 0, "'%s' cannot be run: %s", tracing->program[0], strerror(errno));
    _exit(127);
}

static int run_program(const struct tracing *tracing, const char *library, int *status, pid_t *pid)
{
    *pid = launch_fork();
    if (*pid == 0)
        exec_program(tracing, library);
    return launch_wait("trace", *pid, status);
}

/* FILE, or FILE with the number of the process: gcc.rep and gcc.1234.rep. */
static void name_output(const struct tracing *tracing, long process, bool is_main,
                        char path[PATH_MAX + 64])
{
    char stem[PATH_MAX];
    if (tracing->output != NULL)
        snprintf(stem, sizeof stem, "%s", tracing->output);
    else
        snprintf(stem, sizeof stem, "%s.rep", base_name(tracing->program[0]));
    if (is_main) {
        snprintf(path, PATH_MAX + 64, "%s", stem);
        return;
    }
    const size_t length = strlen(stem);
    if (length > 4 && strcmp(stem + length - 4, ".rep") == 0)
        stem[length - 4] = '\0';
    snprintf(path, PATH_MAX + 64, "%s.%ld.rep", stem, process);
}

static void print_summary(const char *path, const struct trace *trace,
                          const struct convert_notes *notes)
{
    fprintf(stderr,
            "ration trace: %s: %zu operations, %zu ids, peak payload %" PRIu64
            " bytes, %u thread%s (%s)\n",
            path, trace->n_ops, trace->n_ids, trace->peak_payload, trace->n_threads,
            trace->n_threads == 1 ? "" : "s", notes->program);
    if (notes->n_failed > 0)
        fprintf(stderr, "  left out: %" PRIu64 " requests that failed\n", notes->n_failed);
    if (notes->n_unknown_frees > 0)
        fprintf(stderr, "  left out: %" PRIu64 " frees of blocks from before the recording\n",
                notes->n_unknown_frees);
    if (notes->n_unseen_frees > 0)
        fprintf(stderr, "  added: %" PRIu64 " frees that went past the recorder\n",
                notes->n_unseen_frees);
    if (notes->n_unfinished > 0)
        fprintf(stderr, "  %" PRIu64 " records were begun by threads that died\n",
                notes->n_unfinished);
    if (notes->n_lost > 0)
        fprintf(stderr, "  LOST: the last %" PRIu64 " operations did not fit the recording\n",
                notes->n_lost);
}

static long process_of(const char *raw)
{
    const char *dot = strrchr(raw, '.');
    return dot != NULL ? strtol(dot + 1, NULL, 10) : 0;
}

static int convert_one(const struct tracing *tracing, const char *raw, bool is_main)
{
    struct trace trace;
    struct convert_notes notes;
    char path[PATH_MAX + 64];
    name_output(tracing, process_of(raw), is_main, path);
    int status = EXIT_FINE;
    if (convert_raw(raw, tracing->keeps_times, tracing->classic, &trace, &notes) != 0) {
        status = command_fail("trace", EXIT_USAGE, "%s", trace.error);
        trace_drop(&trace);
        return status;
    }
    FILE *out = fopen(path, "w");
    if (out != NULL)
        trace_write(&trace, out);
    if (out == NULL || ferror(out) || fclose(out) != 0) {
        status = command_fail("trace", EXIT_USAGE,
                              "%s: cannot be written: %s; the recording stays in %s: `ration "
                              "trace --convert=%s -o FILE` writes it",
                              path, strerror(errno), raw, raw);
    } else {
        unlink(raw);
        print_summary(path, &trace, &notes);
        status = notes.n_lost > 0 ? EXIT_FINDING : EXIT_FINE;
    }
    trace_drop(&trace);
    return status;
}

/* Of all files that begin with the prefix, whatever is in its name. */
static void write_pattern(const char *prefix, char *pattern)
{
    for (; *prefix != '\0'; prefix++) {
        if (strchr("*?[\\", *prefix) != NULL)
            *pattern++ = '\\';
        *pattern++ = *prefix;
    }
    memcpy(pattern, ".*", sizeof ".*");
}

static int convert_recordings(const struct tracing *tracing, pid_t pid)
{
    char pattern[2 * PATH_MAX + 8];
    glob_t found;
    write_pattern(tracing->prefix, pattern);
    if (glob(pattern, 0, NULL, &found) != 0)
        return command_fail(
            "trace", EXIT_USAGE,
            "%s left no recording: a static or setuid program does not load libraries "
            "that are preloaded",
            tracing->program[0]);
    int status = EXIT_FINE;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *raw = found.gl_pathv[i];
        const int one = convert_one(tracing, raw, process_of(raw) == pid);
        status = one > status ? one : status;
    }
    globfree(&found);
    return status;
}

static int report_program(const struct tracing *tracing, int status)
{
    if (WIFSIGNALED(status)) {
        fprintf(stderr,
                "ration trace: %s was ended by signal %d (%s); the trace reaches to that point\n",
                tracing->program[0], WTERMSIG(status), strsignal(WTERMSIG(status)));
        return EXIT_FINDING;
    }
    if (WEXITSTATUS(status) != 0) {
        fprintf(stderr, "ration trace: %s ended with status %d\n", tracing->program[0],
                WEXITSTATUS(status));
        return EXIT_FINDING;
    }
    return EXIT_FINE;
}

/* Before the program runs: what it did is not to be lost for a wrong name. *is_file: or will be. */
static int check_output(const struct tracing *tracing, bool *is_file)
{
    char path[PATH_MAX + 64];
    struct stat status;
    name_output(tracing, 0, true, path);
    const bool is_there = stat(path, &status) == 0;
    *is_file = !is_there || S_ISREG(status.st_mode);
    if (path[0] == '\0' || (is_there && S_ISDIR(status.st_mode)))
        return command_fail("trace", EXIT_USAGE, "'%s' is not the name of a file: say `-o FILE`",
                            path);
    if (is_there && access(path, W_OK) != 0)
        return command_fail("trace", EXIT_USAGE, "%s: cannot be written: %s", path,
                            strerror(errno));
    return EXIT_FINE;
}

/* The raw recording lies where the trace will, unless that is a pipe or a device: there is room, and a rename away is no copy.
 * The path is absolute, because the program may change its directory. */
static int choose_prefix(struct tracing *tracing)
{
    char directory[PATH_MAX];
    bool is_file;
    if (check_output(tracing, &is_file) != EXIT_FINE)
        return EXIT_USAGE;
    const char *output = tracing->output != NULL && is_file ? tracing->output : "";
    const char *slash = strrchr(output, '/');
    char start[PATH_MAX] = ".";
    if (slash != NULL)
        snprintf(start, sizeof start, "%.*s", (int)(slash - output + 1), output);
    if (realpath(start, directory) == NULL || access(directory, W_OK) != 0)
        return command_fail("trace", EXIT_USAGE, "%s: cannot be written to: %s", start,
                            strerror(errno));
    const int length = snprintf(tracing->prefix, sizeof tracing->prefix, "%s/.ration-trace-%ld",
                                strcmp(directory, "/") == 0 ? "" : directory, (long)getpid());
    if (length <= 0 || (size_t)length >= sizeof tracing->prefix)
        return command_fail("trace", EXIT_USAGE, "%s: the path is too long", directory);
    return EXIT_FINE;
}

static int convert_left_behind(struct tracing *tracing)
{
    bool is_file;
    if (tracing->program != NULL || tracing->output == NULL)
        return command_fail("trace", EXIT_USAGE,
                            "--convert takes a recording and `-o FILE`, and no program");
    const int status = check_output(tracing, &is_file);
    return status == EXIT_FINE ? convert_one(tracing, tracing->raw, true) : status;
}

static int run_trace(int argc, char **argv)
{
    struct tracing tracing = {0};
    char library[PATH_MAX];
    int program_status = 0;
    pid_t pid;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &tracing);
    if (tracing.raw != NULL)
        return convert_left_behind(&tracing);
    if (command_find_library("libration-trace.so", library, sizeof library) != 0)
        return command_fail("trace", EXIT_USAGE, "no recorder at %s: build it with `make`",
                            library);
    int status = choose_prefix(&tracing);
    if (status == EXIT_FINE)
        status = run_program(&tracing, library, &program_status, &pid);
    if (status != EXIT_FINE)
        return status;
    if (WIFEXITED(program_status) && WEXITSTATUS(program_status) == 127) {
        char raw[PATH_MAX + 24];
        snprintf(raw, sizeof raw, "%s.%ld", tracing.prefix, (long)pid);
        if (access(raw, R_OK) != 0)
            return EXIT_USAGE;
    }
    const int converted = convert_recordings(&tracing, pid);
    status = report_program(&tracing, program_status);
    return converted > status ? converted : status;
}

const struct command command_trace = {
    .name = "trace",
    .what = "record the allocations of a program as a trace",
    .argp = &argp,
    .run = run_trace,
};
