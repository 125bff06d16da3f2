/* base/atomics.h: what each word does, alone; that adds are not lost; that a hint never becomes nonsense. Orders are
 * the subject of tests/model. */
#include "base/atomics.h"

#include "support/unit.h"

#include <pthread.h>

static void test_words(void **state)
{
    (void)state;
    uint32_t n = 5;
    assert_int_equal(atomic_load_relaxed(&n), 5);
    atomic_store_relaxed(&n, 6U);
    assert_int_equal(atomic_load_acquire(&n), 6);
    atomic_store_release(&n, 7U);
    assert_int_equal(atomic_add_relaxed(&n, 3), 7);
    assert_int_equal(atomic_sub_relaxed(&n, 1), 10);
    assert_int_equal(atomic_exchange_acquire(&n, 20U), 9);
    assert_int_equal(atomic_exchange_release(&n, 21U), 20);
    assert_int_equal(atomic_exchange_full(&n, 22U), 21);
    assert_false(atomic_cas_acquire(&n, 1U, 2U));
    assert_int_equal(n, 22);
    assert_true(atomic_cas_acquire(&n, 22U, 23U));
    assert_int_equal(n, 23);
    uint64_t wide = UINT64_MAX;
    atomic_add_relaxed(&wide, 2);
    assert_int_equal(wide, 1);
    cpu_relax();
    atomic_fence_acquire();
    atomic_fence_full();
}

static void test_hint(void **state)
{
    (void)state;
    int32_t hint = 2;
    assert_false(hint_take_one_is_negative(&hint));
    assert_false(hint_take_one_is_negative(&hint));
    assert_int_equal(hint, 0);
    assert_true(hint_take_one_is_negative(&hint));
    assert_int_equal(hint, -1);
    hint = 1 << 30;
    assert_false(hint_take_one_is_negative(&hint));
    assert_int_equal(hint, (1 << 30) - 1);
}

static void test_byte_is(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 256; v++) {
        uint8_t byte = (uint8_t)v;
        assert_int_equal(byte_is(&byte, 0), v == 0);
        assert_int_equal(byte_is(&byte, 1), v == 1);
        assert_int_equal(byte_is(&byte, 255), v == 255);
    }
}

enum { ROUNDS = 200000, THREADS = 4 };
static uint64_t sum;
static int32_t shared_hint;

static void *add_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_add_relaxed(&sum, 1);
        hint_take_one_is_negative(&shared_hint);
    }
    return NULL;
}

/* Adds are exact; a hint may lose counts, and never counts more than there were. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    shared_hint = ROUNDS * THREADS;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sum, ROUNDS * THREADS);
    assert_in_range(shared_hint, 0, ROUNDS * THREADS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_hint),
        cmocka_unit_test(test_byte_is),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
