#include "launch.h"
#include "command.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_joined(const char *variable, const char *first, char between, const char *second)
{
    const size_t room = strlen(first) + strlen(second) + 2;
    char *text = malloc(room);
    if (text == NULL)
        return;
    const char joint[] = {(char)(first[0] != '\0' && second[0] != '\0' ? between : '\0'), '\0'};
    snprintf(text, room, "%s%s%s", first, joint, second);
    setenv(variable, text, 1);
    free(text);
}

void launch_preload(const char *library)
{
    const char *before = getenv("LD_PRELOAD");
    set_joined("LD_PRELOAD", library, ':', before != NULL ? before : "");
}

void launch_set(const char *key, const char *value)
{
    char setting[256];
    const char *before = getenv("RATION");
    snprintf(setting, sizeof setting, "%s=%s", key, value);
    set_joined("RATION", before != NULL ? before : "", ',', setting);
}

static bool is_program(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    if (S_ISREG(status.st_mode) && access(path, X_OK) == 0)
        return true;
    errno = EACCES;
    return false;
}

int launch_find_program(const char *program, char path[PATH_MAX])
{
    const char *rest = getenv("PATH");
    if (strchr(program, '/') != NULL) {
        snprintf(path, PATH_MAX, "%s", program);
        return is_program(path) ? 0 : -1;
    }
    if (rest == NULL)
        rest = "/usr/local/bin:/usr/bin:/bin";
    while (*rest != '\0') {
        const size_t n = strcspn(rest, ":");
        snprintf(path, PATH_MAX, "%.*s/%s", (int)n, n > 0 ? rest : ".", program);
        if (is_program(path))
            return 0;
        rest += n + (rest[n] == ':');
    }
    errno = ENOENT;
    return -1;
}

static void exec_linker(const char *linker, const char *program, const char *library, int output)
{
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setenv("LD_PRELOAD", library, 1);
    setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
    unsetenv("LD_DEBUG");
    execl(linker, linker, program, (char *)NULL);
    _exit(127);
}

bool launch_takes_preload(const char *linker, const char *program, const char *library)
{
    char line[2 * PATH_MAX];
    int ends[2];
    bool loaded = false;
    const char *slash = strrchr(linker, '/');
    if (slash == NULL || strncmp(slash, "/ld-linux", 9) != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return true;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        exec_linker(linker, program, library, ends[1]);
    close(ends[1]);
    FILE *answers = fdopen(ends[0], "r");
    while (answers != NULL && fgets(line, sizeof line, answers) != NULL)
        loaded = loaded || (line[0] == '\t' && strstr(line, library) != NULL);
    if (answers != NULL)
        fclose(answers);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return loaded;
}

static volatile sig_atomic_t running; /* the program, or 0 */

static void pass_on(int number)
{
    if (running > 0)
        kill(running, number);
}

/* Not what nohup has this command ignore. */
static void pass_signal_on(int number)
{
    const struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    struct sigaction before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

pid_t launch_fork(void)
{
    fflush(NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    sigset_t late, before;
    sigemptyset(&late);
    sigaddset(&late, SIGTERM);
    sigaddset(&late, SIGHUP);
    sigprocmask(SIG_BLOCK, &late, &before); /* until it is known who gets them */
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
    } else {
        running = child;
        pass_signal_on(SIGTERM);
        pass_signal_on(SIGHUP);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return child;
}

int launch_wait(const char *name, pid_t child, int *status)
{
    if (child < 0)
        return command_fail(name, EXIT_USAGE, "cannot start a process: %s", strerror(errno));
    while (waitpid(child, status, 0) < 0)
        if (errno != EINTR)
            return command_fail(name, EXIT_USAGE, "cannot wait for the program: %s",
                                strerror(errno));
    running = 0;
    return EXIT_FINE;
}

static bool find_function(void *handle, const char *name, void *function)
{
    void *found = dlsym(handle, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

int library_open(struct library *library, const char *path, const char *name)
{
    char beside[PATH_MAX];
    if (path == NULL && command_find_library("libration.so", beside, sizeof beside) != 0)
        return command_fail(name, EXIT_USAGE, "no library at %s: build it with `make`", beside);
    const char *file = path != NULL ? path : beside;
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return command_fail(name, EXIT_USAGE, "%s cannot be opened: %s", file, dlerror());
    const bool ok =
        find_function(handle, "malloc", &library->malloc) &&
        find_function(handle, "free", &library->free) &&
        find_function(handle, "malloc_good_size", &library->good_size) &&
        find_function(handle, "ration_stats_bytes", &library->stats_bytes) &&
        find_function(handle, "ration_reason_name", &library->reason_name) &&
        find_function(handle, "ration_reason_key", &library->reason_key) &&
        find_function(handle, "ration_stats_read", &library->stats_read) &&
        find_function(handle, "ration_stats_read_process", &library->stats_read_process) &&
        find_function(handle, "ration_runs_visit", &library->runs_visit) &&
        find_function(handle, "ration_run_name", &library->run_name) &&
        find_function(handle, "ration_part_name", &library->part_name) &&
        find_function(handle, "ration_stats_write_text", &library->write_text) &&
        find_function(handle, "ration_stats_write_json", &library->write_json) &&
        find_function(handle, "ration_stats_write_openmetrics", &library->write_openmetrics);
    if (!ok || library->stats_bytes() != sizeof(struct ration_stats))
        return command_fail(name, EXIT_USAGE,
                            "%s lacks what this command asks for: it is of another version", file);
    return EXIT_FINE;
}

int parse_size(const char *text, size_t *size)
{
    static const char units[] = "kmgt";
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 0);
    unsigned shift = 0;
    if (*end != '\0') {
        const char *unit = strchr(units, *end | ('a' - 'A'));
        if (unit == NULL || *unit == '\0' || end[1] != '\0')
            return -1;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (errno != 0 || n > SIZE_MAX >> shift)
        return -1;
    *size = (size_t)n << shift;
    return 0;
}

struct colours colours_for_stdout(void)
{
    static const struct colours none = {"", "", "", "", ""};
    static const struct colours some = {"\033[32m", "\033[31m", "\033[33m", "\033[1m", "\033[0m"};
    const char *term = getenv("TERM");
    const bool wanted = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL &&
                        (term == NULL || strcmp(term, "dumb") != 0);
    return wanted ? some : none;
}
