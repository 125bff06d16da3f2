/* Threads resize blocks that others allocated, from 16 bytes to 2 MiB and back. */
#include "stress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_THREADS = 8, N_SLOTS = 200, OPERATIONS = 12000 };

static _Atomic(void *) slots[N_SLOTS];

static size_t new_size(uint32_t *state)
{
    size_t size = stress_random_size(state);
    return stress_random(state) % 64 == 0 ? size * 4 : size;
}

static void *work(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument * 31337;
    for (unsigned i = 0; i < OPERATIONS * stress_scale(); i++) {
        _Atomic(void *) *slot = &slots[stress_random(&state) % N_SLOTS];
        void *block = atomic_exchange(slot, NULL);
        block =
            block == NULL ? stress_new(new_size(&state)) : stress_resize(block, new_size(&state));
        stress_free(atomic_exchange(slot, block));
    }
    return NULL;
}

int main(void)
{
    stress_watchdog(60);
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)) != 0)
            stress_fail("pthread_create failed");
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_SLOTS; i++)
        stress_free(slots[i]);
    printf("%u reallocs, %zu MiB resident\n", N_THREADS * OPERATIONS * stress_scale(),
           stress_resident_bytes() >> 20);
    return 0;
}
