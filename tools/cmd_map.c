/* ration map: the address space of a running process's heap, drawn: each sign stands for a stretch of it,
 * by what most of the stretch is. */
#include "command.h"
#include "json.h"
#include "launch.h"
#include "process.h"
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { key_json = 256, default_columns = 64, default_rows = 32, least_cell = 4096 };

struct mapping {
    int pid;
    bool wants_json;
    struct library library;
    struct ration_run *runs;
    size_t n_runs, room;
    bool is_out_of_memory;
};

static const struct argp_option options[] = {
    {"json", key_json, NULL, 0, "Print JSON: every run with its address", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct mapping *mapping = state->input;
    if (key != key_json)
        return process_parse_pid(key, argument, state, &mapping->pid);
    mapping->wants_json = true;
    return 0;
}

static const struct argp argp = {
    options,
    parse_option,
    "PID",
    "Draw the address space of the heap of a running process that runs under libration.\v"
    "The process must be your own. It is neither stopped nor asked: its records are read.\n\n"
    "Exit status: 0 fine, 1 the process does not run under libration, 2 it cannot be read, "
    "3 its records make no sense.",
    NULL,
    NULL,
    NULL,
};

static int note(const struct ration_run *run, void *context)
{
    struct mapping *mapping = context;
    if (mapping->n_runs == mapping->room) {
        const size_t room = mapping->room == 0 ? 256 : 2 * mapping->room;
        struct ration_run *runs = realloc(mapping->runs, room * sizeof *runs);
        if (runs == NULL) {
            mapping->is_out_of_memory = true;
            return 1;
        }
        mapping->runs = runs;
        mapping->room = room;
    }
    mapping->runs[mapping->n_runs++] = *run;
    return 0;
}

/* How a stretch is drawn. Slabs by how many of their slots are live. */
enum look { SLAB_FULL, SLAB_HALF, SLAB_SPARSE, LARGE, DIRTY, CLEAN, VOID, OTHER, LOOKS };

static const struct {
    char sign;
    const char *words;
} looks[LOOKS] = {
    [SLAB_FULL] = {'#', "slabs, 3 of 4 slots live or more"},
    [SLAB_HALF] = {'+', "slabs, 1 of 4 or more"},
    [SLAB_SPARSE] = {'-', "slabs with fewer"},
    [LARGE] = {'L', "large blocks"},
    [DIRTY] = {'~', "free pages with memory"},
    [CLEAN] = {'.', "free pages without"},
    [VOID] = {' ', "free addresses"},
    [OTHER] = {'?', "not the heap's, or guards"},
};

static enum look look_of(const struct ration_run *run)
{
    switch (run->kind) {
    case RATION_RUN_SLAB:
        return 4 * run->live >= 3 * run->slots ? SLAB_FULL
               : 4 * run->live >= run->slots   ? SLAB_HALF
                                               : SLAB_SPARSE;
    case RATION_RUN_LARGE:
        return LARGE;
    case RATION_RUN_DIRTY:
        return DIRTY;
    case RATION_RUN_CLEAN:
        return CLEAN;
    case RATION_RUN_VOID:
        return VOID;
    case RATION_RUN_OTHER:
        break;
    }
    return OTHER;
}

static const char *paint_of(enum look look, const struct colours *colours)
{
    return look == SLAB_FULL || look == LARGE     ? colours->good
           : look == SLAB_HALF                    ? colours->warn
           : look == SLAB_SPARSE || look == DIRTY ? colours->bad
                                                  : "";
}

/* What most of [start, start + bytes) is. */
static enum look look_at(const struct mapping *mapping, size_t *first, size_t start, size_t bytes)
{
    size_t shares[LOOKS] = {0};
    const size_t end = start + bytes;
    while (*first < mapping->n_runs &&
           mapping->runs[*first].start + mapping->runs[*first].bytes <= start)
        ++*first;
    for (size_t i = *first; i < mapping->n_runs && mapping->runs[i].start < end; i++) {
        const struct ration_run *run = &mapping->runs[i];
        const size_t from = run->start > start ? run->start : start;
        const size_t to = run->start + run->bytes < end ? run->start + run->bytes : end;
        shares[look_of(run)] += to - from;
    }
    enum look most = OTHER;
    for (int look = 0; look < LOOKS; look++)
        if (shares[look] > shares[most])
            most = (enum look)look;
    return most;
}

static size_t columns_of_terminal(void)
{
    struct winsize size;
    const size_t address = 20;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < address + 16)
        return default_columns;
    return ((size_t)size.ws_col - address) / 16 * 16;
}

static size_t choose_cell(size_t bytes, size_t columns)
{
    size_t cell = least_cell;
    while (bytes / cell > columns * default_rows)
        cell *= 2;
    return cell;
}

static void print_legend(const struct mapping *mapping, size_t cell)
{
    const struct colours colours = colours_for_stdout();
    size_t bytes[LOOKS] = {0}, resident[LOOKS] = {0};
    for (size_t i = 0; i < mapping->n_runs; i++) {
        bytes[look_of(&mapping->runs[i])] += mapping->runs[i].bytes;
        resident[look_of(&mapping->runs[i])] += mapping->runs[i].resident_bytes;
    }
    printf("\n%s     %-34s %12s %12s%s     one sign: %zu KiB\n", colours.bold, "", "KiB",
           "resident", colours.plain, cell / 1024);
    for (int look = 0; look < LOOKS; look++)
        if (bytes[look] > 0)
            printf("  %s%c%s  %-34s %12zu %12zu\n", paint_of((enum look)look, &colours),
                   looks[look].sign, colours.plain, looks[look].words, bytes[look] / 1024,
                   resident[look] / 1024);
}

static void print_map(const struct mapping *mapping)
{
    const struct colours colours = colours_for_stdout();
    if (mapping->n_runs == 0) {
        puts("The heap is empty.");
        return;
    }
    const struct ration_run *last = &mapping->runs[mapping->n_runs - 1];
    const size_t start = mapping->runs[0].start, end = last->start + last->bytes;
    const size_t columns = columns_of_terminal();
    const size_t cell = choose_cell(end - start, columns);
    size_t first = 0;
    for (size_t row = start; row < end; row += columns * cell) {
        const char *paint = "";
        printf("%18zx  ", row);
        for (size_t at = row; at < end && at < row + columns * cell; at += cell) {
            const enum look look = look_at(mapping, &first, at, cell);
            const char *wanted = paint_of(look, &colours);
            if (wanted != paint && strcmp(wanted, paint) != 0)
                printf("%s%s", colours.plain, wanted);
            paint = wanted;
            putchar(looks[look].sign);
        }
        printf("%s\n", paint[0] != '\0' ? colours.plain : "");
    }
    print_legend(mapping, cell);
    printf("Next: ration stats %d\n", mapping->pid);
}

static void print_json(const struct mapping *mapping)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_integer(&json, "pid", mapping->pid);
    json_open_array(&json, "runs");
    for (size_t i = 0; i < mapping->n_runs; i++) {
        const struct ration_run *run = &mapping->runs[i];
        json_open_object(&json, NULL);
        json_string(&json, "kind", mapping->library.run_name(run->kind));
        json_size(&json, "start", run->start);
        json_size(&json, "bytes", run->bytes);
        json_size(&json, "resident_bytes", run->resident_bytes);
        if (run->kind == RATION_RUN_SLAB) {
            json_size(&json, "slot_bytes", run->slot_bytes);
            json_size(&json, "slots", run->slots);
            json_size(&json, "live", run->live);
        }
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int run_map(int argc, char **argv)
{
    static struct mapping mapping;
    argp_parse(&argp, argc, argv, 0, NULL, &mapping);
    int status = process_open(&mapping.library, mapping.pid, "map");
    if (status == EXIT_FINE)
        status = process_explain(mapping.library.runs_visit(mapping.pid, note, &mapping),
                                 mapping.pid, "map");
    if (status == EXIT_FINE && mapping.is_out_of_memory)
        status = command_fail("map", EXIT_USAGE, "out of memory for %zu runs", mapping.n_runs);
    if (status == EXIT_FINE)
        (mapping.wants_json ? print_json : print_map)(&mapping);
    free(mapping.runs);
    return status;
}

const struct command command_map = {
    .name = "map",
    .what = "the address space of a running process's heap, drawn",
    .argp = &argp,
    .run = run_map,
};
