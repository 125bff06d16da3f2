/* record/rings: the last events of each thread, and rings that go from hand to hand. */
#include "record/rings.h"

#include "core/life.h"
#include "support/heap.h"

#include <pthread.h>

static size_t n_seen;
static uintptr_t least, most;

static void see(const struct ring_event *event, void *arg)
{
    (void)arg;
    n_seen++;
    least = event->address < least ? event->address : least;
    most = event->address > most ? event->address : most;
}

static void look(void)
{
    n_seen = 0;
    least = UINTPTR_MAX;
    most = 0;
    rings_visit(see, NULL);
}

static void keep(uintptr_t from, uintptr_t to)
{
    for (uintptr_t i = from; i < to; i++)
        rings_keep(&(struct ring_event){.address = i});
}

static void the_last_are_kept(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(life_cache() != NULL);
    look();
    REQUIRE(n_seen == 0);
    keep(1, 101);
    look();
    REQUIRE(n_seen == 100 && least == 1 && most == 100);
    keep(101, RING_EVENTS * 3);
    look();
    REQUIRE(n_seen == RING_EVENTS && most == RING_EVENTS * 3 - 1 &&
            most - least == RING_EVENTS - 1);
}

static void *other_thread(void *arg)
{
    keep((uintptr_t)arg, (uintptr_t)arg + 10);
    rings_thread_ends();
    keep(1, 100); /* too late */
    return NULL;
}

static void run_thread(uintptr_t first)
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, other_thread, (void *)first) == 0);
    pthread_join(thread, NULL);
}

static void threads_follow_each_other(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(life_cache() != NULL);
    run_thread(1000);
    run_thread(2000); /* in the same ring */
    keep(3000, 3010); /* in it, too */
    look();
    REQUIRE(n_seen == 30 && least == 1000 && most == 3009);
    run_thread(4000);
    rings_fork_child();
    keep(3010, 3020);
    look();
    REQUIRE(n_seen == 50 && most == 4009);
    fake.refuse = ENTRY_BIT(ENTRY_PAGES_MAP);
    run_thread(5000); /* the ring of the thread that ended waits for it */
    look();
    REQUIRE(n_seen == 60);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(the_last_are_kept)
IN_CHILD(threads_follow_each_other)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_are_kept),
        cmocka_unit_test(test_threads_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
