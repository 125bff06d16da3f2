/* SIGPROF rains on threads that allocate; the handler only reads errno. Nothing hangs, no block is
   damaged, and free keeps errno as the thread left it. */
#include "stress.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

enum { N_THREADS = 8, SECONDS = 6, N_SLOTS = 512 };

static _Atomic(void *) slots[N_SLOTS];
static atomic_ulong n_signals;
static atomic_int last_errno;
static atomic_bool over;

static void on_signal(int signal)
{
    (void)signal;
    atomic_store(&last_errno, errno);
    atomic_fetch_add(&n_signals, 1);
}

static void *work(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument * 77777 + 1;
    while (!atomic_load(&over)) {
        void *mine = stress_new(stress_random_size(&state));
        void *other = atomic_exchange(&slots[stress_random(&state) % N_SLOTS], mine);
        if (other != NULL)
            stress_verify(other);
        errno = 4321;
        free(other);
        if (errno != 4321)
            stress_fail("free: expected errno 4321 kept, got %d", errno);
    }
    return NULL;
}

int main(void)
{
    stress_watchdog(60);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &timer, NULL);
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)) != 0)
            stress_fail("pthread_create failed");
    double end = stress_seconds() + SECONDS * stress_scale();
    for (unsigned i = 0; stress_seconds() < end; i++) {
        pthread_kill(threads[i % N_THREADS], SIGUSR2);
        if (i % 16 == 0)
            stress_sleep_ms(1);
    }
    atomic_store(&over, true);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%lu signals handled, last errno %d\n", atomic_load(&n_signals),
           atomic_load(&last_errno));
    return 0;
}
