/* ration leaks: run a program under libration and list the blocks that it lost, by size. Each
 * process tells at its end, by lines in a file in memory whose descriptor it inherits. */
#include "command.h"
#include "elf_facts.h"
#include "json.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { key_json = 256, key_fail_over, most_sizes = 80 };

struct size_lost {
    size_t slot_bytes; /* 0: large blocks */
    size_t blocks, bytes;
};

struct searching {
    char **program;
    size_t fail_over;
    bool wants_json;
    int report;
    size_t processes, lost_blocks, lost_bytes, reachable_blocks, reachable_bytes;
    struct size_lost sizes[most_sizes];
    int n_sizes;
};

static const struct argp_option options[] = {
    {"fail-over", key_fail_over, "BYTES", 0,
     "End with status 1 only if more than BYTES are lost (default 0)", 0},
    {"json", key_json, NULL, 0, "Print JSON; the program's own output goes to stderr", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct searching *searching = state->input;
    switch (key) {
    case key_json:
        searching->wants_json = true;
        return 0;
    case key_fail_over:
        if (parse_size(argument, &searching->fail_over) != 0)
            argp_error(state, "--fail-over cannot be '%s', expected bytes, as in 0 or 64k",
                       argument);
        return 0;
    default:
        return command_parse_program(key, state, &searching->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM [ARGUMENT...]",
    "Run PROGRAM, and list by size the blocks to which no pointer leads any more when it ends, in "
    "it "
    "and in the processes that it starts.\v"
    "  ration leaks --fail-over=64k -- ./server --selftest\n\n"
    "Any word that looks like a pointer into a block counts as one, so a lost block may be missed. "
    "A process that is killed, ends by _exit(), or goes on "
    "after PROGRAM has ended, is not searched.\n"
    "Exit status: 0 fine, 1 blocks are lost or PROGRAM failed, 2 it was not started.",
    NULL,
    NULL,
    NULL,
};

static void exec_program(const struct searching *searching, const char *path, const char *library)
{
    char number[16];
    snprintf(number, sizeof number, "%d", searching->report);
    launch_preload(library);
    launch_set("leaks", number);
    if (searching->wants_json)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    execv(path, searching->program);
    command_fail("leaks", 0, "%s cannot be run: %s", path, strerror(errno));
    _exit(127);
}

static int run_program(const struct searching *searching, const char *path, const char *library,
                       int *status)
{
    fflush(NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    const pid_t child = fork();
    if (child == 0)
        exec_program(searching, path, library);
    if (child < 0)
        return command_fail("leaks", EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    while (waitpid(child, status, 0) < 0)
        if (errno != EINTR)
            return command_fail("leaks", EXIT_USAGE, "cannot wait for the program: %s",
                                strerror(errno));
    return EXIT_FINE;
}

static void add_size(struct searching *searching, const struct size_lost *lost)
{
    int i = 0;
    while (i < searching->n_sizes && searching->sizes[i].slot_bytes != lost->slot_bytes)
        i++;
    if (i == most_sizes)
        return;
    if (i == searching->n_sizes) {
        searching->n_sizes++;
        searching->sizes[i] = (struct size_lost){.slot_bytes = lost->slot_bytes};
    }
    searching->sizes[i].blocks += lost->blocks;
    searching->sizes[i].bytes += lost->bytes;
}

/* The lines of all processes; one that is of another form is damage. */
static int read_report(struct searching *searching)
{
    char line[256];
    int damaged = 0;
    lseek(searching->report, 0, SEEK_SET);
    FILE *report = fdopen(searching->report, "r");
    while (report != NULL && fgets(line, sizeof line, report) != NULL) {
        size_t n[4];
        struct size_lost lost;
        if (sscanf(line, "process %*u %zu %zu %zu %zu", &n[0], &n[1], &n[2], &n[3]) == 4) {
            searching->processes++;
            searching->lost_blocks += n[0];
            searching->lost_bytes += n[1];
            searching->reachable_blocks += n[2];
            searching->reachable_bytes += n[3];
        } else if (sscanf(line, "lost %zu %zu %zu", &lost.slot_bytes, &lost.blocks, &lost.bytes) ==
                   3) {
            add_size(searching, &lost);
        } else {
            damaged = 1;
        }
    }
    return damaged;
}

static int compare_lost(const void *a, const void *b)
{
    const struct size_lost *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void print_text(const struct searching *s)
{
    const struct colours colours = colours_for_stdout();
    printf("%s%zu blocks with %zu bytes are lost%s in %zu process%s; still reachable: %zu blocks, "
           "%zu bytes\n",
           s->lost_blocks > 0 ? colours.bad : colours.good, s->lost_blocks, s->lost_bytes,
           colours.plain, s->processes, s->processes == 1 ? "" : "es", s->reachable_blocks,
           s->reachable_bytes);
    for (int i = 0; i < s->n_sizes; i++) {
        printf("%12zu bytes in %8zu blocks ", s->sizes[i].bytes, s->sizes[i].blocks);
        if (s->sizes[i].slot_bytes == 0)
            puts("above 16384 bytes");
        else
            printf("of %zu bytes\n", s->sizes[i].slot_bytes);
    }
}

static void print_json(const struct searching *s)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_size(&json, "processes", s->processes);
    json_size(&json, "lost_blocks", s->lost_blocks);
    json_size(&json, "lost_bytes", s->lost_bytes);
    json_size(&json, "reachable_blocks", s->reachable_blocks);
    json_size(&json, "reachable_bytes", s->reachable_bytes);
    json_open_array(&json, "sizes");
    for (int i = 0; i < s->n_sizes; i++) {
        json_open_object(&json, NULL);
        json_size(&json, "slot_bytes", s->sizes[i].slot_bytes);
        json_size(&json, "blocks", s->sizes[i].blocks);
        json_size(&json, "bytes", s->sizes[i].bytes);
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int report_program(const char *path, int status)
{
    if (WIFSIGNALED(status))
        return command_fail("leaks", EXIT_FINDING, "%s was ended by signal %d (%s)", path,
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return command_fail("leaks", EXIT_FINDING, "%s ended with status %d", path,
                            WEXITSTATUS(status));
    return EXIT_FINE;
}

static int report_lost(struct searching *searching, const char *path)
{
    if (read_report(searching) != 0)
        command_fail("leaks", 0,
                     "the program wrote into the report (descriptor %d): counts may be "
                     "incomplete",
                     searching->report);
    if (searching->processes == 0)
        return command_fail(
            "leaks", EXIT_FINDING,
            "%s told nothing: it was killed, ended by _exit(), or closed descriptor "
            "%d",
            path, searching->report);
    qsort(searching->sizes, (size_t)searching->n_sizes, sizeof *searching->sizes, compare_lost);
    (searching->wants_json ? print_json : print_text)(searching);
    return searching->lost_bytes > searching->fail_over ? EXIT_FINDING : EXIT_FINE;
}

static int run_leaks(int argc, char **argv)
{
    static struct searching searching;
    char library[PATH_MAX], path[PATH_MAX];
    struct elf_facts facts;
    int program_status = 0;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &searching);
    if (command_find_library("libration.so", library, sizeof library) != 0)
        return command_fail("leaks", EXIT_USAGE, "no library at %s: build it with `make`", library);
    if (launch_find_program(searching.program[0], path) != 0)
        return command_fail("leaks", EXIT_USAGE, "%s cannot be run: %s", searching.program[0],
                            strerror(errno));
    elf_read_program(&facts, path);
    const char *reason = elf_why_not_preloaded(&facts);
    if (reason != NULL)
        return command_fail("leaks", EXIT_USAGE, "%s: %s; nothing could be searched", facts.path,
                            reason);
    searching.report = memfd_create("ration-leaks", 0);
    if (searching.report < 0)
        return command_fail("leaks", EXIT_USAGE, "no file in memory: %s", strerror(errno));
    const int status = run_program(&searching, path, library, &program_status);
    if (status != EXIT_FINE)
        return status;
    const int lost = report_lost(&searching, path);
    const int ended = report_program(path, program_status);
    return lost > ended ? lost : ended;
}

const struct command command_leaks = {
    .name = "leaks",
    .what = "the blocks that a program lost, by size",
    .argp = &argp,
    .run = run_leaks,
};
