#include "symbols.h"
#include "launch.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* How the two kinds of tools answer. GNU: "0xADDRESS" begins an answer. LLVM: an empty line ends it. */
enum dialect { dialect_llvm, dialect_gnu };

static const struct tool {
    const char *name;
    enum dialect dialect;
} tools[] = {
    {"llvm-symbolizer", dialect_llvm},
    {"addr2line", dialect_gnu},
    {"eu-addr2line", dialect_gnu},
};

static const char nothing_found[] = "functions and lines are missing: install binutils "
                                    "(addr2line), llvm (llvm-symbolizer) or elfutils";

static const struct tool *find_tool(char path[PATH_MAX])
{
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        if (launch_find_program(tools[i].name, path) == 0)
            return &tools[i];
    return NULL;
}

static int compare_addresses(const void *a, const void *b)
{
    const struct address *x = *(struct address *const *)a, *y = *(struct address *const *)b;
    const int modules = strcmp(x->module, y->module);
    return modules != 0 ? modules : (x->offset > y->offset) - (x->offset < y->offset);
}

/* A file in memory that holds what a tool reads. */
static FILE *write_questions(struct address *const *addresses, size_t n)
{
    const int fd = memfd_create("ration-addresses", MFD_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    for (size_t i = 0; file != NULL && i < n; i++)
        fprintf(file, "0x%zx\n", (size_t)addresses[i]->offset);
    if (file != NULL)
        rewind(file);
    return file;
}

/* Runs a tool on one module. Returns the file with its answers, or NULL. */
static FILE *ask(const struct tool *tool, const char *path, const char *module, FILE *questions)
{
    char object[PATH_MAX + 8];
    const char *const llvm[] = {path,        object,       "--functions=linkage",
                                "--inlines", "--demangle", NULL};
    const char *const gnu[] = {path, "-a", "-f", "-i", "-C", "-e", module, NULL};
    char *arguments[8] = {NULL};
    snprintf(object, sizeof object, "--obj=%s", module);
    /* posix_spawn's prototype is older than const; it writes nothing. */
    memcpy(arguments, tool->dialect == dialect_llvm ? llvm : gnu,
           tool->dialect == dialect_llvm ? sizeof llvm : sizeof gnu);
    const int out = memfd_create("ration-symbols", MFD_CLOEXEC);
    if (out < 0)
        return NULL;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(questions), 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int failed = posix_spawn(&child, path, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    while (failed == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    lseek(out, 0, SEEK_SET);
    return fdopen(out, "r");
}

static void add_symbol(struct address *address, const char *function, const char *place)
{
    struct symbol *more =
        realloc(address->symbols, (address->n_symbols + 1) * sizeof *address->symbols);
    if (more == NULL)
        return;
    address->symbols = more;
    struct symbol *symbol = &more[address->n_symbols++];
    *symbol = (struct symbol){.function = function[0] != '?' ? strdup(function) : NULL};
    char *file = strdup(place);
    char *colon = file != NULL ? strchr(file, ':') : NULL;
    if (file == NULL || file[0] == '?' || colon == NULL) {
        free(file);
        return;
    }
    *colon = '\0';
    symbol->file = file;
    symbol->line = (unsigned)strtoul(colon + 1, NULL, 10);
}

static bool next_line(FILE *file, char **line, size_t *room)
{
    const ssize_t n = getline(line, room, file);
    if (n > 0 && (*line)[n - 1] == '\n')
        (*line)[n - 1] = '\0';
    return n > 0;
}

/* Pairs of lines, function and place, between the marks of the dialect. */
static void read_answers(FILE *answers, enum dialect dialect, struct address **addresses, size_t n)
{
    char *line = NULL;
    char *function = NULL;
    size_t room = 0;
    size_t i = 0;
    bool begun = false;
    while (i < n && next_line(answers, &line, &room)) {
        const bool is_mark =
            dialect == dialect_llvm ? line[0] == '\0' : strncmp(line, "0x", 2) == 0;
        if (is_mark && function == NULL) {
            i += dialect == dialect_llvm || begun;
            begun = true;
        } else if (function == NULL) {
            function = strdup(line);
        } else {
            add_symbol(addresses[i], function, line);
            free(function);
            function = NULL;
        }
    }
    free(function);
    free(line);
}

static void drop_unknown(struct address *address)
{
    if (address->n_symbols > 0 && address->symbols[0].function == NULL)
        address->n_symbols = 0;
}

static void find_in_module(const struct tool *tool, const char *path, struct address **addresses,
                           size_t n)
{
    if (access(addresses[0]->module, R_OK) != 0)
        return;
    FILE *questions = write_questions(addresses, n);
    FILE *answers = questions != NULL ? ask(tool, path, addresses[0]->module, questions) : NULL;
    if (answers != NULL) {
        read_answers(answers, tool->dialect, addresses, n);
        fclose(answers);
    }
    if (questions != NULL)
        fclose(questions);
    for (size_t i = 0; i < n; i++)
        drop_unknown(addresses[i]);
}

const char *symbols_find(struct address *addresses, size_t n)
{
    char path[PATH_MAX];
    const struct tool *tool = find_tool(path);
    struct address **sorted = calloc(n + 1, sizeof *sorted);
    if (tool == NULL || sorted == NULL) {
        free(sorted);
        return nothing_found;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &addresses[i];
    qsort(sorted, n, sizeof *sorted, compare_addresses);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && strcmp(sorted[to]->module, sorted[from]->module) == 0;)
            to++;
        find_in_module(tool, path, sorted + from, to - from);
    }
    free(sorted);
    return NULL;
}

void symbols_print(void *to, const char *prefix, unsigned number, const struct address *address)
{
    if (address->n_symbols == 0)
        fprintf(to, "%s#%u %s+0x%zx\n", prefix, number, address->module, (size_t)address->offset);
    for (size_t i = 0; i < address->n_symbols; i++) {
        const struct symbol *s = &address->symbols[i];
        if (i == 0)
            fprintf(to, "%s#%u %s", prefix, number, s->function);
        else
            fprintf(to, "%s   inlined in %s", prefix, s->function != NULL ? s->function : "?");
        if (s->file != NULL && s->line != 0)
            fprintf(to, " at %s:%u", s->file, s->line);
        else
            fprintf(to, " in %s", address->module);
        fputc('\n', to);
    }
}
