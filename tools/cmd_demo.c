/* ration demo: the well-known scenarios, with the numbers of libration beside the system malloc's.
 */
#include "command.h"
#include "demo/demo.h"
#include "json.h"
#include "lab/output.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const struct demo_scenario *const scenarios[] = {
    &demo_wholesale, &demo_swiss,      &demo_two_megs,  &demo_starvation, &demo_course9,
    &demo_realloc,   &demo_contention, &demo_frameloop, &demo_aging,      &demo_double_free,
};

enum { n_scenarios = sizeof scenarios / sizeof scenarios[0] };

enum key { key_list = 256, key_json, key_library, key_child };

struct demo {
    const char *name;
    const char *library;
    const char *child;
    bool lists, json;
};

static const struct argp_option options[] = {
    {"list", key_list, NULL, 0, "List the scenarios", 0},
    {"json", key_json, NULL, 0, "JSON on standard output", 0},
    {"library", key_library, "FILE", 0, "The library to show (default: beside the command)", 0},
    {"child", key_child, "ARGUMENT", OPTION_HIDDEN, "For the command itself", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct demo *demo = state->input;
    switch (key) {
    case key_list:
        demo->lists = true;
        return 0;
    case key_json:
        demo->json = true;
        return 0;
    case key_library:
        demo->library = argument;
        return 0;
    case key_child:
        demo->child = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (demo->name != NULL)
            argp_error(state, "one scenario at a time, not also '%s'", argument);
        demo->name = argument;
        return 0;
    case ARGP_KEY_END:
        if (demo->name == NULL && !demo->lists)
            argp_error(state,
                       "no scenario given; `ration demo --list` lists them, `all` plays all");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "NAME",
    "Play a well-known scenario under libration and under the system malloc, side by side.\v"
    "  ration demo swiss\n"
    "  ration demo --list\n"
    "  ration demo all\n\n"
    "Exit status: 0 fine, 1 the scenario did not come to its end under libration, 2 wrong usage or "
    "no library.",
    NULL,
    NULL,
    NULL,
};

static const struct demo_scenario *find_scenario(const char *name)
{
    for (int i = 0; i < n_scenarios; i++)
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    return NULL;
}

/* ---- output ------------------------------------------------------------------------------- */

static const struct demo_value *find_value(const struct demo_column *column, const char *name)
{
    for (size_t i = 0; i < column->n_figures; i++)
        if (strcmp(column->figures[i].name, name) == 0)
            return &column->figures[i];
    return NULL;
}

static void format_value(char text[32], const struct demo_value *value)
{
    char bytes[16];
    if (value == NULL) {
        snprintf(text, 32, "-");
    } else if (strcmp(value->unit, "B") == 0) {
        lab_format_bytes(bytes, value->value > 0 ? (uint64_t)value->value : 0);
        snprintf(text, 32, "%s%s", bytes, strchr(bytes, ' ') != NULL ? "B" : " B");
    } else if (strcmp(value->unit, "?") == 0) {
        snprintf(text, 32, "%s", value->value != 0 ? "yes" : "no");
    } else if (value->unit[0] == '\0') {
        snprintf(text, 32, "%.0f", value->value);
    } else {
        snprintf(text, 32, "%.*f %s", fabs(value->value) < 10 ? 2 : 1, value->value, value->unit);
    }
}

static bool is_in_earlier_column(const struct demo_table *table, size_t column, const char *name)
{
    for (size_t i = 0; i < column; i++)
        if (find_value(&table->columns[i], name) != NULL)
            return true;
    return false;
}

static void print_row(const struct demo_table *table, const char *name)
{
    char text[32];
    printf("%-40s", name);
    for (size_t i = 0; i < table->n_columns; i++) {
        format_value(text, find_value(&table->columns[i], name));
        printf(" %13s", text);
    }
    putchar('\n');
}

/* Notes of one column, each line under its name. */
static void print_lines(const char *name, const char *text)
{
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        if (length > 0)
            printf("  %s: %.*s\n", name, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void print_end(const struct demo_scenario *scenario, const struct demo_column *column)
{
    if (WIFSIGNALED(column->status))
        printf("  %s: ended by signal %d (%s)\n", column->name, WTERMSIG(column->status),
               strsignal(WTERMSIG(column->status)));
    else if (column->status != 0)
        printf("  %s: ended with status %d\n", column->name, WEXITSTATUS(column->status));
    if (scenario->expects_signal || column->status != 0)
        print_lines(column->name, column->errors);
}

static void print_table(const struct demo_scenario *scenario, const struct demo_table *table)
{
    printf("%s: %s\n\n%s\n\n", scenario->name, scenario->what, scenario->story);
    if (!scenario->expects_signal) {
        printf("%-40s", "");
        for (size_t i = 0; i < table->n_columns; i++)
            printf(" %13s", table->columns[i].name);
        putchar('\n');
    }
    for (size_t i = 0; i < table->n_columns; i++)
        for (size_t k = 0; k < table->columns[i].n_figures; k++)
            if (!is_in_earlier_column(table, i, table->columns[i].figures[k].name))
                print_row(table, table->columns[i].figures[k].name);
    for (size_t i = 0; i < table->n_columns; i++) {
        print_lines(table->columns[i].name, table->columns[i].notes);
        print_end(scenario, &table->columns[i]);
    }
    if (scenario->remark != NULL)
        printf("\n%s\n", scenario->remark);
}

static void json_column(struct json *json, const struct demo_column *column)
{
    json_open_object(json, NULL);
    json_string(json, "name", column->name);
    json_open_array(json, "figures");
    for (size_t i = 0; i < column->n_figures; i++) {
        json_open_object(json, NULL);
        json_string(json, "name", column->figures[i].name);
        json_string(json, "unit", column->figures[i].unit);
        json_real(json, "value", column->figures[i].value);
        json_close_object(json);
    }
    json_close_array(json);
    json_string(json, "notes", column->notes);
    json_string(json, "errors", column->errors);
    json_integer(json, "signal", WIFSIGNALED(column->status) ? WTERMSIG(column->status) : 0);
    json_close_object(json);
}

static void json_table(struct json *json, const struct demo_scenario *scenario,
                       const struct demo_table *table)
{
    json_open_object(json, NULL);
    json_string(json, "scenario", scenario->name);
    json_open_array(json, "columns");
    for (size_t i = 0; i < table->n_columns; i++)
        json_column(json, &table->columns[i]);
    json_close_array(json);
    json_close_object(json);
}

/* ---- playing ------------------------------------------------------------------------------ */

static struct demo_column *add_column(struct demo_table *table, const char *name)
{
    struct demo_column *column = &table->columns[table->n_columns++];
    snprintf(column->name, sizeof column->name, "%s", name);
    return column;
}

/* A scenario is complete when its child under libration ended as it should. */
static bool is_complete(const struct demo_scenario *scenario, const struct demo_column *ours)
{
    if (scenario->expects_signal)
        return WIFSIGNALED(ours->status) && WTERMSIG(ours->status) == SIGABRT;
    return ours->status == 0;
}

static int play(const struct demo_scenario *scenario, const char *library, struct demo_table *table)
{
    *table = (struct demo_table){0};
    if (scenario->add_lab != NULL)
        scenario->add_lab(table);
    if (scenario->own_way != NULL &&
        demo_spawn(add_column(table, scenario->own_way), scenario, NULL, true) != 0)
        return command_fail("demo", EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    struct demo_column *ours = add_column(table, "libration");
    struct demo_column *theirs = add_column(table, "system");
    if (demo_spawn(ours, scenario, library, false) != 0 ||
        demo_spawn(theirs, scenario, NULL, false) != 0)
        return command_fail("demo", EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    return is_complete(scenario, ours) ? EXIT_FINE : EXIT_FINDING;
}

static int play_all(const struct demo *demo, const char *library, bool all)
{
    static struct demo_table table;
    struct json json;
    int status = EXIT_FINE;
    if (demo->json) {
        json_begin(&json, stdout, false);
        json_open_object(&json, NULL);
        json_open_array(&json, "scenarios");
    }
    for (int i = 0; i < n_scenarios; i++) {
        if (!all && strcmp(scenarios[i]->name, demo->name) != 0)
            continue;
        const int one = play(scenarios[i], library, &table);
        status = one > status ? one : status;
        if (demo->json)
            json_table(&json, scenarios[i], &table);
        else
            print_table(scenarios[i], &table);
        if (all && !demo->json && i + 1 < n_scenarios)
            puts("\n");
    }
    if (demo->json) {
        json_close_array(&json);
        json_close_object(&json);
        json_end(&json);
    }
    return status;
}

static int print_list(void)
{
    for (int i = 0; i < n_scenarios; i++)
        printf("%-18s %s\n", scenarios[i]->name, scenarios[i]->what);
    return EXIT_FINE;
}

static int run_demo(int argc, char **argv)
{
    struct demo demo = {0};
    char beside[PATH_MAX], library[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &demo);
    if (demo.lists)
        return print_list();
    const bool all = strcmp(demo.name, "all") == 0;
    const struct demo_scenario *scenario = find_scenario(demo.name);
    if (scenario == NULL && !all)
        return command_fail("demo", EXIT_USAGE,
                            "there is no scenario '%s'; `ration demo --list` lists them",
                            demo.name);
    if (demo.child != NULL && scenario != NULL)
        return demo_child_main(scenario, demo.child);
    if (demo.library == NULL && command_find_library("libration.so", beside, sizeof beside) == 0)
        demo.library = beside;
    if (demo.library == NULL || realpath(demo.library, library) == NULL)
        return command_fail("demo", EXIT_USAGE,
                            "no library at %s: build it with `make`, or name it "
                            "with --library",
                            demo.library != NULL ? demo.library : beside);
    struct library opened;
    const int status = library_open(&opened, library, "demo");
    return status == EXIT_FINE ? play_all(&demo, library, all) : status;
}

const struct command command_demo = {
    .name = "demo",
    .what = "play a well-known scenario under libration and under the system malloc",
    .argp = &argp,
    .run = run_demo,
};
