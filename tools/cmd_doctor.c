/* ration doctor: does preloading libration take effect for a program? The program is not run: its
 * file is read, and the dynamic linker is asked what it would load and bind. */
#include "command.h"
#include "elf_facts.h"
#include "json.h"
#include "launch.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { key_json = 256, most_findings = 24, most_chars = 512 };

enum verdict { GOOD, NOTE, BAD };

struct finding {
    enum verdict verdict;
    char text[most_chars];
};

struct examination {
    struct elf_facts facts;
    char library[PATH_MAX];
    struct finding findings[most_findings];
    int n_findings;
    bool is_loaded; /* the linker lists libration.so */
    int n_bound;    /* symbols of the malloc family bound to it */
    int n_astray;   /* and to something else */
};

struct asking {
    char **program;
    bool wants_json;
};

static const struct argp_option options[] = {
    {"json", key_json, NULL, 0, "Print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct asking *asking = state->input;
    (void)argument;
    switch (key) {
    case key_json:
        asking->wants_json = true;
        return 0;
    default:
        return command_parse_program(key, state, &asking->program);
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "-- PROGRAM",
    "Tell whether PROGRAM would really get its memory from libration when that is preloaded, and "
    "if "
    "not, why and what to do.\v"
    "PROGRAM is not run.\n\n"
    "Exit status: 0 preloading takes effect, 1 it does not or only in part, 2 no such program, 3 "
    "its file is damaged.",
    NULL,
    NULL,
    NULL,
};

static void find(struct examination *e, enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void find(struct examination *e, enum verdict verdict, const char *format, ...)
{
    va_list arguments;
    if (e->n_findings == most_findings)
        return;
    struct finding *f = &e->findings[e->n_findings++];
    f->verdict = verdict;
    va_start(arguments, format);
    vsnprintf(f->text, sizeof f->text, format, arguments);
    va_end(arguments);
}

static void examine_file(struct examination *e)
{
    const struct elf_facts *facts = &e->facts;
    const char *reason = elf_why_not_preloaded(facts);
    if (facts->script[0] != '\0')
        find(e, NOTE, "%s is a script; %s runs it, and is what counts", facts->script, facts->path);
    if (reason != NULL)
        find(e, BAD, "%s %s", facts->path, reason);
    else
        find(e, GOOD, "%s is linked dynamically and has no raised privileges", facts->path);
    if (facts->is_sanitised)
        find(e, BAD,
             "it is built with a sanitizer, whose own malloc must come first: build it without "
             "one to run it under libration");
    if (facts->has_own_malloc && !facts->exports_malloc && facts->kind == ELF_DYNAMIC)
        find(e, BAD,
             "it has a malloc of its own inside that nobody can replace (an allocator linked "
             "statically): its own calls go there");
    if (facts->is_go)
        find(e, NOTE,
             "it is a Go program: the Go heap does not use malloc, only C code in it does");
    if (facts->imports_dlopen)
        find(e, NOTE,
             "it opens libraries while it runs (dlopen): one opened with RTLD_DEEPBIND would use "
             "the C library's malloc");
}

static bool is_family(const char *symbol)
{
    static const char *const names[] = {"malloc", "free",   "calloc",        "realloc",
                                        "_Znwm",  "_ZdlPv", "posix_memalign"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], symbol) == 0)
            return true;
    return false;
}

static bool is_our_library(const struct examination *e, const char *path)
{
    return strcmp(path, e->library) == 0;
}

static const char *known_library(const char *path)
{
    static const struct {
        const char *file, *what;
    } known[] = {
        {"/libasan.so", "AddressSanitizer"},        {"/libtsan.so", "ThreadSanitizer"},
        {"/liblsan.so", "LeakSanitizer"},           {"/libhwasan.so", "HWAddressSanitizer"},
        {"/libjemalloc", "the allocator jemalloc"}, {"/libmimalloc", "the allocator mimalloc"},
        {"/libtcmalloc", "the allocator tcmalloc"}, {"/libtbbmalloc", "the allocator tbbmalloc"},
        {"/libsnmalloc", "the allocator snmalloc"}, {"/librpmalloc", "the allocator rpmalloc"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(path, known[i].file) != NULL)
            return known[i].what;
    return NULL;
}

/* "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f...)" */
static void read_loaded(struct examination *e, const char *line)
{
    char path[PATH_MAX];
    const char *arrow = strstr(line, "=> ");
    if (sscanf(arrow != NULL ? arrow + 3 : line, " %4095s", path) != 1)
        return;
    if (strncmp(path, "not", 3) == 0 && arrow != NULL)
        find(e, BAD, "a library that it needs is missing:%.*s", (int)(arrow - line), line);
    const char *what = known_library(path);
    if (is_our_library(e, path))
        e->is_loaded = true;
    else if (what != NULL)
        find(e, strstr(what, "Sanitizer") != NULL ? BAD : NOTE, "it loads %s (%s)%s", what, path,
             strstr(what, "Sanitizer") != NULL ? ", which must come before every other malloc"
                                               : "; libration comes before it");
}

/* "  1234:\tbinding file A [0] to B [0]: normal symbol `malloc' [GLIBC_2.2.5]" */
static void read_binding(struct examination *e, const char *line)
{
    char from[PATH_MAX], to[PATH_MAX], symbol[256];
    const char *text = strstr(line, "binding file ");
    if (text == NULL ||
        sscanf(text, "binding file %4095s [%*d] to %4095s [%*d]: normal symbol `%255[^']", from, to,
               symbol) != 3)
        return;
    if (!is_family(symbol))
        return;
    if (is_our_library(e, to)) {
        e->n_bound++;
        return;
    }
    /* A program at a fixed address that takes a function's address: all are bound to its own jump,
     * which leads to whatever the next line of the linker says. */
    if (strcmp(to, e->facts.path) == 0)
        return;
    e->n_astray++;
    find(e, BAD, "%s in %s is bound to %s", symbol, from, to);
}

/* The dynamic linker lists what it would load, binds everything, and ends. Only glibc's does so;
 * another one would run the program. */
static bool can_ask_linker(const struct elf_facts *facts)
{
    const char *slash = strrchr(facts->linker, '/');
    return slash != NULL && strncmp(slash, "/ld-linux", 9) == 0;
}

static void exec_linker(const struct examination *e, int output)
{
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    launch_preload(e->library);
    setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
    setenv("LD_WARN", "yes", 1);
    setenv("LD_BIND_NOW", "yes", 1);
    setenv("LD_DEBUG", "bindings", 1);
    unsetenv("LD_DEBUG_OUTPUT");
    execl(e->facts.linker, e->facts.linker, e->facts.path, (char *)NULL);
    _exit(127);
}

static void read_answers(struct examination *e, FILE *answers)
{
    char line[3 * PATH_MAX];
    while (fgets(line, sizeof line, answers) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\t')
            read_loaded(e, line);
        else if (strstr(line, "cannot be preloaded") != NULL)
            find(e, BAD, "the dynamic linker says: %s", line);
        else
            read_binding(e, line);
    }
}

static void ask_linker(struct examination *e)
{
    int ends[2];
    int status;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        find(e, NOTE, "the dynamic linker could not be asked: %s", strerror(errno));
        return;
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        exec_linker(e, ends[1]);
    close(ends[1]);
    FILE *answers = fdopen(ends[0], "r");
    read_answers(e, answers);
    fclose(answers);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
}

static void judge_answers(struct examination *e)
{
    if (!e->is_loaded)
        find(e, BAD, "the dynamic linker would not load %s", e->library);
    else if (e->n_bound == 0)
        find(e, NOTE, "nothing that is loaded at the start calls malloc");
    else
        find(e, GOOD, "%d references to malloc and its family are bound to libration, %d elsewhere",
             e->n_bound, e->n_astray);
}

static void examine(struct examination *e)
{
    examine_file(e);
    if (elf_why_not_preloaded(&e->facts) != NULL)
        return;
    if (!can_ask_linker(&e->facts)) {
        find(e, NOTE, "its dynamic linker %s is not glibc's: what it would bind was not looked at",
             e->facts.linker);
        return;
    }
    ask_linker(e);
    judge_answers(e);
}

static bool takes_effect(const struct examination *e)
{
    for (int i = 0; i < e->n_findings; i++)
        if (e->findings[i].verdict == BAD)
            return false;
    return true;
}

static const char *const verdict_words[] = {[GOOD] = "good", [NOTE] = "note", [BAD] = "bad"};

static void print_findings(const struct examination *e)
{
    const struct colours colours = colours_for_stdout();
    const char *const paint[] = {[GOOD] = colours.good, [NOTE] = colours.warn, [BAD] = colours.bad};
    for (int i = 0; i < e->n_findings; i++)
        printf("%s%-4s%s  %s\n", paint[e->findings[i].verdict],
               verdict_words[e->findings[i].verdict], colours.plain, e->findings[i].text);
    const bool good = takes_effect(e);
    printf("%s%s%s\n", colours.bold,
           good ? "Preloading libration takes effect."
                : "Preloading libration does not take effect, or only in part.",
           colours.plain);
    if (good)
        printf("Next: ration run --stats -- %s\n",
               e->facts.script[0] != '\0' ? e->facts.script : e->facts.path);
}

static void print_json(const struct examination *e)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_string(&json, "program", e->facts.path);
    json_bool(&json, "takes_effect", takes_effect(e));
    json_integer(&json, "bound_to_libration", e->n_bound);
    json_integer(&json, "bound_elsewhere", e->n_astray);
    json_open_array(&json, "findings");
    for (int i = 0; i < e->n_findings; i++) {
        json_open_object(&json, NULL);
        json_string(&json, "verdict", verdict_words[e->findings[i].verdict]);
        json_string(&json, "text", e->findings[i].text);
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int run_doctor(int argc, char **argv)
{
    static struct examination e;
    struct asking asking = {0};
    char path[PATH_MAX];
    char found[PATH_MAX];
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &asking);
    if (launch_find_program(asking.program[0], path) != 0)
        return command_fail("doctor", EXIT_USAGE, "%s cannot be run: %s", asking.program[0],
                            strerror(errno));
    if (command_find_library("libration.so", found, sizeof found) != 0)
        return command_fail("doctor", EXIT_USAGE, "no library at %s: build it with `make`", found);
    if (realpath(found, e.library) == NULL)
        return command_fail("doctor", EXIT_USAGE, "%s: %s", found, strerror(errno));
    elf_read_program(&e.facts, path);
    examine(&e);
    (asking.wants_json ? print_json : print_findings)(&e);
    if (e.facts.kind == ELF_DAMAGED)
        return EXIT_DAMAGED;
    return takes_effect(&e) ? EXIT_FINE : EXIT_FINDING;
}

const struct command command_doctor = {
    .name = "doctor",
    .what = "does preloading libration take effect for a program",
    .run = run_doctor,
};
