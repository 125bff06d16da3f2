/* ration doctor: does preloading libration take effect for a program? The program is not run: its
 * file is read, and the dynamic linker is asked what it would load and bind. With --run it is run then,
 * looked at whenever it has grown, and its memory at the largest is explained; --pid explains that of a
 * process that runs. */
#include "command.h"
#include "elf_facts.h"
#include "json.h"
#include "launch.h"
#include "process.h"
#include "rss_story.h"
#include "scan.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { key_json = 256, key_run, key_pid, most_findings = 24, most_chars = 512 };

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
    bool wants_json, runs;
    int pid;
};

/* A process at its largest, as far as it was looked at. */
struct observation {
    struct ration_stats stats;
    size_t libc_heap_bytes; /* of the break, which libration does not use */
    int looks;
    int status; /* wait status */
};

static const struct argp_option options[] = {
    {"run", key_run, NULL, 0,
     "Run PROGRAM as well, and explain its memory (of its first process) where it is largest", 0},
    {"pid", key_pid, "PID", 0, "Explain the memory of a process that runs under libration", 0},
    {"json", key_json, NULL, 0, "Print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct asking *asking = state->input;
    char *end;
    switch (key) {
    case key_run:
        asking->runs = true;
        return 0;
    case key_pid:
        asking->pid = (int)strtol(argument, &end, 10);
        if (*end != '\0' || asking->pid <= 0)
            argp_error(state, "--pid cannot be '%s', expected the number of a process", argument);
        return 0;
    case ARGP_KEY_END:
        if ((asking->pid != 0) == (asking->program != NULL))
            argp_error(state, asking->pid != 0 ? "either --pid or a program" : "no program given");
        return 0;
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
    "[-- PROGRAM [ARGUMENT...]]",
    "Tell whether PROGRAM would really get its memory from libration when that is preloaded, and "
    "if not, why and what to do.\v"
    "PROGRAM is not run, but with --run.\n"
    "  ration doctor -- git\n"
    "  ration doctor --run -- gcc -O2 -c file.c\n"
    "  ration doctor --pid=$(pidof server)\n\n"
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
             "it opens libraries while it runs (dlopen): RTLD_DEEPBIND, with which they would use "
             "the C library's malloc, is taken off (RATION=deepbind=keep leaves it)");
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

/* The break's memory: the C library's own malloc grows it, libration never does. */
static size_t libc_heap_bytes(int pid)
{
    char name[64], line[PATH_MAX + 128];
    unsigned long kib = 0;
    bool is_heap = false;
    snprintf(name, sizeof name, "/proc/%d/smaps", pid);
    FILE *smaps = fopen(name, "re");
    while (smaps != NULL && fgets(line, sizeof line, smaps) != NULL) {
        const char *at = line;
        if (strchr(line, '-') != NULL && strstr(line, " kB") == NULL)
            is_heap = strstr(line, "[heap]") != NULL;
        else if (is_heap && scan_text(&at, "Rss:") && scan_number(&at, 10, &kib))
            break;
    }
    if (smaps != NULL)
        fclose(smaps);
    return kib * 1024;
}

static size_t resident_bytes(int pid)
{
    enum { WHOLE, RESIDENT, FIELDS };
    char name[64], line[160];
    unsigned long pages[FIELDS] = {0};
    snprintf(name, sizeof name, "/proc/%d/statm", pid);
    FILE *statm = fopen(name, "re");
    if (statm != NULL) {
        const char *at = fgets(line, sizeof line, statm);
        if (at != NULL)
            scan_numbers(&at, pages, FIELDS);
        fclose(statm);
    }
    return pages[RESIDENT] * (size_t)sysconf(_SC_PAGESIZE);
}

/* Looks at the ledger whenever the process is a twentieth larger than it was at the last look. */
static void observe(const struct library *library, int child, struct observation *o)
{
    const struct timespec nap = {0, 2000000};
    for (;;) {
        const pid_t ended = waitpid(child, &o->status, WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR))
            return;
        struct ration_stats stats;
        const size_t now = resident_bytes(child);
        if (now > o->stats.rss_bytes + o->stats.rss_bytes / 20 &&
            library->stats_read_process(child, &stats) == RATION_OK && stats.own_bytes > 0) {
            o->looks++;
            if (stats.rss_bytes > o->stats.rss_bytes) {
                o->stats = stats;
                o->libc_heap_bytes = libc_heap_bytes(child);
            }
        }
        nanosleep(&nap, NULL);
    }
}

static int run_observed(const struct examination *e, const struct asking *asking,
                        const struct library *library, struct observation *o)
{
    const pid_t child = launch_fork();
    if (child == 0) {
        launch_preload(e->library);
        if (asking->wants_json)
            dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(asking->program[0], asking->program);
        _exit(127);
    }
    if (child < 0)
        return command_fail("doctor", EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    observe(library, child, o);
    return EXIT_FINE;
}

static void find_libc_heap(struct examination *e, const struct observation *o)
{
    const size_t worth_mentioning = (size_t)256 << 10;
    if (o->libc_heap_bytes >= worth_mentioning)
        find(e, BAD,
             "while it ran, the C library's own heap held %zu KiB: something in it calls that "
             "malloc "
             "past libration (a library opened with RTLD_DEEPBIND, an allocator linked "
             "statically), or moves the break itself",
             o->libc_heap_bytes / 1024);
    else
        find(e, GOOD, "while it ran, the C library's own heap held nothing");
    if (o->status != 0)
        find(e, NOTE, "it ended with %s %d", WIFSIGNALED(o->status) ? "signal" : "status",
             WIFSIGNALED(o->status) ? WTERMSIG(o->status) : WEXITSTATUS(o->status));
}

static void print_story(const struct ration_stats *stats, const char *who)
{
    static struct rss_story story;
    const struct colours colours = colours_for_stdout();
    rss_story_tell(&story, stats, who);
    for (int i = 0; i < story.n_sentences; i++)
        puts(story.sentences[i]);
    printf("%sNext:%s %s\n", colours.bold, colours.plain, story.next);
}

static void write_story(struct json *json, const struct ration_stats *stats, const char *who)
{
    static struct rss_story story;
    rss_story_tell(&story, stats, who);
    json_size(json, "rss_bytes", stats->rss_bytes);
    json_size(json, "own_bytes", stats->own_bytes);
    json_open_array(json, "sentences");
    for (int i = 0; i < story.n_sentences; i++)
        json_string(json, NULL, story.sentences[i]);
    json_close_array(json);
    json_string(json, "next", story.next);
}

static const char *const verdict_words[] = {[GOOD] = "good", [NOTE] = "note", [BAD] = "bad"};

static void print_findings(const struct examination *e, const struct observation *o)
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
    if (o != NULL && o->looks > 0)
        print_story(&o->stats, "PID");
    else if (o != NULL && good)
        puts(
            "It ended before its memory could be looked at: RATION=stats=1 shows that at its end.");
    else if (good)
        printf("Next: ration doctor --run -- %s\n",
               e->facts.script[0] != '\0' ? e->facts.script : e->facts.path);
}

static void print_json(const struct examination *e, const struct observation *o)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_string(&json, "program", e->facts.path);
    json_bool(&json, "takes_effect", takes_effect(e));
    json_integer(&json, "bound_to_libration", e->n_bound);
    json_integer(&json, "bound_elsewhere", e->n_astray);
    if (o != NULL && o->looks > 0) {
        json_open_object(&json, "at_its_largest");
        write_story(&json, &o->stats, "PID");
        json_size(&json, "c_library_heap_bytes", o->libc_heap_bytes);
        json_close_object(&json);
    }
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

static int explain_process(const struct asking *asking)
{
    struct library library;
    struct ration_stats stats;
    char who[16];
    int status = process_open(&library, asking->pid, "doctor");
    if (status == EXIT_FINE)
        status = process_read(&library, asking->pid, &stats, "doctor");
    if (status != EXIT_FINE)
        return status;
    snprintf(who, sizeof who, "%d", asking->pid);
    if (asking->wants_json) {
        struct json json;
        json_begin(&json, stdout, false);
        json_open_object(&json, NULL);
        write_story(&json, &stats, who);
        json_close_object(&json);
        json_end(&json);
    } else {
        print_story(&stats, who);
    }
    return EXIT_FINE;
}

static int run_doctor(int argc, char **argv)
{
    static struct examination e;
    static struct observation observation;
    struct asking asking = {0};
    char path[PATH_MAX];
    char found[PATH_MAX];
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &asking);
    if (asking.pid != 0)
        return explain_process(&asking);
    if (launch_find_program(asking.program[0], path) != 0)
        return command_fail("doctor", EXIT_USAGE, "'%s' cannot be run: %s", asking.program[0],
                            strerror(errno));
    if (command_find_library("libration.so", found, sizeof found) != 0)
        return command_fail("doctor", EXIT_USAGE, "no library at %s: build it with `make`", found);
    if (realpath(found, e.library) == NULL)
        return command_fail("doctor", EXIT_USAGE, "%s: %s", found, strerror(errno));
    elf_read_program(&e.facts, path);
    examine(&e);
    if (asking.runs && takes_effect(&e)) {
        struct library library;
        int status = library_open(&library, e.library, "doctor");
        if (status == EXIT_FINE)
            status = run_observed(&e, &asking, &library, &observation);
        if (status != EXIT_FINE)
            return status;
        find_libc_heap(&e, &observation);
    }
    (asking.wants_json ? print_json : print_findings)(&e, asking.runs ? &observation : NULL);
    if (e.facts.kind == ELF_DAMAGED)
        return EXIT_DAMAGED;
    return takes_effect(&e) ? EXIT_FINE : EXIT_FINDING;
}

const struct command command_doctor = {
    .name = "doctor",
    .what = "does preloading libration take effect for a program",
    .argp = &argp,
    .run = run_doctor,
};
