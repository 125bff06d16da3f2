/* Heaps that any number of threads may use at once: blocks are freed by other threads than took
 * them, and each holds its owner's mark. */
#include "kit.h"

#include "base/atomics.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { N_THREADS = 4, N_SHELVES = 256, N_ROUNDS = 20000 };

struct arena_of_threads {
    const struct variant *v;
    struct ration_heap *heap;
    void *shelves[N_SHELVES]; /* blocks on their way to another thread */
    uint32_t n_wrong;
};

struct worker {
    struct arena_of_threads *shared;
    uint64_t seed;
    pthread_t thread;
};

/* A block holds its size and, in every byte behind, the low byte of its address. */
static void mark_block(unsigned char *block, size_t size)
{
    memset(block, (int)((uintptr_t)block >> 4), size);
    memcpy(block, &size, sizeof size);
}

static bool is_marked(const unsigned char *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    for (size_t i = sizeof size; i < size; i++)
        if (block[i] != (unsigned char)((uintptr_t)block >> 4))
            return false;
    return true;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct arena_of_threads *shared = worker->shared;
    struct chance chance = {worker->seed};
    bool is_fixed = (shared->v->traits & FIXED_SIZE) != 0;
    for (int i = 0; i < N_ROUNDS; i++) {
        size_t size = is_fixed ? shared->v->most_bytes : 8 + chance_below(&chance, 300);
        unsigned char *block = ration_heap_alloc(shared->heap, size);
        if (block != NULL)
            mark_block(block, size);
        void **shelf = &shared->shelves[chance_below(&chance, N_SHELVES)];
        unsigned char *found = atomic_exchange_full(shelf, (void *)block);
        if (found == NULL)
            continue;
        if (!is_marked(found))
            atomic_add_relaxed(&shared->n_wrong, 1U);
        ration_heap_free(shared->heap, found);
    }
    return NULL;
}

static void threads_free_each_others_blocks(void **state)
{
    struct subject subject;
    struct arena_of_threads shared = {.v = *state};
    shared.heap = subject_start(&subject, shared.v);
    struct worker workers[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (struct worker){&shared, chance_seed() + (uint64_t)i + 1, 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    CHECK(shared.v, shared.n_wrong == 0 && n_misuses == 0);
    require_sound(shared.heap, "when the threads have ended");
    size_t n_left = 0;
    for (int i = 0; i < N_SHELVES; i++) {
        n_left += shared.shelves[i] != NULL;
        ration_heap_free(shared.heap, shared.shelves[i]);
    }
    struct ration_heap_stats s;
    ration_heap_stats(shared.heap, &s);
    CHECK(shared.v, s.live_blocks == 0 && s.n_allocs == s.n_frees && n_left > 0);
    require_sound(shared.heap, "empty");
    subject_end(&subject);
}

/* Of several threads that free one block at the same moment, exactly one does; the others are told.
 */
enum { N_RACES = 5000, MOST_DELAY = 100 };

struct race {
    struct ration_heap *heap;
    void *block;
    uint32_t round;   /* the racer may free when this has advanced */
    uint32_t n_ended; /* rounds that the racer has ended */
};

static void await_round(const uint32_t *counter, uint32_t round)
{
    for (int i = 0; atomic_load_acquire(counter) != round; i++)
        if (i > 1000)
            sched_yield();
}

static void *free_in_each_round(void *arg)
{
    struct race *race = arg;
    for (uint32_t round = 1; round <= N_RACES; round++) {
        await_round(&race->round, round);
        ration_heap_free(race->heap, race->block);
        atomic_store_release(&race->n_ended, round);
    }
    return NULL;
}

static void a_race_of_frees_has_one_winner(void **state)
{
    struct subject subject;
    const struct variant *v = *state;
    struct race race = {.heap = subject_start(&subject, v)};
    pthread_t racer;
    assert_int_equal(pthread_create(&racer, NULL, free_in_each_round, &race), 0);
    for (uint32_t round = 1; round <= N_RACES; round++) {
        race.block = ration_heap_alloc(race.heap, 8);
        atomic_store_release(&race.round, round);
        for (uint32_t i = 0; i < round % MOST_DELAY; i++) /* until both are there at once */
            OPAQUE(i);
        ration_heap_free(race.heap, race.block);
        await_round(&race.n_ended, round);
        require_misuse(v, RATION_DOUBLE_FREE, "the second of two threads");
    }
    pthread_join(racer, NULL);
    require_sound(race.heap, "after races");
    subject_end(&subject);
}

/* The stack's head is never the same again, even if the same object is on top again with another one below it: a thread
 * that slept between reading and exchanging it must fail (ABA). */
static void the_head_of_a_shared_pool_never_comes_back(void **state)
{
    const struct variant *v = *state;
    if (strncmp(v->name, "pool", 4) != 0)
        return;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    void *a = ration_heap_alloc(heap, 8);
    void *b = ration_heap_alloc(heap, 8);
    ration_heap_free(heap, b);
    ration_heap_free(heap, a);
    uint64_t before = subject.pool.head;
    assert_ptr_equal(ration_heap_alloc(heap, 8), a);
    assert_ptr_equal(ration_heap_alloc(heap, 8), b);
    ration_heap_free(heap, a);
    assert_int_equal((uint32_t)subject.pool.head, (uint32_t)before);
    assert_int_not_equal(subject.pool.head, before);
    for (int i = 0; i < 100; i++) { /* neither does an allocation alone bring it back */
        uint64_t head = subject.pool.head;
        ration_heap_alloc(heap, 8);
        assert_true(subject.pool.head == head || subject.pool.head >> 32 != head >> 32);
    }
    subject_end(&subject);
}

/* Few objects that come and go in both orders: where a stack without a count would hand one out
 * twice. */
enum { N_SWAPS = 150000 };

static void *swap_objects(void *arg)
{
    struct arena_of_threads *shared = arg;
    for (int i = 0; i < N_SWAPS; i++) {
        uint32_t *a = ration_heap_alloc(shared->heap, 8);
        uint32_t *b = ration_heap_alloc(shared->heap, 8);
        uint32_t *both[2] = {a, b};
        for (int k = 0; k < 2; k++)
            if (both[k] != NULL && atomic_exchange_full(both[k], 1U) != 0)
                atomic_add_relaxed(&shared->n_wrong, 1U);
        for (int k = 0; k < 2; k++)
            if (both[k] != NULL)
                atomic_store_release(both[k], 0U);
        ration_heap_free(shared->heap, a);
        ration_heap_free(shared->heap, b);
    }
    return NULL;
}

static void no_object_is_handed_out_twice(void **state)
{
    struct subject subject;
    struct arena_of_threads shared = {.v = *state};
    shared.heap = subject_start(&subject, shared.v);
    void *objects[300];
    size_t n = 0;
    while (n < 300 && (objects[n] = ration_heap_alloc_zeroed(shared.heap, 1, 8)) != NULL)
        n++;
    for (size_t i = 0; i < 5; i++)
        ration_heap_free(shared.heap, objects[--n]);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, swap_objects, &shared), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(shared.v, shared.n_wrong == 0 && n_misuses == 0);
    require_sound(shared.heap, "after swaps");
    subject_end(&subject);
}

static void swaps(void **state)
{
    if (strcmp(((const struct variant *)*state)->name, "pool/shared") == 0)
        no_object_is_handed_out_twice(state);
}

int main(void)
{
    static const struct variant_test tests[] = {
        {"threads free each other's blocks", threads_free_each_others_blocks, SHARED, 0},
        {"the head of a shared pool never comes back", the_head_of_a_shared_pool_never_comes_back,
         SHARED, THROUGH | GROWS},
        {"no object is handed out twice", swaps, SHARED, THROUGH | GROWS},
        {"a race of frees has one winner", a_race_of_frees_has_one_winner, SHARED, THROUGH},
    };
    return run_for_variants("heaps threads", tests, sizeof tests / sizeof *tests);
}
