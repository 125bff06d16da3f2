/* Memory that libc hands out comes from the same heap: getline, strdup, asprintf, open_memstream,
   getaddrinfo, regcomp, setlocale, dlopen, pthread_create; and the order of things at start and
   end. */
#include "check.h"

#include <dlfcn.h>
#include <locale.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <regex.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void own(void *p, size_t at_least, const char *what)
{
    CHECK(p != NULL, "%s: got NULL", what);
    CHECK(malloc_usable_size(p) >= at_least, "%s: expected at least %zu usable bytes, got %zu",
          what, at_least, malloc_usable_size(p));
    free(p);
}

static void strings_come_from_this_heap(void)
{
    char *text = NULL;
    own(strdup("a text of some length"), 22, "strdup");
    own(strndup("a text of some length", 6), 7, "strndup");
    int n = asprintf(&text, "%0500d", 7);
    CHECK(n == 500, "asprintf: expected 500, got %d", n);
    own(text, 501, "asprintf");
    own(realpath("/usr/..", NULL), 2, "realpath");
    own(getcwd(NULL, 0), 2, "getcwd");
}

static void streams_use_this_heap(void)
{
    char *line = NULL;
    size_t capacity = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL, "/proc/self/maps cannot be opened");
    size_t n_lines = 0;
    while (getline(&line, &capacity, file) > 0)
        n_lines++;
    fclose(file);
    CHECK(n_lines > 3, "getline: expected lines of /proc/self/maps, got %zu", n_lines);
    own(line, 50, "getline");
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    for (int i = 0; i < 20000; i++)
        fprintf(memory, "%d,", i);
    fclose(memory);
    CHECK(strlen(text) == length, "open_memstream: expected %zu bytes, got %zu", length,
          strlen(text));
    own(text, length, "open_memstream");
}

static void library_calls_that_free(void)
{
    regex_t pattern;
    CHECK(regcomp(&pattern, "(a|b)*c{2,9}[[:alpha:]]+", REG_EXTENDED) == 0, "regcomp");
    CHECK(regexec(&pattern, "abababccx", 0, NULL, 0) == 0, "regexec");
    regfree(&pattern);
    struct addrinfo *result = NULL;
    if (getaddrinfo("127.0.0.1", "80", NULL, &result) == 0)
        freeaddrinfo(result);
    setlocale(LC_ALL, "C.UTF-8");
    locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
    if (locale != NULL)
        freelocale(locale);
    setlocale(LC_ALL, "C");
    CHECK(hcreate(1000) != 0, "hcreate");
    hdestroy();
    void *library = dlopen("libm.so.6", RTLD_NOW);
    CHECK(library != NULL, "dlopen of libm: %s", dlerror());
    dlclose(library);
    setenv("CONFORM_VARIABLE", "value", 1);
    unsetenv("CONFORM_VARIABLE");
    FILE *command = popen("echo hello", "r");
    char word[16] = "";
    CHECK(command != NULL && fgets(word, sizeof word, command) != NULL, "popen");
    pclose(command);
    CHECK(strcmp(word, "hello\n") == 0, "popen: expected hello, got '%s'", word);
}

static void *thread_body(void *argument)
{
    free(argument);
    return malloc(100);
}

static void threads_exchange_blocks(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *result = NULL;
        CHECK(pthread_create(&thread, NULL, thread_body, check_hide(malloc((size_t)i * 50))) == 0,
              "pthread_create");
        CHECK(pthread_join(thread, &result) == 0, "pthread_join");
        own(result, 100, "block of a thread that ended");
    }
}

static void child_after_fork_allocates(void)
{
    char *parents = check_hide(malloc(5000));
    check_fill(parents, 5000, 1);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            check_filled(parents, 5000, 1, "parent's block in the child");
            free(parents);
            for (size_t size = 1; size < 1000000; size = size * 2 + 1)
                free(check_hide(malloc(size)));
            exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        CHECK(status == 0, "child: expected a normal end, got status 0x%x", status);
    }
    check_filled(parents, 5000, 1, "parent's block after the forks");
    free(parents);
}

/* The child of vfork runs on its parent's memory; that of _Fork runs no fork handlers. What they
   allocate before exec or exit must neither hang nor hurt the parent. */
static void children_without_handlers_allocate(void)
{
    char *parents = check_hide(malloc(5000));
    check_fill(parents, 5000, 1);
    for (volatile int i = 0; i < 40; i++) {
        pid_t child = i % 2 == 0 ? vfork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            for (size_t size = 1; size < 100000; size = size * 2 + 1)
                free(check_hide(malloc(size)));
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        CHECK(status == 0, "child: expected a normal end, got status 0x%x", status);
    }
    check_filled(parents, 5000, 1, "parent's block after the children");
    free(parents);
}

/* A reader that allocates for each line must not make lines faster than it reads them. */
static void reader_of_own_maps_ends(void)
{
    enum { LINES_MAX = 20000 };
    static char *lines[LINES_MAX];
    static char text[4096];
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps != NULL, "expected /proc/self/smaps to open, got errno %d", errno);
    int n = 0;
    while (n < LINES_MAX && fgets(text, sizeof text, maps) != NULL) {
        lines[n] = check_hide(malloc(500));
        strcpy(lines[n++], "line");
    }
    CHECK(n < LINES_MAX, "expected less than %d lines, got more", LINES_MAX);
    fclose(maps);
    while (n > 0)
        free(lines[--n]);
}

/* atexit handlers run after main and in reverse order; the heap must outlive them. */
static char *kept;

static void at_exit(void)
{
    free(kept);
    free(check_hide(malloc(70000)));
}

static void heap_works_in_atexit(void)
{
    pid_t child = fork();
    if (child == 0) {
        kept = check_hide(malloc(300));
        atexit(at_exit);
        exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0, "exit with a handler that frees: expected status 0, got 0x%x", status);
}

int main(int argc, char **argv)
{
    if (errno != 0) {
        fprintf(stderr, "expected errno 0 when main starts, got %d\n", errno);
        return 1;
    }
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct check_case cases[] = {
        C(strings_come_from_this_heap),
        C(streams_use_this_heap),
        C(library_calls_that_free),
        C(threads_exchange_blocks),
        C(child_after_fork_allocates),
        C(heap_works_in_atexit),
        C(children_without_handlers_allocate),
        C(reader_of_own_maps_ends),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
