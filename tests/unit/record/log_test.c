/* record/log: the lines, which calls are told, descriptors that fail or do not wait. */
#include "record/log.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "support/heap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MALLOC = 1, CALLOC = 2, REALLOC = 4, ALIGNED = 8, FREE = 16, OWN_DESCRIPTOR = 200 };
static int pipe_ends[2];

static void start(int calls)
{
    fake_os_install();
    REQUIRE(pipe(pipe_ends) == 0 && life_cache() != NULL);
    conf.log = calls;
    conf.log_fd = pipe_ends[1];
    REQUIRE(log_begin());
    close(pipe_ends[1]); /* the log has a copy of its own */
}

/* Compares with what was written since, every # standing for a number. */
static void require_lines(const char *wanted)
{
    char got[4096];
    ssize_t n = read(pipe_ends[0], got, sizeof got - 1);
    REQUIRE(n > 0);
    got[n] = '\0';
    const char *g = got;
    for (const char *w = wanted; *w != '\0'; w++) {
        if (*w != '#') {
            REQUIRE(*g++ == *w);
            continue;
        }
        REQUIRE(strspn(g, "0123456789abcdefx") > 0);
        g += strspn(g, "0123456789abcdefx");
    }
    REQUIRE(*g == '\0');
}

static void every_call(void *arg)
{
    (void)arg;
    start(MALLOC | CALLOC | REALLOC | ALIGNED | FREE);
    void *p = malloc_fast(100);
    require_lines("[#] malloc(100) = #\n");
    p = core_realloc(p, 5000, "realloc");
    require_lines("[#] realloc(#, 5000) = #\n");
    REQUIRE(core_realloc(p, SIZE_MAX / 2, "reallocarray") == NULL);
    require_lines("[#] reallocarray(#, #) = 0x0\n");
    free_fast(p);
    void *a = core_aligned(64, 10);
    void *z = calloc_fast(3, 5);
    core_free_sized(a, 10, 64, "free_aligned_sized");
    require_lines("[#] free(#)\n[#] aligned_alloc(10) = #\n[#] calloc(15) = #\n"
                  "[#] free_aligned_sized(#)\n");
    free_fast(z);
}

static void chosen_calls(void *arg)
{
    (void)arg;
    start(FREE);
    free_fast(calloc_fast(1, malloc_fast(10) != NULL));
    require_lines("[#] free(#)\n");
}

static void *read_slowly(void *arg)
{
    char buffer[4096];
    size_t *lines = arg;
    ssize_t n;
    usleep(100000);
    while ((n = read(pipe_ends[0], buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            *lines += buffer[i] == '\n';
    }
    return NULL;
}

/* A pipe that is full and does not wait: nothing is lost. */
static void full_pipe(void *arg)
{
    enum { CALLS = 5000 };
    pthread_t reader;
    size_t lines = 0;
    (void)arg;
    start(FREE);
    fcntl(pipe_ends[0], F_SETPIPE_SZ, 4096);
    REQUIRE(fcntl(OWN_DESCRIPTOR, F_SETFL, O_NONBLOCK) == 0);
    REQUIRE(pthread_create(&reader, NULL, read_slowly, &lines) == 0);
    for (int i = 0; i < CALLS; i++)
        free_fast(malloc_fast(10));
    close(OWN_DESCRIPTOR);
    pthread_join(reader, NULL);
    REQUIRE(lines == CALLS && fake.message_chars == 0);
}

static void closed_by_the_program(void *arg)
{
    (void)arg;
    start(FREE);
    close(OWN_DESCRIPTOR);
    free_fast(malloc_fast(10));
    free_fast(malloc_fast(10));
    REQUIRE(strstr(fake.message, "the log ends here") != NULL && fake.message_writes == 1);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(every_call)
IN_CHILD(chosen_calls)
IN_CHILD(full_pipe)
IN_CHILD(closed_by_the_program)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call),
        cmocka_unit_test(test_chosen_calls),
        cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_closed_by_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
