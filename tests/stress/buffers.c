/* Threads replace buffers of a few lengths and trade some of them, while the process forks and trims; each buffer has its
 * pattern still when it is freed, in parent and child. Afterwards the memory goes back. */
#include "stress.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_THREADS = 6, N_BUFFERS = 40, OPERATIONS = 6000, FORKS = 20, IDLE_MS = 2500 };

static const size_t lengths[] = {20000, 32768, 65536 + 64, 100000, 131072, 200000};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static _Atomic(void *) traded[N_BUFFERS];
static atomic_uint running = N_THREADS;

static void *new_buffer(uint32_t *state)
{
    return stress_new(lengths[stress_random(state) % N_LENGTHS]);
}

static void *work(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument * 7919;
    void *own[N_BUFFERS] = {NULL};
    for (unsigned i = 0; i < OPERATIONS * stress_scale(); i++) {
        unsigned k = stress_random(&state) % N_BUFFERS;
        stress_free(own[k]);
        own[k] = new_buffer(&state);
        if (stress_random(&state) % 4 == 0)
            own[k] = atomic_exchange(&traded[k], own[k]);
    }
    for (int k = 0; k < N_BUFFERS; k++)
        stress_free(own[k]);
    running--;
    return NULL;
}

/* A child takes and frees as its parent does; what other threads held is lost to it, and nothing else. */
static void fork_one(uint32_t *state)
{
    pid_t child = fork();
    if (child < 0)
        stress_fail("fork failed");
    if (child == 0) {
        for (int k = 0; k < N_BUFFERS; k++) {
            stress_free(atomic_exchange(&traded[k], NULL));
            stress_free(new_buffer(state));
        }
        malloc_trim(0);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        stress_fail("expected the child to end well, got wait status 0x%x", (unsigned)status);
}

int main(void)
{
    stress_watchdog(120);
    uint32_t state = 1;
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)) != 0)
            stress_fail("pthread_create failed");
    unsigned forks = 0;
    while (running > 0 || forks < FORKS) {
        fork_one(&state);
        malloc_trim(0);
        forks++;
        stress_progress(forks, FORKS);
        stress_sleep_ms(5);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int k = 0; k < N_BUFFERS; k++)
        stress_free(traded[k]);
    stress_sleep_ms(IDLE_MS);
    size_t left = stress_rollup_bytes("Anonymous:");
    printf("%u replaced, %u forks, %zu KiB left\n", N_THREADS * OPERATIONS * stress_scale(), forks,
           left >> 10);
    if (left > 4U << 20)
        stress_fail("expected at most 4 MiB after an idle while, got %zu KiB", left >> 10);
    return 0;
}
