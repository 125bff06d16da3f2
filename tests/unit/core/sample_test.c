/* core/sample: one of about N, whatever the path; what a sample promises; the heap stays sound. */
#include "core/sample.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "core/fence.h"
#include "core/harden.h"
#include "support/heap.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(uint32_t every)
{
    fake_os_install();
    heap_go_on_after_misuse();
    free_fast(malloc_fast(100)); /* a cache from before */
    sample_begin(every);
}

static bool is_sample(const void *p)
{
    return fence_find((uintptr_t)p) != NULL;
}

/* Samples among N allocations of n bytes. */
static size_t count_samples(size_t allocations, size_t n)
{
    size_t samples = 0;
    for (size_t i = 0; i < allocations; i++) {
        char *p = malloc_fast(n);
        samples += is_sample(p);
        free_fast(p);
    }
    return samples;
}

static void rate(void *arg)
{
    start(100);
    if (arg != NULL)
        REQUIRE(harden_begin(HARDEN_FAST));
    static const size_t sizes[] = {1, 64, 100, 1000, 5000, 16384, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t got = count_samples(20000, sizes[i]);
        /* 200 expected; a large block has a fence for FAST's sake as well */
        REQUIRE(got > 140 && (got < 270 || (arg != NULL && sizes[i] > SMALL_MAX)));
    }
    REQUIRE_SOUND();
}

static void off(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(count_samples(20000, 64) == 0 && !fences_are_on);
}

/* Nobody knows there what the slot is for: it might be for an alignment. */
static void no_stand_ins(void *arg)
{
    (void)arg;
    start(UINT32_MAX);
    char *longer[8];
    for (int i = 0; i < 8; i++)
        longer[i] = malloc_fast(4608);
    for (int i = 1; i < 8; i++)
        free_fast(longer[i]);
    for (int i = 0; i < 3; i++)
        REQUIRE((uintptr_t)core_aligned(4096, 4096) % 4096 == 0);
    REQUIRE_SOUND();
}

static void promises(void *arg)
{
    (void)arg;
    start(3);
    size_t samples = 0;
    for (size_t n = 0; n < 9000; n++) {
        char *p = malloc_fast(n);
        REQUIRE((uintptr_t)p % 16 == 0);
        if (is_sample(p)) {
            samples++;
            REQUIRE(core_usable(p, "x") == n && core_good_size(n) == n);
        }
        memset(p, 0x5a, n);
        p = core_realloc(p, n + 100, "realloc");
        for (size_t i = 0; i < n; i++)
            REQUIRE(p[i] == 0x5a);
        core_free_sized(p, n + 100, 0, "free_sized");
        char *zero = calloc_fast(1, n);
        for (size_t i = 0; i < n; i++)
            REQUIRE(zero[i] == 0);
        memset(zero, 0x5a, n);
        free_fast(zero);
    }
    REQUIRE(samples > 2000 && fake.message_writes == 0);
    for (size_t align = 16; align <= 65536; align *= 2) {
        for (int i = 0; i < 100; i++) {
            char *p = core_aligned(align, 3 * align / 2);
            REQUIRE((uintptr_t)p % align == 0);
            core_free_sized(p, 3 * align / 2, align, "free_aligned_sized");
        }
    }
    REQUIRE(fake.message_writes == 0);
    REQUIRE_SOUND();
}

static void live_ones_are_few(void *arg)
{
    (void)arg;
    start(1);
    char *last = NULL;
    size_t samples = 0;
    for (int i = 0; i < 6000; i++) {
        last = malloc_fast(32);
        samples += is_sample(last);
    }
    REQUIRE(samples == 4096 && !is_sample(last));
    REQUIRE_SOUND();
}

static void mismatch(void *arg)
{
    (void)arg;
    start(1);
    char *p = malloc_fast(100);
    REQUIRE(is_sample(p));
    core_free_sized(p, 200, 0, "free_sized");
    REQUIRE(strstr(fake.message, "ration: size mismatch at 0x") != NULL);
}

static void resize_to_the_same(void *arg)
{
    (void)arg;
    start(1);
    for (size_t n = 1; n < 20000; n += 701) {
        char *p = malloc_fast(n);
        REQUIRE(is_sample(p) && core_realloc(p, n, "realloc") == p);
        free_fast(p);
    }
}

/* The lock of the fences is free in the child, whoever held it. */
static void in_a_child(void *arg)
{
    (void)arg;
    start(1);
    char *p = malloc_fast(100);
    alarm(20); /* this process waits; the child has an alarm of its own, which a fork takes away */
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(10);
        free_fast(p);
        _exit(is_sample(malloc_fast(100)) ? 0 : 1);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free_fast(p);
    REQUIRE_SOUND();
}

#define TEST_IN_CHILD(name, body, arg)                                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, arg);                                                               \
    }
static int yes;
TEST_IN_CHILD(test_rate, rate, NULL)
TEST_IN_CHILD(test_rate_hardened, rate, &yes)
TEST_IN_CHILD(test_off, off, NULL)
TEST_IN_CHILD(test_promises, promises, NULL)
TEST_IN_CHILD(test_no_stand_ins, no_stand_ins, NULL)
TEST_IN_CHILD(test_limit, live_ones_are_few, NULL)
TEST_IN_CHILD(test_mismatch, mismatch, NULL)
TEST_IN_CHILD(test_same_size, resize_to_the_same, NULL)
TEST_IN_CHILD(test_fork, in_a_child, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),         cmocka_unit_test(test_rate_hardened),
        cmocka_unit_test(test_off),          cmocka_unit_test(test_promises),
        cmocka_unit_test(test_no_stand_ins), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_mismatch),     cmocka_unit_test(test_same_size),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
