/* startup ROUNDS NAME=LIBRARY ...   What a preloaded library costs /bin/true, as JSON by name.
 * startup maps LIBRARY              Its resident memory just before it ends, by mapping.
 *
 * An empty LIBRARY is no preload. Each round starts /bin/true once under each, in turn, and the first
 * is another one each time: figures of one round saw the same machine. Times are of one start, from
 * before the fork to after the wait; memory is read while the program stands still at its end, from
 * the page tables (smaps_rollup), because the kernel's running count is some dozen pages off. */
#include "figures.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIBRARIES_MOST = 32, ROUNDS_MOST = 5000, MEMORY_ROUNDS = 15 };

static const char program[] = "/bin/true";

struct library {
    const char *name;
    char setting[1024]; /* LD_PRELOAD=..., or empty */
    double wall_us[ROUNDS_MOST], cpu_us[ROUNDS_MOST];
    long faults, rss_kib[MEMORY_ROUNDS], dirty_kib;
};

static struct library libraries[LIBRARIES_MOST];

static void fail(const char *what)
{
    fprintf(stderr, "startup: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double microseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double microseconds(struct timeval time)
{
    return (double)time.tv_sec * 1e6 + (double)time.tv_usec;
}

static void start_once(struct library *library, unsigned round)
{
    char *arguments[] = {(char *)(uintptr_t)program, NULL};
    char *environment[] = {library->setting[0] ? library->setting : NULL, NULL};
    struct rusage used;
    int status = 0;
    pid_t child;
    double start = microseconds_now();

    if (posix_spawn(&child, program, NULL, NULL, arguments, environment) != 0 ||
        wait4(child, &status, 0, &used) != child || status != 0) {
        fail("/bin/true does not run");
    }
    library->wall_us[round] = microseconds_now() - start;
    library->cpu_us[round] = microseconds(used.ru_utime) + microseconds(used.ru_stime);
    library->faults = used.ru_minflt;
}

/* Runs it up to its very end and stops it there. */
static pid_t stop_at_end(const char *setting)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        char *environment[] = {(char *)(uintptr_t)(setting[0] ? setting : NULL), NULL};
        char *arguments[] = {(char *)(uintptr_t)program, NULL};
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execve(program, arguments, environment);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child ||
        ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)PTRACE_O_TRACEEXIT) != 0) {
        fail("cannot trace /bin/true");
    }
    do {
        if (ptrace(PTRACE_CONT, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child ||
            !WIFSTOPPED(status)) {
            fail("/bin/true ended unseen");
        }
    } while (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8));
    return child;
}

static void let_end(pid_t child)
{
    int status;
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
}

static FILE *open_of(pid_t child, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        fail(path);
    }
    return file;
}

/* The pages of files that a fault brings along depend on the addresses, which are random: so some times. */
static void read_memory(struct library *library, unsigned round)
{
    char line[512];
    pid_t child = stop_at_end(library->setting);
    FILE *file = open_of(child, "smaps_rollup");

    while (fgets(line, sizeof line, file)) {
        sscanf(line, "Rss: %ld", &library->rss_kib[round]);
        sscanf(line, "Private_Dirty: %ld", &library->dirty_kib);
    }
    fclose(file);
    let_end(child);
}

/* One line a mapping that holds something. */
static int print_maps(const char *path)
{
    char line[1024], name[1024] = "", setting[1024] = "";
    long rss = 0, dirty = 0;

    if (*path) {
        snprintf(setting, sizeof setting, "LD_PRELOAD=%s", path);
    }
    pid_t child = stop_at_end(setting);
    FILE *file = open_of(child, "smaps");
    while (fgets(line, sizeof line, file)) {
        if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, sizeof name, "%s", line);
        }
        sscanf(line, "Rss: %ld", &rss);
        if (sscanf(line, "Private_Dirty: %ld", &dirty) == 1 && rss > 0) {
            printf("%6ld KiB, of it written %5ld   %s\n", rss, dirty, name);
        }
    }
    fclose(file);
    let_end(child);
    return 0;
}

static int compare_longs(const void *left, const void *right)
{
    long a = *(const long *)left, b = *(const long *)right;
    return (a > b) - (a < b);
}

static void print_library(struct library *library, unsigned n_rounds, const char *end)
{
    qsort(library->wall_us, n_rounds, sizeof(double), compare_doubles);
    qsort(library->rss_kib, MEMORY_ROUNDS, sizeof(long), compare_longs);
    qsort(library->cpu_us, n_rounds, sizeof(double), compare_doubles);
    printf("\"%s\": {\"wall_min\": %.1f, \"wall\": %.1f, \"cpu_min\": %.1f, \"cpu\": %.1f, "
           "\"rss\": %ld, \"dirty\": %ld, \"faults\": %ld}%s",
           library->name, library->wall_us[0], library->wall_us[n_rounds / 4], library->cpu_us[0],
           library->cpu_us[n_rounds / 4], library->rss_kib[MEMORY_ROUNDS / 2], library->dirty_kib,
           library->faults, end);
}

int main(int argc, char **argv)
{
    unsigned n = (unsigned)argc - 2, n_rounds = argc > 2 ? (unsigned)atoi(argv[1]) : 0;

    if (argc == 3 && strcmp(argv[1], "maps") == 0) {
        return print_maps(argv[2]);
    }
    if (argc < 3 || n > LIBRARIES_MOST || n_rounds < 1 || n_rounds > ROUNDS_MOST) {
        fprintf(stderr,
                "usage: startup ROUNDS NAME=LIBRARY ... (at most %d rounds of %d), or "
                "startup maps LIBRARY\n",
                ROUNDS_MOST, LIBRARIES_MOST);
        return 2;
    }
    for (unsigned i = 0; i < n; i++) {
        char *equals = strchr(argv[i + 2], '=');
        libraries[i].name = argv[i + 2];
        if (equals && equals[1]) {
            snprintf(libraries[i].setting, sizeof libraries[i].setting, "LD_PRELOAD=%s",
                     equals + 1);
        }
        if (equals) {
            *equals = '\0';
        }
    }
    for (unsigned round = 0; round < n_rounds; round++) {
        for (unsigned i = 0; i < n; i++) {
            start_once(&libraries[(round + i) % n], round);
        }
    }
    printf("{");
    for (unsigned i = 0; i < n; i++) {
        for (unsigned round = 0; round < MEMORY_ROUNDS; round++) {
            read_memory(&libraries[i], round);
        }
        print_library(&libraries[i], n_rounds, i + 1 < n ? ", " : "}\n");
    }
    return 0;
}
