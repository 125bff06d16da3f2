/* ration sim: traces through strategies. Reading the command line and choosing the output; the
 * work is done in lab/. */
#include "command.h"
#include "lab/generate.h"
#include "lab/lesson.h"
#include "lab/memory.h"
#include "lab/output.h"
#include "lab/process.h"
#include "lab/replay.h"
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { most_strategies = 32 };

enum key {
    key_generate = 256,
    key_seed,
    key_heap,
    key_min,
    key_align,
    key_order,
    key_coalesce,
    key_fit,
    key_no_split,
    key_seconds,
    key_no_times,
    key_json,
    key_csv,
    key_svg,
    key_table,
    key_step,
    key_html,
    key_first,
    key_library,
    key_strategies,
    key_all,
    key_process,
};

struct sim {
    const struct lab_strategy *strategies[most_strategies];
    size_t n_strategies;
    bool names_strategies; /* given one by one: a skipped one is then a finding */
    struct lab_choices choices;
    struct lab_limits limits;
    uint64_t seed;
    const char *generate;
    const char *process;
    const char *svg;
    const char *html;
    size_t first; /* operations shown by --step and --html */
    bool lists_strategies, json, csv, step, course;
    const char **sources;
    size_t n_sources;
    struct trace *traces;
    struct lab_result *results; /* n_strategies for each trace in turn */
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to run:", 1},
    {"strategy", 's', "LIST", 0, "Names separated by commas, or `all` (default)", 1},
    {"all", key_all, NULL, 0, "The same as --strategy=all", 1},
    {"strategies", key_strategies, NULL, 0, "List the strategies", 1},
    {"generate", key_generate, "NAME", 0,
     "Write the trace NAME to standard output; `list` lists them. As a TRACE, `gen:NAME` is the "
     "same "
     "without a file",
     1},
    {"seed", key_seed, "N", 0, "Seed of generated traces (default 1)", 1},
    {"seconds", key_seconds, "S", 0, "Time limit of each pass of each strategy (default 30)", 1},
    {"no-times", key_no_times, NULL, 0, "Leave out the timed pass", 1},
    {"library", key_library, "FILE", 0, "The library behind `ration` (default: beside the command)",
     1},
    {NULL, 0, NULL, 0, "Choices inside the strategies:", 2},
    {"heap", key_heap, "BYTES", 0, "Limit of the simulated heap (default: as much as is needed)",
     2},
    {"min", key_min, "BYTES", 0, "Smallest block of buckets and buddy", 2},
    {"align", key_align, "BYTES", 0, "Alignment of payloads: 8 or 16 for the fit policies", 2},
    {"order", key_order, "ORDER", 0, "Order of free lists: lifo, address, size, implicit", 2},
    {"coalesce", key_coalesce, "WHEN", 0, "Merge neighbours: immediate, deferred, never or none",
     2},
    {"fit", key_fit, "FIT", 0, "Search of naive and zones: first, next, best, worst", 2},
    {"no-split", key_no_split, NULL, 0, "Hand out free blocks whole", 2},
    {NULL, 0, NULL, 0, "What to show:", 3},
    {"json", key_json, NULL, 0, "JSON on standard output", 3},
    {"csv", key_csv, NULL, 0, "CSV on standard output", 3},
    {"table", key_table, "course", 0, "The three-by-three table of naive, buckets and buddy", 3},
    {"svg", key_svg, "FILE", 0, "Also write a chart of heap size over time", 3},
    {"step", key_step, NULL, 0, "Every step of a small trace, in the terminal", 3},
    {"html", key_html, "FILE", 0, "Every step as one page to play and step through", 3},
    {"first", key_first, "N", 0, "Operations shown by --step and --html (default 200)", 3},
    {"replay-process", key_process, "ARGUMENT", OPTION_HIDDEN, "For the command itself", 3},
    {NULL, 0, NULL, 0, NULL, 0},
};

static void add_strategy(struct argp_state *state, struct sim *sim,
                         const struct lab_strategy *strategy)
{
    if (sim->n_strategies == most_strategies)
        argp_error(state, "more than %d strategies", most_strategies);
    sim->strategies[sim->n_strategies++] = strategy;
}

static void add_all(struct argp_state *state, struct sim *sim)
{
    for (size_t i = 0; strategy_at(i) != NULL; i++)
        if (strategy_at(i)->in_all)
            add_strategy(state, sim, strategy_at(i));
}

static void parse_strategies(struct argp_state *state, struct sim *sim, char *list)
{
    for (char *rest = list, *name; (name = strsep(&rest, ",")) != NULL;) {
        if (strcmp(name, "all") == 0) {
            add_all(state, sim);
            continue;
        }
        const struct lab_strategy *strategy = strategy_find(name);
        if (strategy == NULL)
            argp_error(state, "there is no strategy '%s'; `ration sim --strategies` lists them",
                       name);
        sim->names_strategies = true;
        add_strategy(state, sim, strategy);
    }
}

/* A size with an optional K, M or G. */
static uint64_t parse_bytes(struct argp_state *state, const char *option, const char *text)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    const char *units = "KMG", *unit = *end != '\0' ? strchr(units, *end) : NULL;
    const unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno != 0 || end == text || (unit != NULL ? end[1] : *end) != '\0' || value == 0 ||
        text[0] == '-' || value > UINT64_C(1) << (37 - shift))
        argp_error(state, "--%s expects bytes from 1 to 128G, such as 100 or 64K, not '%s'", option,
                   text);
    return (uint64_t)value << shift;
}

static double parse_seconds(struct argp_state *state, const char *text)
{
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds > 0 && seconds <= 86400))
        argp_error(state, "--seconds expects a number above 0, up to 86400, not '%s'", text);
    return seconds;
}

static uint64_t parse_count(struct argp_state *state, const char *option, const char *text)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-')
        argp_error(state, "--%s expects a number, not '%s'", option, text);
    return value;
}

/* One of `words`, which | parts. */
static const char *parse_word(struct argp_state *state, const char *option, const char *text,
                              const char *words)
{
    for (const char *at = words; *at != '\0';) {
        const size_t n = strcspn(at, "|");
        if (strlen(text) == n && strncmp(text, at, n) == 0)
            return text;
        at += n + (at[n] == '|');
    }
    argp_error(state, "--%s expects one of %s, not '%s'", option, words, text);
    return text;
}

static error_t parse_choice(int key, char *argument, struct argp_state *state, struct sim *sim)
{
    switch (key) {
    case key_heap:
        sim->choices.heap_bytes = parse_bytes(state, "heap", argument);
        return 0;
    case key_min:
        sim->choices.min_block = parse_bytes(state, "min", argument);
        return 0;
    case key_align:
        sim->choices.alignment = (unsigned)parse_bytes(state, "align", argument);
        if (sim->choices.alignment > 4096 ||
            (sim->choices.alignment & (sim->choices.alignment - 1)) != 0)
            argp_error(state, "--align expects a power of two up to 4096, not '%s'", argument);
        return 0;
    case key_order:
        sim->choices.order = parse_word(state, "order", argument, "lifo|address|size|implicit");
        return 0;
    case key_coalesce:
        sim->choices.coalesce =
            parse_word(state, "coalesce", argument, "immediate|deferred|never|none");
        if (strcmp(argument, "none") == 0)
            sim->choices.coalesce = "never";
        return 0;
    case key_fit:
        sim->choices.fit = parse_word(state, "fit", argument, "first|next|best|worst");
        return 0;
    case key_no_split:
        sim->choices.no_split = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_output(int key, char *argument, struct argp_state *state, struct sim *sim)
{
    switch (key) {
    case key_json:
        sim->json = true;
        return 0;
    case key_csv:
        sim->csv = true;
        return 0;
    case key_svg:
        sim->svg = argument;
        return 0;
    case key_step:
        sim->step = true;
        return 0;
    case key_html:
        sim->html = argument;
        return 0;
    case key_first:
        sim->first = parse_count(state, "first", argument);
        return 0;
    case key_table:
        if (strcmp(argument, "course") != 0)
            argp_error(state, "--table knows `course`, not '%s'", argument);
        sim->course = true;
        return 0;
    default:
        return parse_choice(key, argument, state, sim);
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct sim *sim = state->input;
    switch (key) {
    case 's':
        parse_strategies(state, sim, argument);
        return 0;
    case key_all:
        add_all(state, sim);
        return 0;
    case key_strategies:
        sim->lists_strategies = true;
        return 0;
    case key_generate:
        sim->generate = argument;
        return 0;
    case key_seed:
        sim->seed = parse_count(state, "seed", argument);
        return 0;
    case key_seconds:
        sim->limits.seconds = parse_seconds(state, argument);
        return 0;
    case key_no_times:
        sim->limits.times = false;
        return 0;
    case key_library:
        sim->limits.library = argument;
        return 0;
    case key_process:
        sim->process = argument;
        return 0;
    case ARGP_KEY_ARG:
        sim->sources = lab_resize(sim->sources, sim->n_sources + 1, sizeof *sim->sources);
        sim->sources[sim->n_sources++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (sim->n_sources == 0 && sim->generate == NULL && sim->process == NULL &&
            !sim->lists_strategies)
            argp_error(state, "no trace given: name a .rep file, `-`, or gen:NAME "
                              "(`ration sim --generate=list`)");
        return 0;
    default:
        return parse_output(key, argument, state, sim);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "TRACE...",
    "Replay allocation traces through the classic strategies and measure them.\v"
    "A TRACE is a .rep file (see `ration trace`), `-` for standard input, or gen:NAME for a "
    "built-in "
    "pattern.\n\n"
    "  ration sim gen:binary\n"
    "  ration sim --strategy=naive --heap=100 --step gen:course9\n"
    "  ration sim --strategy=first-fit,best-fit,buddy --html lesson.html gen:lesson\n\n"
    "Exit status: 0 fine, 1 a verification failed or a strategy named on the command line could "
    "not "
    "run, 2 wrong usage, 3 a damaged trace.",
    NULL,
    NULL,
    NULL,
};

static int print_strategies(void)
{
    for (size_t i = 0; strategy_at(i) != NULL; i++)
        printf("%-15s %s%s\n", strategy_at(i)->name, strategy_at(i)->what,
               strategy_at(i)->in_all ? "" : " (not part of `all`)");
    return EXIT_FINE;
}

static int print_generated(const struct sim *sim)
{
    if (strcmp(sim->generate, "list") == 0) {
        for (size_t i = 0; generator_at(i) != NULL; i++)
            printf("%-18s %s\n", generator_name(generator_at(i)), generator_what(generator_at(i)));
        return EXIT_FINE;
    }
    const struct generator *generator = generator_find(sim->generate);
    if (generator == NULL)
        return command_fail("sim", EXIT_USAGE,
                            "there is no generator '%s'; `ration sim --generate=list` lists them",
                            sim->generate);
    struct trace trace;
    generator_run(generator, sim->seed, &trace);
    trace_write(&trace, stdout);
    trace_drop(&trace);
    return EXIT_FINE;
}

static int load(const struct sim *sim, const char *source, struct trace *trace)
{
    if (strncmp(source, "gen:", 4) == 0) {
        const struct generator *generator = generator_find(source + 4);
        if (generator == NULL) {
            trace_start(trace, source);
            return command_fail(
                "sim", EXIT_USAGE,
                "there is no generator '%s'; `ration sim --generate=list` lists them", source + 4);
        }
        generator_run(generator, sim->seed, trace);
        return EXIT_FINE;
    }
    const int status = trace_read(trace, source);
    if (status == EXIT_DAMAGED)
        return command_fail("sim", status,
                            "%s\nration sim: read up to there: %zu operations, at "
                            "most %zu blocks live, peak payload %" PRIu64 " bytes",
                            trace->error, trace->n_ops, trace->peak_live, trace->peak_payload);
    if (status != EXIT_FINE)
        return command_fail("sim", status, "%s", trace->error);
    return EXIT_FINE;
}

static FILE *open_output(const char *path)
{
    FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (out == NULL)
        command_fail("sim", EXIT_USAGE, "'%s' cannot be written: %s", path, strerror(errno));
    return out;
}

static int close_output(FILE *out, const char *path)
{
    const bool failed = ferror(out) != 0;
    if ((out == stdout ? fflush(out) : fclose(out)) != 0 || failed)
        return command_fail("sim", EXIT_USAGE, "'%s' cannot be written: %s", path, strerror(errno));
    return EXIT_FINE;
}

static void print_results(const struct sim *sim)
{
    struct json json;
    if (sim->json) {
        json_begin(&json, stdout, false);
        json_open_object(&json, NULL);
        json_open_array(&json, "traces");
    }
    for (size_t i = 0; i < sim->n_sources; i++) {
        const struct lab_result *results = sim->results + i * sim->n_strategies;
        if (sim->json)
            output_json(&json, &sim->traces[i], results, sim->n_strategies);
        else if (sim->csv)
            output_csv(stdout, &sim->traces[i], results, sim->n_strategies, i == 0);
        else if (sim->course)
            output_course(stdout, &sim->traces[i], results);
        else
            output_table(stdout, &sim->traces[i], results, sim->n_strategies);
        if (!sim->json && !sim->csv && i + 1 < sim->n_sources)
            fputc('\n', stdout);
    }
    if (sim->json) {
        json_close_array(&json);
        json_close_object(&json);
        json_end(&json);
    }
}

/* A broken strategy is a finding; so is one that was named and could not run. */
static int judge(const struct sim *sim)
{
    int status = EXIT_FINE;
    for (size_t i = 0; i < sim->n_sources * sim->n_strategies; i++) {
        const struct lab_result *result = &sim->results[i];
        if (result->outcome == LAB_WRONG ||
            (result->outcome == LAB_SKIPPED && sim->names_strategies))
            status = EXIT_FINDING;
    }
    return status;
}

static int measure(struct sim *sim)
{
    const size_t n = sim->n_strategies;
    sim->results = lab_allocate(sim->n_sources * n, sizeof *sim->results);
    for (size_t i = 0; i < sim->n_sources; i++)
        for (size_t k = 0; k < n; k++)
            lab_replay(&sim->results[i * n + k], sim->strategies[k], &sim->choices, &sim->traces[i],
                       &sim->limits);
    print_results(sim);
    int status = judge(sim);
    if (sim->svg != NULL) {
        FILE *out = open_output(sim->svg);
        if (out == NULL)
            return EXIT_USAGE;
        output_svg(out, sim->traces, sim->n_sources, sim->results, n);
        const int closed = close_output(out, sim->svg);
        status = closed != EXIT_FINE ? closed : status;
    }
    free(sim->results);
    return status;
}

static int teach(struct sim *sim)
{
    const struct lesson_request request = {.trace = &sim->traces[0],
                                           .strategies = sim->strategies,
                                           .n_strategies = sim->n_strategies,
                                           .choices = &sim->choices,
                                           .first = sim->first};
    if (sim->n_sources > 1)
        return command_fail("sim", EXIT_USAGE, "--step and --html show one trace at a time");
    int status = sim->step ? lesson_print(&request, stdout) : EXIT_FINE;
    if (sim->html == NULL || status == EXIT_USAGE)
        return status;
    FILE *out = open_output(sim->html);
    if (out == NULL)
        return EXIT_USAGE;
    status = lesson_write_page(&request, out);
    const int closed = close_output(out, sim->html);
    return closed != EXIT_FINE ? closed : status;
}

static void choose_strategies(struct sim *sim)
{
    static const char *const course[] = {"naive", "buckets", "buddy"};
    if (sim->course) {
        sim->n_strategies = 3;
        for (int i = 0; i < 3; i++)
            sim->strategies[i] = strategy_find(course[i]);
    } else if (sim->n_strategies == 0) {
        add_all(NULL, sim);
    }
}

static int run_sim(int argc, char **argv)
{
    struct sim sim = {.seed = 1, .first = 200, .limits = {.seconds = 30, .times = true}};
    argp_parse(&argp, argc, argv, 0, NULL, &sim);
    if (sim.process != NULL)
        return process_main(sim.process);
    if (sim.lists_strategies)
        return print_strategies();
    if (sim.generate != NULL)
        return print_generated(&sim);
    choose_strategies(&sim);
    sim.traces = lab_allocate(sim.n_sources, sizeof *sim.traces);
    int status = EXIT_FINE;
    for (size_t i = 0; i < sim.n_sources && status == EXIT_FINE; i++)
        status = load(&sim, sim.sources[i], &sim.traces[i]);
    if (status == EXIT_FINE)
        status = sim.step || sim.html != NULL ? teach(&sim) : measure(&sim);
    for (size_t i = 0; i < sim.n_sources; i++)
        trace_drop(&sim.traces[i]);
    free(sim.traces);
    free(sim.sources);
    return status;
}

const struct command command_sim = {
    .name = "sim",
    .what = "run allocation traces through the classic strategies",
    .argp = &argp,
    .run = run_sim,
};
