/* ration top: a view of a running process's memory that is renewed, or the list of this user's processes
 * that run under libration. */
#include "command.h"
#include "json.h"
#include "launch.h"
#include "process.h"
#include <argp.h>
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { key_json = 256, key_once, most_processes = 256, most_rows = 12 };

struct watching {
    int pid; /* 0: all */
    bool wants_json, once;
    double seconds; /* between two looks */
    struct library library;
};

/* A process of the list. */
struct row {
    int pid;
    char name[32];
    struct ration_stats stats;
};

static const struct argp_option options[] = {
    {"delay", 'd', "SECONDS", 0, "Time between two looks (default 1)", 0},
    {"once", key_once, NULL, 0, "Look once, and end; so does output that is no terminal", 0},
    {"json", key_json, NULL, 0, "Look once, and print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct watching *watching = state->input;
    char *end;
    switch (key) {
    case 'd':
        watching->seconds = strtod(argument, &end);
        if (*end != '\0' || !(watching->seconds >= 0.1 && watching->seconds <= 3600))
            argp_error(state, "--delay cannot be '%s', expected seconds from 0.1 to 3600",
                       argument);
        return 0;
    case key_once:
        watching->once = true;
        return 0;
    case key_json:
        watching->wants_json = watching->once = true;
        return 0;
    case ARGP_KEY_END:
        return 0; /* without a process: all of them */
    default:
        return process_parse_pid(key, argument, state, &watching->pid);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "[PID]",
    "Show where the memory of a running process is, again and again; without PID all of your "
    "processes that run under libration.\v"
    "They are neither stopped nor asked: their records are read. Interrupt it to end it.\n\n"
    "Exit status: 0 fine, 1 the process does not run under libration, 2 it cannot be read, "
    "3 its records make no sense.",
    NULL,
    NULL,
    NULL,
};

static double mebibytes(size_t bytes)
{
    return (double)bytes / 1048576;
}

static size_t live_bytes(const struct ration_stats *stats)
{
    return stats->parts[RATION_PART_LIVE_SMALL].resident_bytes +
           stats->parts[RATION_PART_LIVE_LARGE].resident_bytes;
}

static void print_bar(size_t bytes, size_t all, const struct colours *colours)
{
    enum { columns = 30 };
    const size_t n = all == 0 ? 0 : (columns * bytes + all / 2) / all;
    fputs(colours->good, stdout);
    for (size_t i = 0; i < n && i < columns; i++)
        putchar('#');
    puts(colours->plain);
}

static void print_parts(const struct watching *watching, const struct ration_stats *stats)
{
    const struct colours colours = colours_for_stdout();
    printf("%sprocess %d: %.1f MiB in memory, %.1f at its peak, %zu live blocks, %zu threads%s\n",
           colours.bold, watching->pid, mebibytes(stats->rss_bytes),
           mebibytes(stats->rss_peak_bytes), stats->live_small_blocks + stats->live_large_blocks,
           stats->threads, colours.plain);
    for (int part = 0; part < RATION_PART_COUNT; part++) {
        const size_t bytes = stats->parts[part].resident_bytes;
        if (bytes == 0)
            continue;
        printf("  %-26s %10.1f MiB  ", watching->library.part_name((enum ration_part)part),
               mebibytes(bytes));
        print_bar(bytes, stats->rss_bytes, &colours);
    }
    printf("  %-26s %10.1f MiB  ", "not the allocator's", mebibytes(stats->not_own_bytes));
    print_bar(stats->not_own_bytes, stats->rss_bytes, &colours);
}

static const struct ration_stats *compared; /* for compare_classes */

static int compare_classes(const void *a, const void *b)
{
    const size_t x = compared->classes[*(const int *)a].resident_bytes;
    const size_t y = compared->classes[*(const int *)b].resident_bytes;
    return (x < y) - (x > y);
}

static void print_classes(const struct ration_stats *stats)
{
    const struct colours colours = colours_for_stdout();
    int order[RATION_CLASS_COUNT];
    for (int c = 0; c < RATION_CLASS_COUNT; c++)
        order[c] = c;
    compared = stats;
    qsort(order, RATION_CLASS_COUNT, sizeof *order, compare_classes);
    printf("%s  %8s %12s %12s %8s %10s%s\n", colours.bold, "class", "live", "of slots", "slabs",
           "MiB", colours.plain);
    for (int i = 0; i < most_rows && stats->classes[order[i]].slabs > 0; i++) {
        const struct ration_class_stats *k = &stats->classes[order[i]];
        printf("  %8zu %12zu %12zu %8zu %10.1f\n", k->slot_bytes, k->live, k->slots, k->slabs,
               mebibytes(k->resident_bytes));
    }
}

static int is_libration_process(int pid)
{
    char path[64], line[PATH_MAX + 128];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, "/libration.so") != NULL || strstr(line, "/libft_malloc") != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static void read_name(struct row *row)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", row->pid);
    FILE *comm = fopen(path, "re");
    if (comm == NULL || fgets(row->name, sizeof row->name, comm) == NULL)
        row->name[0] = '\0';
    row->name[strcspn(row->name, "\n")] = '\0';
    if (comm != NULL)
        fclose(comm);
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->stats.rss_bytes < y->stats.rss_bytes) - (x->stats.rss_bytes > y->stats.rss_bytes);
}

/* Those that use the very library that lies beside this command; others are read one by one. */
static int list_processes(const struct watching *watching, struct row *rows)
{
    int n = 0;
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    while (processes != NULL && n < most_processes && (entry = readdir(processes)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        rows[n].pid = (int)strtol(entry->d_name, NULL, 10);
        if (rows[n].pid == getpid() || !is_libration_process(rows[n].pid) ||
            watching->library.stats_read_process(rows[n].pid, &rows[n].stats) != RATION_OK)
            continue;
        read_name(&rows[n]);
        n++;
    }
    if (processes != NULL)
        closedir(processes);
    qsort(rows, (size_t)n, sizeof *rows, compare_rows);
    return n;
}

static void print_list(const struct row *rows, int n)
{
    const struct colours colours = colours_for_stdout();
    printf("%s%8s %-16s %10s %10s %10s %12s %8s%s\n", colours.bold, "process", "name", "MiB",
           "allocator", "live", "blocks", "threads", colours.plain);
    for (int i = 0; i < n; i++) {
        const struct ration_stats *s = &rows[i].stats;
        printf("%8d %-16s %10.1f %10.1f %10.1f %12zu %8zu\n", rows[i].pid, rows[i].name,
               mebibytes(s->rss_bytes), mebibytes(s->own_bytes), mebibytes(live_bytes(s)),
               s->live_small_blocks + s->live_large_blocks, s->threads);
    }
    if (n == 0)
        puts("None of your processes runs under this library: `ration run -- PROGRAM` starts one.");
    else
        printf("Next: ration top %d\n", rows[0].pid);
}

static void print_list_json(const struct row *rows, int n)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_open_array(&json, "processes");
    for (int i = 0; i < n; i++) {
        const struct ration_stats *s = &rows[i].stats;
        json_open_object(&json, NULL);
        json_integer(&json, "pid", rows[i].pid);
        json_string(&json, "name", rows[i].name);
        json_size(&json, "rss_bytes", s->rss_bytes);
        json_size(&json, "own_bytes", s->own_bytes);
        json_size(&json, "live_bytes", live_bytes(s));
        json_size(&json, "live_blocks", s->live_small_blocks + s->live_large_blocks);
        json_size(&json, "threads", s->threads);
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int look(const struct watching *watching)
{
    static struct row rows[most_processes];
    if (watching->pid == 0) {
        const int n = list_processes(watching, rows);
        (watching->wants_json ? print_list_json : print_list)(rows, n);
        return EXIT_FINE;
    }
    const int status = process_read(&watching->library, watching->pid, &rows[0].stats, "top");
    if (status != EXIT_FINE)
        return status;
    if (watching->wants_json) {
        fflush(stdout);
        return watching->library.write_json(&rows[0].stats, STDOUT_FILENO) == 0 ? EXIT_FINE
                                                                                : EXIT_USAGE;
    }
    print_parts(watching, &rows[0].stats);
    print_classes(&rows[0].stats);
    return EXIT_FINE;
}

static volatile sig_atomic_t is_over;

static void end(int signal_number)
{
    (void)signal_number;
    is_over = 1;
}

/* Draws over the last look instead of clearing first, so that nothing flickers. A process that ends ends the view. */
static int watch(const struct watching *watching)
{
    const struct sigaction action = {.sa_handler = end};
    const struct timespec nap = {
        (time_t)watching->seconds,
        (long)((watching->seconds - (double)(time_t)watching->seconds) * 1e9)};
    int status = EXIT_FINE;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fputs("\033[2J", stdout);
    while (!is_over && status == EXIT_FINE) {
        fputs("\033[H\033[0J", stdout);
        status = look(watching);
        fflush(stdout);
        if (status == EXIT_FINE)
            nanosleep(&nap, NULL);
    }
    return is_over ? EXIT_FINE : status;
}

static int run_top(int argc, char **argv)
{
    static struct watching watching = {.seconds = 1};
    argp_parse(&argp, argc, argv, 0, NULL, &watching);
    const int status = watching.pid != 0 ? process_open(&watching.library, watching.pid, "top")
                                         : library_open(&watching.library, NULL, "top");
    if (status != EXIT_FINE)
        return status;
    return watching.once || !isatty(STDOUT_FILENO) ? look(&watching) : watch(&watching);
}

const struct command command_top = {
    .name = "top",
    .what = "the memory of a running process, renewed; or a list of processes",
    .argp = &argp,
    .run = run_top,
};
