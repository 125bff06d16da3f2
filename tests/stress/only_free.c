/* One thread allocates, others only free: what they free must be usable again, not pile up. */
#include "stress.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum { N_CONSUMERS = 3, N_RING = 2048, N_BLOCKS = 3000000 };

static _Atomic(void *) rings[N_CONSUMERS][N_RING];
static atomic_bool over;

static void *consume(void *argument)
{
    _Atomic(void *) *ring = argument;
    for (unsigned i = 0, idle = 0; idle < 2 * N_RING || !atomic_load(&over); i++) {
        void *block = atomic_exchange(&ring[i % N_RING], NULL);
        stress_free(block);
        idle = block == NULL ? idle + 1 : 0;
        if (block == NULL && i % 256 == 0)
            sched_yield();
    }
    return NULL;
}

int main(void)
{
    stress_watchdog(60);
    pthread_t threads[N_CONSUMERS];
    for (int i = 0; i < N_CONSUMERS; i++)
        if (pthread_create(&threads[i], NULL, consume, rings[i]) != 0)
            stress_fail("pthread_create failed");
    uint32_t state = 5;
    unsigned total = N_BLOCKS * stress_scale();
    size_t peak = 0;
    for (unsigned i = 0; i < total; i++) {
        void *block = stress_new(16 + stress_random(&state) % 800);
        _Atomic(void *) *slot = &rings[i % N_CONSUMERS][i / N_CONSUMERS % N_RING];
        void *expected = NULL;
        while (!atomic_compare_exchange_weak(slot, &expected, block)) {
            expected = NULL;
            sched_yield();
        }
        if (i % 10000 == 0) {
            size_t now = stress_resident_bytes();
            peak = now > peak ? now : peak;
        }
    }
    atomic_store(&over, true);
    for (int i = 0; i < N_CONSUMERS; i++)
        pthread_join(threads[i], NULL);
    printf("%u blocks through %d rings of %d, peak resident %zu KiB\n", total, N_CONSUMERS, N_RING,
           peak >> 10);
    if (peak > (size_t)24 << 20)
        stress_fail("at most 5 MiB are alive: expected a peak below 24 MiB, got %zu KiB",
                    peak >> 10);
    return 0;
}
