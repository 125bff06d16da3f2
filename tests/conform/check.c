#include "check.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 40, EXIT_FAILED = 1, EXIT_ABSENT = 77 };

/* Shared with the child, so that its last words survive whatever happens to its heap. */
static char *message;
enum { MESSAGE_BYTES = 1024 };

void check_fail(const char *file, int line, const char *format, ...)
{
    char text[MESSAGE_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *slash = strrchr(file, '/');
    snprintf(message, MESSAGE_BYTES, "%s (%s:%d)", text, slash != NULL ? slash + 1 : file, line);
    _exit(EXIT_FAILED);
}

void *check_symbol(const char *name)
{
    void *address = dlsym(RTLD_DEFAULT, name);
    if (address == NULL) {
        snprintf(message, MESSAGE_BYTES, "%s", name);
        _exit(EXIT_ABSENT);
    }
    return address;
}

static unsigned char pattern_byte(size_t i, unsigned seed)
{
    return (unsigned char)(i * 31 + (i >> 8) * 17 + seed * 101 + 7);
}

void check_fill(void *p, size_t n, unsigned seed)
{
    unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern_byte(i, seed);
}

void check_filled(const void *p, size_t n, unsigned seed, const char *what)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        CHECK(bytes[i] == pattern_byte(i, seed),
              "%s: expected byte %zu of %zu at %p to be 0x%02x, found 0x%02x", what, i, n, p,
              pattern_byte(i, seed), bytes[i]);
}

size_t check_resident_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "r");
    size_t total = 0;
    size_t resident = 0;
    CHECK(statm != NULL && fscanf(statm, "%zu %zu", &total, &resident) == 2,
          "cannot read /proc/self/statm");
    fclose(statm);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

void check_each_size(size_t limit, void (*visit)(size_t size, void *context), void *context)
{
    size_t last = 0;
    for (size_t size = 0; size <= 4200 && size <= limit; size++) {
        visit(size, context);
        last = size;
    }
    for (size_t power = 4096; power <= limit; power *= 2)
        for (size_t eighth = 0; eighth < 8; eighth++) {
            size_t middle = power + power / 8 * eighth;
            for (size_t size = middle - 1; size <= middle + 1 && size <= limit; size++)
                if (size > last) {
                    visit(size, context);
                    last = size;
                }
        }
}

/* The verdict of a child that has ended; the watchdog is the alarm the child set itself. */
static bool judge(const char *name, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        printf("ok %s\n", name);
        return true;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ABSENT) {
        printf("absent %s %s\n", name, message);
        return true;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("FAIL %s expected an end within %d s, got a hang\n", name, LIMIT_SECONDS);
    else if (WIFSIGNALED(status))
        printf("FAIL %s expected a normal end, got signal %d (%s)\n", name, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    else
        printf("FAIL %s %s\n", name, message[0] != '\0' ? message : "ended early without a word");
    return false;
}

static bool run_case(const struct check_case *one)
{
    message[0] = '\0';
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(LIMIT_SECONDS);
        one->run();
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return judge(one->name, status);
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

int check_main(int argc, char **argv, const struct check_case *cases, size_t n_cases)
{
    message = mmap(NULL, MESSAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (message == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    bool all_good = true;
    size_t n_run = 0;
    for (size_t i = 0; i < n_cases; i++)
        if (is_wanted(cases[i].name, argc, argv)) {
            all_good &= run_case(&cases[i]);
            n_run++;
        }
    if (n_run == 0) {
        fprintf(stderr, "%s: no case of that name; without arguments all run\n", argv[0]);
        return 2;
    }
    return all_good ? 0 : 1;
}
