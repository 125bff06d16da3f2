/* core/life: a cache with the first call, back at the thread's end, shared after it; everything
 * locked and unlocked; what a forked child finds. */
#include "core/life.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/purge.h"
#include "support/heap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
}

static void count_cache(struct cache *cache, void *arg)
{
    unsigned *n = arg;
    n[0]++;
    n[1] += cache->in_use;
}

static unsigned caches(unsigned *in_use)
{
    unsigned n[2] = {0, 0};
    cache_visit(count_cache, n);
    if (in_use != NULL)
        *in_use = n[1];
    return n[0];
}

static void first_call(void *arg)
{
    (void)arg;
    start();
    REQUIRE(my_cache == &no_cache && caches(NULL) == 0);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(life_cache() == NULL && my_cache == &no_cache);
    fake.refuse = 0;
    struct cache *cache = life_cache();
    REQUIRE(cache != NULL && my_cache == cache && cache->in_use && life_cache() == cache);
    REQUIRE(caches(NULL) == 1);
}

static void test_first_call(void **state)
{
    (void)state;
    require_in_child(first_call, NULL);
}

static void *use_a_little(void *arg)
{
    (void)arg;
    void *blocks[50];
    for (size_t i = 0; i < 50; i++)
        blocks[i] = malloc_fast(i * 100);
    for (size_t i = 0; i < 50; i++)
        free_fast(blocks[i]);
    REQUIRE(my_cache != &no_cache);
    return NULL;
}

static void many_threads(void *arg)
{
    (void)arg;
    start();
    for (int i = 0; i < 500; i++)
        run_in_thread(use_a_little, NULL);
    unsigned in_use;
    REQUIRE(caches(&in_use) <= 2 &&
            in_use == 0); /* one after the other: the same cache served all */
    REQUIRE(heap_live_blocks() == 0);
    REQUIRE_SOUND();
}

static unsigned leases(void)
{
    unsigned n = 0;
    for (struct cache *cache = all_caches.first; cache != NULL; cache = cache->next) {
        for (unsigned c = 0; c < WIDE_FIRST; c++)
            n += !cache->in_use && cache->bins[c].slab != NULL;
    }
    return n;
}

/* What it leased waits for the next thread, or for a purge pass. */
static void rest(void *arg)
{
    (void)arg;
    start();
    conf.purge_delay = 500;
    conf.purge_thread = 0;
    run_in_thread(use_a_little, NULL);
    unsigned resting = leases();
    REQUIRE(resting > 10);
    run_in_thread(use_a_little, NULL);
    REQUIRE(leases() == resting && caches(NULL) == 1);
    REQUIRE(purge_all() > 0 && leases() == 0);
    REQUIRE_SOUND();
}

/* Each class's slab is all but full, and then empty: nobody has an event of what is freed into a leased slab. */
static void *fill_and_free(void *arg)
{
    static void *p[SLOTS_MAX];
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        for (unsigned i = 0; i + 1 < size_classes[c].slots; i++)
            p[i] = malloc_fast(size_classes[c].size);
        for (unsigned i = 0; i + 1 < size_classes[c].slots; i++)
            free_fast(p[i]);
    }
    REQUIRE(fake.calls[ENTRY_HELPER_START] == 0);
    return arg;
}

/* When the thread ends the purge is told. */
static void note_leases(void *arg)
{
    (void)arg;
    start();
    conf.purge_delay = 500;
    conf.purge_thread = 1;
    fake.refuse |= ENTRY_BIT(ENTRY_HELPER_START);
    run_in_thread(fill_and_free, NULL);
    REQUIRE(leases() == WIDE_FIRST && fake.calls[ENTRY_HELPER_START] == 1);
    REQUIRE_SOUND();
}

/* Where no memory can be had, what lies in the leases of those that rest serves. */
static void serve_from_rests(void *arg)
{
    (void)arg;
    start();
    conf.purge_delay = 500;
    REQUIRE(malloc_fast(1000) != NULL);
    run_in_thread(use_a_little, NULL);
    const struct cache *resting = all_caches.first;
    unsigned c = class_of(200);
    const struct slab *s = resting->bins[c].slab;
    REQUIRE(!resting->in_use && s != NULL);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    bool is_zero;
    while (span_alloc(1, 1, RUN_LARGE, &is_zero) != NULL)
        continue;
    REQUIRE(slab_of((uintptr_t)malloc_fast(200)) == s && resting->bins[c].slab == NULL);
    REQUIRE(leases() == 0 && cache_check_all() == 0);
    REQUIRE(malloc_fast(MIB(1)) == NULL);
    REQUIRE_SOUND();
}

/* Without passes nobody would end the rest. */
static void rest_never(void *arg)
{
    start();
    conf.purge_delay = *(const int *)arg;
    run_in_thread(use_a_little, NULL);
    REQUIRE(leases() == 0 && caches(NULL) == 1);
    REQUIRE_SOUND();
}

static void test_thread_ends(void **state)
{
    (void)state;
    int never[] = {0, -1};
    require_in_child(many_threads, NULL);
    require_in_child(rest, NULL);
    require_in_child(note_leases, NULL);
    require_in_child(serve_from_rests, NULL);
    require_in_child(rest_never, &never[0]);
    require_in_child(rest_never, &never[1]);
}

/* Another key's destructor, run again and again after ours: it still gets memory, and may free. */
static pthread_key_t late_key;
static unsigned late_rounds;

static void allocate_late(void *block)
{
    REQUIRE(pattern_is(block, 200, 77));
    void *p = malloc_fast(200);
    REQUIRE(p != NULL);
    unsigned char *zero = calloc_fast(1, 300);
    for (int i = 0; i < 300; i++)
        REQUIRE(zero[i] == 0);
    memset(zero, 1, 300);
    free_fast(zero);
    zero = calloc_fast(1, 300);
    for (int i = 0; i < 300; i++)
        REQUIRE(zero[i] == 0);
    free_fast(zero);
    void *large = malloc_fast(100000);
    REQUIRE(large != NULL && core_realloc(large, 10, "realloc") != NULL);
    free_fast(block);
    pattern_write(p, 200, 77);
    if (my_cache == &late_cache)
        late_rounds++;
    pthread_setspecific(late_key, late_rounds < 3 ? p : NULL);
    if (late_rounds >= 3)
        free_fast(p);
}

static void *end_late(void *arg)
{
    void *p = malloc_fast(200);
    pattern_write(p, 200, 77);
    pthread_setspecific(late_key, p);
    return arg;
}

static void late_destructors(void *arg)
{
    (void)arg;
    start();
    REQUIRE(pthread_key_create(&late_key, allocate_late) == 0);
    for (int i = 0; i < 20; i++) {
        late_rounds = 0;
        run_in_thread(end_late, NULL);
        REQUIRE(late_rounds > 0);
    }
    unsigned in_use;
    REQUIRE(caches(&in_use) <= 3);
    REQUIRE_SOUND();
}

static void test_late(void **state)
{
    (void)state;
    require_in_child(late_destructors, NULL);
}

static void late_without_memory(void *arg)
{
    (void)arg;
    start();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    my_cache = &late_cache;
    REQUIRE(life_cache() == NULL);
    REQUIRE(malloc_fast(10) == NULL && calloc_fast(1, 10) == NULL && malloc_fast(100000) == NULL);
    fake.refuse = 0;
    free_fast(malloc_fast(10));
}

static void test_late_without_memory(void **state)
{
    (void)state;
    require_in_child(late_without_memory, NULL);
}

static uint32_t got_it;

static void *need_the_slow_path(void *arg)
{
    void *p = malloc_fast(*(const size_t *)arg);
    __atomic_store_n(&got_it, 1, __ATOMIC_RELEASE);
    free_fast(p);
    return NULL;
}

/* While everything is locked, nobody's slow path moves; afterwards all goes on. */
static void lock_all(void *arg)
{
    start();
    free_fast(malloc_fast(1));
    life_lock();
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, need_the_slow_path, arg) == 0);
    struct timespec t = {0, 30000000};
    nanosleep(&t, NULL);
    REQUIRE(__atomic_load_n(&got_it, __ATOMIC_ACQUIRE) == 0);
    life_unlock();
    pthread_join(thread, NULL);
    REQUIRE(got_it == 1);
    life_lock();
    life_unlock();
    REQUIRE(core_trim() || true);
    REQUIRE_SOUND();
}

static void test_lock(void **state)
{
    (void)state;
    static size_t sizes[] = {100, 16384, 100000};
    for (int i = 0; i < 3; i++)
        require_in_child(lock_all, &sizes[i]);
}

/* A thread that allocates and frees without end while its process forks. */
static uint32_t stop;

static void *churn(void *arg)
{
    struct chance chance = {1 + (uint64_t)(uintptr_t)arg};
    void *live[64] = {NULL};
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        size_t i = chance_below(&chance, 64);
        free_fast(live[i]);
        live[i] = malloc_fast(chance_below(&chance, 10) == 0 ? chance_below(&chance, 200000)
                                                             : chance_below(&chance, 2000));
        if (chance_below(&chance, 2000) == 0)
            core_trim();
    }
    for (int i = 0; i < 64; i++)
        free_fast(live[i]);
    return NULL;
}

/* The child has every lock free, sound records, and one cache in use. */
static void look_around_as_child(void)
{
    unsigned in_use;
    caches(&in_use);
    REQUIRE(in_use <= 1);
    REQUIRE_SOUND();
    life_lock();
    life_unlock();
    void *blocks[300];
    for (size_t i = 0; i < 300; i++)
        pattern_write(blocks[i] = malloc_fast(i * 40), i * 40, i);
    for (size_t i = 0; i < 300; i++) {
        REQUIRE(pattern_is(blocks[i], i * 40, i));
        free_fast(blocks[i]);
    }
    void *large = malloc_fast(MIB(3));
    free_fast(large);
    purge_all();
    free_fast(&large); /* a report takes its lock */
    run_in_thread(use_a_little, NULL);
    REQUIRE_SOUND();
}

static void fork_often(void *arg)
{
    (void)arg;
    start();
    fake.clock_by_hand = false;
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    void *mine = malloc_fast(500);
    pattern_write(mine, 500, 3);
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            REQUIRE(pattern_is(mine, 500, 3));
            free_fast(mine);
            look_around_as_child();
            _exit(0);
        }
        int status = -1;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    REQUIRE(pattern_is(mine, 500, 3) && heap_live_blocks() == 1);
    REQUIRE_SOUND();
}

static void test_fork(void **state)
{
    (void)state;
    require_in_child(fork_often, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_call), cmocka_unit_test(test_thread_ends),
        cmocka_unit_test(test_late),       cmocka_unit_test(test_late_without_memory),
        cmocka_unit_test(test_lock),       cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
