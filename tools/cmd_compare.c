/* ration compare: a program under every allocator found, in interleaved rounds. */
#include "command.h"
#include "elf_facts.h"
#include "json.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { key_json = 256, key_output, most_allocators = 32, most_rounds = 101 };

struct sample {
    double seconds, processor_seconds, peak_bytes;
};

struct allocator {
    char name[40];
    char library[PATH_MAX]; /* empty: the C library's */
    struct sample samples[most_rounds];
    int n_samples;
    int failed_status; /* wait status of the first run that did not end well; 0: none did */
};

struct comparison {
    struct allocator allocators[most_allocators];
    int n_allocators;
    int rounds;
    bool wants_json, keeps_output;
    char **program;
    char path[PATH_MAX];
};

static const struct argp_option options[] = {
    {"json", key_json, NULL, 0, "Print JSON, every sample included", 0},
    {"rounds", 'n', "N", 0, "Rounds; in each, every allocator has one run (default 5)", 0},
    {"output", key_output, NULL, 0, "Let the program's output through (default: thrown away)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct comparison *comparison = state->input;
    char *end;
    switch (key) {
    case key_json:
        comparison->wants_json = true;
        return 0;
    case key_output:
        comparison->keeps_output = true;
        return 0;
    case 'n':
        comparison->rounds = (int)strtol(argument, &end, 10);
        if (*end != '\0' || comparison->rounds < 1 || comparison->rounds > most_rounds)
            argp_error(state, "--rounds cannot be '%s', expected 1 to %d", argument, most_rounds);
        return 0;
    default:
        return command_parse_program(key, state, &comparison->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM under libration, under the system's malloc and under every other allocator that "
    "is "
    "installed, and compare time and peak memory.\v"
    "  ration compare -n 9 -- gcc -O2 -c file.c\n\n"
    "PEERS='name=/path/lib.so ...' in the environment adds allocators. Peak memory is that of the "
    "largest process that PROGRAM consists of.\n"
    "Exit status: 0 fine, 1 PROGRAM failed under some allocator, 2 it cannot be run.",
    NULL,
    NULL,
    NULL,
};

static void add_allocator(struct comparison *comparison, const char *name, size_t name_chars,
                          const char *library)
{
    if (comparison->n_allocators == most_allocators)
        return;
    for (int i = 0; i < comparison->n_allocators; i++)
        if (strcmp(comparison->allocators[i].library, library) == 0)
            return;
    struct allocator *a = &comparison->allocators[comparison->n_allocators++];
    snprintf(a->name, sizeof a->name, "%.*s", (int)name_chars, name);
    snprintf(a->library, sizeof a->library, "%s", library);
}

/* The newest file of a pattern, which has the version at its end. */
static void add_installed(struct comparison *comparison, const char *name, const char *file)
{
    static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
                                          "/usr/lib64", "/usr/lib", "/usr/local/lib"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char pattern[PATH_MAX];
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s/%s", folders[i], file);
        if (glob(pattern, 0, NULL, &found) != 0)
            continue;
        add_allocator(comparison, name, strlen(name), found.gl_pathv[found.gl_pathc - 1]);
        globfree(&found);
        return;
    }
}

static int add_peers(struct comparison *comparison)
{
    const char *rest = getenv("PEERS");
    while (rest != NULL && *(rest += strspn(rest, " \t\n")) != '\0') {
        char library[PATH_MAX];
        const size_t n = strcspn(rest, " \t\n");
        const char *equals = memchr(rest, '=', n);
        if (equals == NULL || equals == rest)
            return command_fail("compare", EXIT_USAGE,
                                "PEERS: '%.*s' is not of the form name=/path/lib.so", (int)n, rest);
        snprintf(library, sizeof library, "%.*s", (int)(rest + n - equals - 1), equals + 1);
        if (access(library, R_OK) != 0)
            return command_fail("compare", EXIT_USAGE, "PEERS: %s cannot be read: %s", library,
                                strerror(errno));
        add_allocator(comparison, rest, (size_t)(equals - rest), library);
        rest += n;
    }
    return EXIT_FINE;
}

static int find_allocators(struct comparison *comparison)
{
    char library[PATH_MAX];
    if (command_find_library("libration.so", library, sizeof library) != 0)
        return command_fail("compare", EXIT_USAGE, "no library at %s: build it with `make`",
                            library);
    add_allocator(comparison, "libration", 9, library);
    add_allocator(comparison, "system", 6, "");
    add_installed(comparison, "jemalloc", "libjemalloc.so.[0-9]");
    add_installed(comparison, "mimalloc", "libmimalloc.so.[0-9]*");
    add_installed(comparison, "tcmalloc", "libtcmalloc_minimal.so.[0-9]");
    add_installed(comparison, "tbbmalloc", "libtbbmalloc_proxy.so.[0-9]");
    return add_peers(comparison);
}

/* Times of an allocator that the linker refuses (another machine's, a damaged file) would be the system's. */
static int drop_refused(struct comparison *comparison, const struct elf_facts *facts)
{
    int kept = 0;
    for (int i = 0; i < comparison->n_allocators; i++) {
        struct allocator *a = &comparison->allocators[i];
        if (a->library[0] == '\0' || launch_takes_preload(facts->linker, facts->path, a->library)) {
            if (kept != i)
                comparison->allocators[kept] = *a;
            kept++;
        } else if (i == 0) {
            return command_fail(
                "compare", EXIT_USAGE,
                "the dynamic linker does not load %s into %s; `ration doctor` tells "
                "why",
                a->library, facts->path);
        } else {
            command_fail("compare", 0, "%s is left out: the dynamic linker does not load %s",
                         a->name, a->library);
        }
    }
    comparison->n_allocators = kept;
    return EXIT_FINE;
}

static void exec_program(const struct comparison *comparison, const struct allocator *a)
{
    if (a->library[0] != '\0')
        setenv("LD_PRELOAD", a->library, 1);
    else
        unsetenv("LD_PRELOAD");
    if (!comparison->keeps_output) {
        const int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    execv(comparison->path, comparison->program);
    _exit(127);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int run_once(const struct comparison *comparison, struct allocator *a)
{
    struct timespec start, end;
    struct rusage usage;
    int status = 0;
    fflush(NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    const pid_t child = fork();
    if (child == 0)
        exec_program(comparison, a);
    if (child < 0)
        return command_fail("compare", EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return command_fail("compare", EXIT_USAGE, "cannot wait for the program: %s",
                                strerror(errno));
    clock_gettime(CLOCK_MONOTONIC, &end);
    a->samples[a->n_samples++] = (struct sample){
        .seconds =
            (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9,
        .processor_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime),
        .peak_bytes = (double)usage.ru_maxrss * 1024,
    };
    if (status != 0 && a->failed_status == 0)
        a->failed_status = status;
    return EXIT_FINE;
}

/* Every other round runs backwards, so that nobody always follows the same neighbour. */
static int run_rounds(struct comparison *comparison)
{
    const int n = comparison->n_allocators;
    for (int round = 0; round < comparison->rounds; round++) {
        for (int i = 0; i < n; i++) {
            struct allocator *a = &comparison->allocators[round % 2 == 0 ? i : n - 1 - i];
            const int status = run_once(comparison, a);
            if (status != EXIT_FINE)
                return status;
        }
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\rround %d of %d ", round + 1, comparison->rounds);
    }
    if (isatty(STDERR_FILENO))
        fputs("\r                    \r", stderr);
    return EXIT_FINE;
}

static int compare_reals(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quantile of one field of the samples, by its offset in struct sample. */
static double quantile(const struct allocator *a, size_t field, double share)
{
    double values[most_rounds] = {0};
    for (int i = 0; i < a->n_samples; i++)
        memcpy(&values[i], (const char *)&a->samples[i] + field, sizeof values[i]);
    qsort(values, (size_t)a->n_samples, sizeof *values, compare_reals);
    const double place = share * (a->n_samples - 1);
    const int below = (int)place;
    const int above = below + 1 < a->n_samples ? below + 1 : below;
    return values[below] + (values[above] - values[below]) * (place - below);
}

static double median(const struct allocator *a, size_t field)
{
    return quantile(a, field, 0.5);
}

static void describe_failure(const struct allocator *a, char text[80])
{
    text[0] = '\0';
    if (WIFSIGNALED(a->failed_status))
        snprintf(text, 80, "ended by signal %d (%s)", WTERMSIG(a->failed_status),
                 strsignal(WTERMSIG(a->failed_status)));
    else if (a->failed_status != 0)
        snprintf(text, 80, "ended with status %d", WEXITSTATUS(a->failed_status));
}

static void print_table(const struct comparison *comparison)
{
    const struct colours colours = colours_for_stdout();
    const struct allocator *own = &comparison->allocators[0];
    const double own_time = median(own, offsetof(struct sample, seconds));
    const double own_peak = median(own, offsetof(struct sample, peak_bytes));
    printf("%s%-16s %9s %17s %7s %9s %10s %7s%s\n", colours.bold, "", "seconds",
           "(half of the runs)", "to ours", "processor", "peak MiB", "to ours", colours.plain);
    for (int i = 0; i < comparison->n_allocators; i++) {
        const struct allocator *a = &comparison->allocators[i];
        const double time = median(a, offsetof(struct sample, seconds));
        const double peak = median(a, offsetof(struct sample, peak_bytes));
        char failure[80];
        describe_failure(a, failure);
        printf("%-16s %9.3f   %7.3f - %7.3f %6.2f %9.3f %10.1f %7.2f", a->name, time,
               quantile(a, offsetof(struct sample, seconds), 0.25),
               quantile(a, offsetof(struct sample, seconds), 0.75), time / own_time,
               median(a, offsetof(struct sample, processor_seconds)), peak / 1048576,
               peak / own_peak);
        printf("%s%s%s%s\n", failure[0] != '\0' ? "  " : "", colours.bad, failure, colours.plain);
    }
    printf("medians of %d runs; above 1.00 means more than libration takes\n", comparison->rounds);
}

static void print_json(const struct comparison *comparison)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_string(&json, "program", comparison->path);
    json_integer(&json, "rounds", comparison->rounds);
    json_open_array(&json, "allocators");
    for (int i = 0; i < comparison->n_allocators; i++) {
        const struct allocator *a = &comparison->allocators[i];
        char failure[80];
        describe_failure(a, failure);
        json_open_object(&json, NULL);
        json_string(&json, "name", a->name);
        json_string(&json, "library", a->library);
        json_real(&json, "median_seconds", median(a, offsetof(struct sample, seconds)));
        json_real(&json, "median_peak_bytes", median(a, offsetof(struct sample, peak_bytes)));
        json_string(&json, "failure", failure);
        json_open_array(&json, "samples");
        for (int k = 0; k < a->n_samples; k++) {
            json_open_object(&json, NULL);
            json_real(&json, "seconds", a->samples[k].seconds);
            json_real(&json, "processor_seconds", a->samples[k].processor_seconds);
            json_real(&json, "peak_bytes", a->samples[k].peak_bytes);
            json_close_object(&json);
        }
        json_close_array(&json);
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int run_compare(int argc, char **argv)
{
    static struct comparison comparison = {.rounds = 5};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &comparison);
    if (launch_find_program(comparison.program[0], comparison.path) != 0)
        return command_fail("compare", EXIT_USAGE, "'%s' cannot be run: %s", comparison.program[0],
                            strerror(errno));
    struct elf_facts facts;
    elf_read_program(&facts, comparison.path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("compare", EXIT_USAGE, "%s: %s; there is nothing to compare",
                            facts.path, reason);
    int status = find_allocators(&comparison);
    if (status == EXIT_FINE)
        status = drop_refused(&comparison, &facts);
    if (status == EXIT_FINE)
        status = run_rounds(&comparison);
    if (status != EXIT_FINE)
        return status;
    (comparison.wants_json ? print_json : print_table)(&comparison);
    for (int i = 0; i < comparison.n_allocators; i++)
        if (comparison.allocators[i].failed_status != 0)
            status = EXIT_FINDING;
    return status;
}

const struct command command_compare = {
    .name = "compare",
    .what = "a program under every allocator found: time and memory",
    .argp = &argp,
    .run = run_compare,
};
