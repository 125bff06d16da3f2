/* Heaps that any number of threads may use at once: blocks are freed by other threads than took
 * them, and each holds its owner's mark. */
#include "kit.h"

#include "base/atomics.h"
#include <pthread.h>
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

/* Of several threads that free one block, exactly one does; the others are told. */
static void *free_it(void *arg)
{
    struct arena_of_threads *shared = arg;
    ration_heap_free(shared->heap, shared->shelves[0]);
    return NULL;
}

static void a_race_of_frees_has_one_winner(void **state)
{
    struct subject subject;
    struct arena_of_threads shared = {.v = *state};
    shared.heap = subject_start(&subject, shared.v);
    for (int round = 0; round < 200; round++) {
        shared.shelves[0] = ration_heap_alloc(shared.heap, 8);
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, free_it, &shared), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        require_misuse(shared.v, RATION_DOUBLE_FREE, "the second of two threads");
    }
    require_sound(shared.heap, "after races");
    subject_end(&subject);
}

int main(void)
{
    static const struct variant_test tests[] = {
        {"threads free each other's blocks", threads_free_each_others_blocks, SHARED, 0},
        {"a race of frees has one winner", a_race_of_frees_has_one_winner, SHARED, THROUGH},
    };
    return run_for_variants("heaps threads", tests, sizeof tests / sizeof *tests);
}
