/* os/lock: one holder at a time; who waits is woken, who does not need to wait makes no system
 * call. */
#include "os/lock.h"

#include "support/fake_os.h"
#include "support/unit.h"

#include <pthread.h>
#include <sched.h>

static struct lock lock = LOCK_INIT(RANK_SPAN);

static int setup(void **state)
{
    (void)state;
    fake_os_install();
    lock_init(&lock, RANK_SPAN);
    return 0;
}

static void test_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        lock_take(&lock);
        assert_false(lock_try_take(&lock));
        lock_drop(&lock);
        assert_true(lock_try_take(&lock));
        lock_drop(&lock);
    }
    assert_int_equal(lock.word, 0);
    assert_int_equal(lock.rank, RANK_SPAN);
    assert_int_equal(fake_os_calls(ENTRY_WAIT) + fake_os_calls(ENTRY_WAKE_ONE), 0);
}

enum { THREADS = 4, ROUNDS = 20000 };
static unsigned long counted[2]; /* two, so that a torn critical section shows */
static int inside;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        lock_take(&lock);
        if (__atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED) != 1)
            *(int *)arg = 1;
        counted[0]++;
        if (i % 64 == 0)
            sched_yield(); /* so that others really wait */
        counted[1]++;
        __atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
        lock_drop(&lock);
    }
    return NULL;
}

static void test_exclusion(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int met = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &met), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(met, 0);
    assert_int_equal(counted[0], THREADS * ROUNDS);
    assert_int_equal(counted[1], THREADS * ROUNDS);
    assert_int_equal(lock.word, 0);
}

/* The holder lets go while the other is about to sleep: the sleep must have been announced in the
 * word. */
static unsigned long waits;

static void drop_while_waiting(uint32_t *word, uint32_t expected, int timeout_ms)
{
    assert_ptr_equal(word, &lock.word);
    assert_int_equal(*word, expected);
    assert_int_equal(expected, lock_my_name() | LOCK_AWAITED);
    assert_true(timeout_ms < 0);
    if (++waits == 3) /* twice woken for no reason */
        lock_drop(&lock);
}

static void test_wait_and_wake(void **state)
{
    (void)state;
    fake.on_wait = drop_while_waiting;
    lock_take(&lock);
    lock_take(&lock);
    assert_int_equal(waits, 3);
    assert_int_equal(fake_os_calls(ENTRY_WAKE_ONE), 1);
    /* who had to wait cannot know of others, and wakes one more */
    assert_int_equal(lock.word, lock_my_name() | LOCK_AWAITED);
    lock_drop(&lock);
    assert_int_equal(fake_os_calls(ENTRY_WAKE_ONE), 2);
    assert_int_equal(lock.word, 0);
}

/* A fork by the holder keeps the lock; the parent and the child go on as holders. */
static void test_fork_keeps(void **state)
{
    (void)state;
    lock_take(&lock);
    assert_true(lock_is_mine(&lock));
    lock_fork_take(&lock, true);
    lock_fork_parent(&lock);
    assert_true(lock_is_mine(&lock));
    lock_fork_take(&lock, true);
    lock_fork_child(&lock);
    assert_true(lock_is_mine(&lock));
    lock_drop(&lock);
    assert_int_equal(lock.word, 0);
}

/* A free lock is taken and given back; one that somebody else holds is left to him, and the wait has an end. */
static void test_fork_takes_or_misses(void **state)
{
    (void)state;
    lock_fork_take(&lock, true);
    assert_true(lock_is_mine(&lock));
    lock_fork_parent(&lock);
    assert_int_equal(lock.word, 0);
    lock.word = 4;
    lock_fork_take(&lock, true);
    lock_fork_parent(&lock);
    assert_int_equal(lock.word, 4);
    lock_fork_take(&lock, true);
    lock_fork_child(&lock);
    assert_int_equal(lock.word, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fork_keeps, setup),
        cmocka_unit_test_setup(test_fork_takes_or_misses, setup),
        cmocka_unit_test_setup(test_alone, setup),
        cmocka_unit_test_setup(test_exclusion, setup),
        cmocka_unit_test_setup(test_wait_and_wake, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
