/* core/events: what is told, in which order, at every level of hardening; E1 to E5. */
#include "core/events.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "core/harden.h"
#include "core/life.h"
#include "span/span.h"
#include "support/heap.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { MOST = 64 };
static struct event told[MOST];
static unsigned n_told;
static unsigned n_ends;

static bool is_live(uintptr_t address)
{
    const struct slab *s = slab_of(address);
    return s != &no_slab
               ? s->states[(address - s->base) / size_classes[s->class_index].size] == SLOT_LIVE
               : span_in_use_bytes(address, RUN_LARGE) != 0;
}

/* E3: live when it is told, before it is freed and after it is handed out. E4: no lock is held. */
static void note(const struct event *event)
{
    REQUIRE(event->kind == EVENT_REALLOC_END ? event->address == 0 || is_live(event->address)
                                             : is_live(event->address));
    REQUIRE(!span_lock_is_mine() && !cache_lock_is_mine());
    REQUIRE(event->thread == os->thread_id());
    if (n_told < MOST)
        told[n_told] = *event;
    n_told++;
}

static void note_end(void)
{
    n_ends++;
}

static void describe(struct text *t, uintptr_t address)
{
    text_add(t, "  it is known\n");
    REQUIRE(address != 0);
}

static const struct event_listener listener = {
    .tell = note, .describe = describe, .thread_ends = note_end, .forked = note_end};

static void start(enum harden level)
{
    fake_os_install();
    heap_go_on_after_misuse();
    REQUIRE(level == HARDEN_OFF || harden_begin(level));
    REQUIRE(events_listen(&listener, 0) && events_are_on && fast_paths_are_closed);
    n_told = 0;
}

static void require_last(enum event_kind kind, const void *p, size_t bytes, const char *function)
{
    const struct event *last = &told[n_told - 1];
    REQUIRE(n_told > 0 && last->kind == kind && last->address == (uintptr_t)p);
    REQUIRE(last->bytes == bytes && strcmp(last->function, function) == 0);
}

static void every_call(enum harden level)
{
    start(level);
    static const size_t sizes[] = {0, 1, 100, 1000, 16384, 16385, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        n_told = 0;
        void *p = malloc_fast(n);
        require_last(EVENT_MALLOC, p, n, "malloc");
        REQUIRE(my_cache == &hard_cache &&
                (n >= SMALL_MAX || slab_is_guarded(slab_of((uintptr_t)p)))); /* E2 */
        void *z = calloc_fast(n, 1);
        require_last(EVENT_MALLOC, z, n, "calloc");
        for (size_t k = 0; k < n; k++)
            REQUIRE(((char *)z)[k] == 0);
        void *a = core_aligned(64, n);
        require_last(EVENT_MALLOC, a, n, "aligned_alloc");
        free_fast(a);
        require_last(EVENT_FREE, a, 0, "free");
        core_free_sized(z, n, 0, "free_sized");
        require_last(EVENT_FREE, z, 0, "free_sized");
        REQUIRE(n_told == 5);
        void *q = core_realloc(p, n + 20000, "realloc");
        require_last(EVENT_REALLOC_END, q, n + 20000, "realloc");
        REQUIRE(n_told == 7 && told[5].kind == EVENT_REALLOC_BEGIN &&
                told[5].address == (uintptr_t)p);
        REQUIRE(told[6].old_address == (uintptr_t)p);
        REQUIRE(core_realloc(q, 0, "realloc") == NULL);
        require_last(EVENT_FREE, q, 0, "realloc");
        REQUIRE(n_told == 8);
    }
    REQUIRE_SOUND();
}

static void unhardened(void *arg)
{
    (void)arg;
    every_call(HARDEN_OFF);
}

static void hardened_fast(void *arg)
{
    (void)arg;
    every_call(HARDEN_FAST);
}

static void hardened_full(void *arg)
{
    (void)arg;
    every_call(HARDEN_FULL);
}

/* E1 */
static void silent_until_asked(void *arg)
{
    (void)arg;
    fake_os_install();
    char *before = malloc_fast(100);
    REQUIRE(my_cache != &hard_cache && !slab_is_guarded(slab_of((uintptr_t)before)) && n_told == 0);
    start(HARDEN_OFF);
    free_fast(before); /* its slab is not guarded: nobody hears of it */
    REQUIRE(n_told == 0 && !is_live((uintptr_t)before));
    void *p = malloc_fast(100);
    REQUIRE(n_told == 1 && slab_of((uintptr_t)p) != slab_of((uintptr_t)before));
    free_fast(p);
}

/* E5 */
static void refused_and_failed(void *arg)
{
    (void)arg;
    start(HARDEN_OFF);
    char *p = malloc_fast(100);
    n_told = 0;
    free_fast(p + 16);
    free_fast(NULL);
    REQUIRE(core_realloc(p + 16, 10, "realloc") == NULL && n_told == 0);
    REQUIRE(malloc_fast(SIZE_MAX) == NULL && calloc_fast(SIZE_MAX, 2) == NULL && n_told == 0);
    REQUIRE(core_realloc(p, SIZE_MAX / 2, "realloc") == NULL && n_told == 2);
    REQUIRE(told[1].address == 0 && told[1].old_address == (uintptr_t)p && is_live((uintptr_t)p));
    free_fast(p);
    n_told = 0;
    free_fast(p);
    REQUIRE(n_told == 0 && strstr(fake.message, "double free") != NULL);
    REQUIRE(strstr(fake.message, "  it is known\n") != NULL);
    REQUIRE_SOUND();
}

static void *use_heap(void *arg)
{
    free_fast(malloc_fast(100));
    if (arg != NULL)
        pthread_barrier_wait(arg);
    return arg;
}

static void threads_and_limits(void *arg)
{
    start(HARDEN_OFF);
    run_in_thread(use_heap, arg);
    REQUIRE(n_told == 2 && n_ends == 1 && told[0].thread != os->thread_id());
    events_fork_child();
    REQUIRE(n_ends == 2);
    while (events_listen(&listener, 0))
        n_told++;
    REQUIRE(n_told == 5);
}

static void other_threads_were_first(void *arg)
{
    pthread_t thread;
    pthread_barrier_t both;
    (void)arg;
    fake_os_install();
    pthread_barrier_init(&both, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, use_heap, &both) == 0);
    while (all_caches.first == NULL || !all_caches.first->in_use)
        sched_yield();
    REQUIRE(!events_listen(&listener, 0) && !events_are_on && !fast_paths_are_closed);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    free_fast(malloc_fast(10));
    REQUIRE(n_told == 0);
}

/* Slots of slabs that were leased before are handed out no more: nobody listens to them (E2). */
static void threads_were_gone(void *arg)
{
    (void)arg;
    fake_os_install();
    run_in_thread(use_heap, NULL);
    REQUIRE(events_listen(&listener, 0));
    run_in_thread(use_heap, NULL);
    REQUIRE(n_told == 2);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(unhardened)
IN_CHILD(hardened_fast)
IN_CHILD(hardened_full)
IN_CHILD(silent_until_asked)
IN_CHILD(refused_and_failed)
IN_CHILD(threads_and_limits)
IN_CHILD(other_threads_were_first)
IN_CHILD(threads_were_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unhardened),
        cmocka_unit_test(test_hardened_fast),
        cmocka_unit_test(test_hardened_full),
        cmocka_unit_test(test_silent_until_asked),
        cmocka_unit_test(test_refused_and_failed),
        cmocka_unit_test(test_threads_and_limits),
        cmocka_unit_test(test_other_threads_were_first),
        cmocka_unit_test(test_threads_were_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
