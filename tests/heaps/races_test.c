/* Races in a shared pool, one at a time and always: this test compiles the pool itself, with an
 * exchange that first lets somebody else do something. What another thread does in between happens
 * here in the same thread, exactly where it hurts, so that a pool that exchanges without looking
 * fails each time and not now and then. */
#include "base/atomics.h"

#include <stdint.h>

static void meddle(uintptr_t place);

#undef atomic_cas_acquire
#define atomic_cas_acquire(p, expected, desired)                                                   \
    (__extension__({                                                                               \
        __typeof__(*(p)) expected_ = (expected);                                                   \
        meddle((uintptr_t)(p));                                                                    \
        __atomic_compare_exchange_n((p), &expected_, (desired), false, __ATOMIC_ACQ_REL,           \
                                    __ATOMIC_ACQUIRE);                                             \
    }))

#include "heaps/pool.c"

#include "support/unit.h"

enum { N_OBJECTS = 8 };

static char buffer[4096];
static struct ration_pool pool;
static struct ration_heap *heap;
static unsigned n_misuses;
static enum ration_misuse_kind last_misuse;

/* Who waits for an exchange at which place, and what he does there. Once. */
static uintptr_t awaited;
static void (*intruder)(void);
static void *victim;
static unsigned n_intrusions;
static void *held[N_OBJECTS + 4];

static void meddle(uintptr_t place)
{
    if (intruder == NULL || place != awaited)
        return;
    void (*now)(void) = intruder;
    intruder = NULL;
    n_intrusions++;
    now();
}

static void await(const void *place, void (*what)(void))
{
    awaited = (uintptr_t)place;
    intruder = what;
}

static void count_misuse(const struct ration_misuse *misuse)
{
    n_misuses++;
    last_misuse = misuse->kind;
}

static int start(void **state)
{
    (void)state;
    struct ration_pool_options o = {.object_bytes = 16,
                                    .n_objects = N_OBJECTS,
                                    .flags = RATION_POOL_SHARED,
                                    .buffer = buffer,
                                    .buffer_bytes = sizeof buffer};
    heap = ration_pool_init(&pool, &o);
    n_misuses = n_intrusions = 0;
    ration_misuse_handler(count_misuse);
    return heap != NULL ? 0 : -1;
}

static void require_sound(size_t live)
{
    struct ration_heap_stats s;
    assert_int_equal(n_intrusions, 1); /* there was an exchange to come before */
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_stats(heap, &s);
    assert_int_equal(s.live_blocks, live);
}

/* Whatever is left comes out once each. */
static void require_each_once(size_t n_left)
{
    void *taken[N_OBJECTS + 1];
    for (size_t i = 0; i < n_left; i++) {
        taken[i] = ration_pool_alloc(&pool);
        assert_non_null(taken[i]);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(taken[i], taken[k]);
    }
    assert_null(ration_pool_alloc(&pool));
}

static void free_victim(void)
{
    ration_pool_free(&pool, victim);
}

static void of_two_frees_one_wins(void **state)
{
    (void)state;
    victim = ration_pool_alloc(&pool);
    ration_pool_alloc(&pool);
    await(link_at(&pool, 0), free_victim);
    ration_pool_free(&pool, victim);
    assert_int_equal(n_misuses, 1);
    assert_int_equal(last_misuse, RATION_DOUBLE_FREE);
    require_sound(1);
    require_each_once(N_OBJECTS - 1);
}

/* The object that was on top goes, the one below goes, and the first comes back: the head looks as
 * before, and what lies below it is not what it was. */
static void swap_below_the_top(void)
{
    void *top = ration_pool_alloc(&pool);
    held[0] = ration_pool_alloc(&pool);
    ration_pool_free(&pool, top);
}

static void an_allocation_sees_that_the_stack_changed_below(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        held[i] = ration_pool_alloc(&pool);
    for (int i = 0; i < 4; i++)
        ration_pool_free(&pool, held[i]);
    await(&pool.head, swap_below_the_top);
    void *own = ration_pool_alloc(&pool);
    assert_ptr_not_equal(own, held[0]);
    require_sound(2);
    void *next = ration_pool_alloc(&pool);
    assert_ptr_not_equal(next, held[0]);
    assert_ptr_not_equal(next, own);
    require_each_once(N_OBJECTS - 3);
}

static void a_free_loses_nothing_that_comes_meanwhile(void **state)
{
    (void)state;
    void *own = ration_pool_alloc(&pool);
    victim = ration_pool_alloc(&pool);
    await(&pool.head, free_victim);
    ration_pool_free(&pool, own);
    assert_int_equal(n_misuses, 0);
    require_sound(0);
    require_each_once(N_OBJECTS);
}

static void take_one(void)
{
    held[0] = ration_pool_alloc(&pool);
}

static void a_fresh_object_has_one_taker(void **state)
{
    (void)state;
    await(&pool.n_used, take_one);
    void *own = ration_pool_alloc(&pool);
    assert_non_null(held[0]);
    assert_ptr_not_equal(own, held[0]);
    require_sound(2);
    require_each_once(N_OBJECTS - 2);
}

static int end(void **state)
{
    (void)state;
    intruder = NULL;
    ration_heap_destroy(heap);
    ration_misuse_handler(NULL);
    return 0;
}

#define RACE(test) cmocka_unit_test_setup_teardown(test, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RACE(of_two_frees_one_wins),
        RACE(an_allocation_sees_that_the_stack_changed_below),
        RACE(a_free_loses_nothing_that_comes_meanwhile),
        RACE(a_fresh_object_has_one_taker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
