/* callers: the same row as the unwinder's, by rules, under every kind of frame that a compiler makes. */
#include "callers/callers.h"

#include "core/life.h"
#include "support/heap.h"

#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unwind.h>

enum { DEPTH = 40, ROUNDS = 3000 };

static uintptr_t expected[CALLERS_MAX];
static unsigned n_expected;

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
    (void)arg;
    uintptr_t ip = _Unwind_GetIP(context);
    if (ip != 0)
        expected[n_expected++] = ip;
    return ip == 0 || n_expected == CALLERS_MAX ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* The first of each is an address in this function; above it both must be the same. */
static NOINLINE void compare(void)
{
    uintptr_t callers[CALLERS_MAX];
    n_expected = 0;
    _Unwind_Backtrace(step, NULL);
    unsigned n = callers_take(callers, CALLERS_MAX);
    REQUIRE(n == n_expected && n > 3);
    REQUIRE(memcmp(callers + 1, expected + 1, (n - 1) * sizeof *callers) == 0);
    for (unsigned max = 1; max < 8; max++) {
        unsigned got = callers_take(callers, max);
        REQUIRE(got == (max < n ? max : n));
        REQUIRE(memcmp(callers + 1, expected + 1, (got - 1) * sizeof *callers) == 0);
    }
}

static struct chance chance = {.state = 5};
static NOINLINE void dive(unsigned depth);

static NOINLINE void plain(unsigned depth)
{
    volatile char room[100];
    room[0] = 1;
    dive(depth);
    REQUIRE(room[0] == 1);
}

/* alloca makes a frame whose size is not known in advance: by frame pointer. */
static NOINLINE void of_any_size(unsigned depth)
{
    size_t n = chance_below(&chance, 3000);
    volatile char *room = alloca(n + 1);
    room[n] = 1;
    dive(depth);
    REQUIRE(room[n] == 1);
}

/* Aligned beyond what calls keep: the distance to the caller varies. */
static NOINLINE void realigned(unsigned depth)
{
    volatile char room[256] __attribute__((aligned(128)));
    room[0] = 1;
    dive(depth);
    REQUIRE(room[0] == 1);
}

/* Who asks for the address of its frame has a frame pointer. */
static NOINLINE void framed(unsigned depth)
{
    REQUIRE(__builtin_frame_address(0) != NULL);
    volatile char room[16];
    room[0] = 1;
    dive(depth);
    REQUIRE(room[0] == 1);
}

static NOINLINE void dive(unsigned depth)
{
    void (*const kinds[])(unsigned) = {plain, of_any_size, realigned, framed};
    if (depth == 0)
        compare();
    else
        kinds[chance_below(&chance, 4)](depth - 1);
    __asm__ volatile(""); /* no tail call */
}

static void on_signal(int signal)
{
    (void)signal;
    dive(5);
}

static void *thread_main(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        dive((unsigned)chance_below(&chance, DEPTH));
    return NULL;
}

static void begin(void)
{
    fake_os_install();
    uintptr_t none[1];
    REQUIRE(callers_take(none, 1) == 0);
    REQUIRE(life_cache() != NULL && callers_begin() && callers_begin());
}

static void every_kind_of_frame(void *arg)
{
    begin();
    thread_main(arg);
    REQUIRE(callers_counts.quick > ROUNDS && callers_counts.checked > 0);
    REQUIRE(callers_counts.wrong == 0);
}

static void on_threads_and_signals(void *arg)
{
    pthread_t thread;
    begin();
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 100; i++)
        raise(SIGUSR1);
    REQUIRE(pthread_create(&thread, NULL, thread_main, arg) == 0);
    pthread_join(thread, NULL);
    thread_main(arg);
    for (int i = 0; i < 100; i++)
        raise(SIGUSR1);
    REQUIRE(callers_counts.wrong == 0);
}

/* A stack that the C library does not know of. */
static void on_another_stack(void *arg)
{
    static char stack[1 << 16];
    (void)arg;
    begin();
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaltstack(&other, NULL);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 1000; i++)
        raise(SIGUSR1);
    REQUIRE(callers_counts.wrong == 0);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(every_kind_of_frame)
IN_CHILD(on_threads_and_signals)
IN_CHILD(on_another_stack)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_frame),
        cmocka_unit_test(test_on_threads_and_signals),
        cmocka_unit_test(test_on_another_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
