/* Large blocks of a few lengths go through the pockets of three threads, and from hand to hand, while a fourth makes passes: who
 * gets a run next comes after all that its last user did. Under TSan. */
#include "conf/conf.h"
#include "core/fast_path.h"
#include "core/purge.h"
#include "support/heap.h"

#include <pthread.h>
#include <stdio.h>

enum { THREADS = 3, ROUNDS = 6000, HANDS = 8, BLOCKS = 4 };

static char *hands[HANDS];
static uint32_t n_running = THREADS;
static uint32_t n_pocketed;

static char *make(size_t n)
{
    char *p = malloc_fast(n);
    REQUIRE(p != NULL);
    p[0] = p[n / 2] = p[n - 1] = (char)n;
    return p;
}

static void *live(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = round / 500 % 2 == 0 ? 20000 : 50000;
        char *blocks[BLOCKS];
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = make(n);
        for (int i = 0; i < BLOCKS; i++)
            free_fast(blocks[i]);
        seed = seed * 1664525 + 1013904223;
        char *other = atomic_exchange_full(&hands[seed >> 16 & (HANDS - 1)], make(n));
        if (other != NULL)
            free_fast(other);
        if (!pocket_is_empty(&my_cache->pocket))
            atomic_add_relaxed(&n_pocketed, 1U);
    }
    atomic_sub_relaxed(&n_running, 1U);
    return NULL;
}

static void *make_passes(void *unused)
{
    (void)unused;
    while (atomic_load_relaxed(&n_running) != 0) {
        for (struct cache *c = atomic_load_acquire(&all_caches.first); c != NULL; c = c->next)
            pocket_give_back(&c->pocket, false, os->now_ms());
        purge_note(MIB(1));
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS + 1];
    free_fast(malloc_fast(1)); /* reads the settings */
    conf.purge_thread = 0;     /* TSan could not follow the helper */
    conf.purge_delay = 1;
    for (uintptr_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, live, (void *)(i + 1)) == 0);
    REQUIRE(pthread_create(&threads[THREADS], NULL, make_passes, NULL) == 0);
    for (int i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < HANDS; i++)
        free_fast(hands[i]);
    printf("%u of %d rounds ended with runs in the pocket\n", n_pocketed, THREADS * ROUNDS);
    REQUIRE(n_pocketed > ROUNDS);
    REQUIRE_SOUND();
    return 0;
}
