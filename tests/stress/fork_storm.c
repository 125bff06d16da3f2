/* 64 threads allocate, free each other's blocks and exit, others take their place, while the
   process forks 1000 times and every child allocates all sizes. No hang, no damaged block. */
#include "stress.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_THREADS = 64, N_SLOTS = 2048, N_FORKS = 1000, OPERATIONS = 1000, CHILD_SECONDS = 30 };

static _Atomic(void *) slots[N_SLOTS];
static sem_t seats;
static atomic_uint next_seed = 1;
static atomic_ulong n_threads_ended;
static atomic_bool over;
static double seconds_in_fork;

static void swap_blocks(uint32_t *state, int n)
{
    for (int i = 0; i < n; i++) {
        void *mine = stress_new(stress_random_size(state));
        stress_free(atomic_exchange(&slots[stress_random(state) % N_SLOTS], mine));
    }
}

/* Leaves its blocks in the slots, for others to free after it has gone. */
static void *work(void *unused)
{
    (void)unused;
    uint32_t state = atomic_fetch_add(&next_seed, 1) * 2654435761u | 1;
    for (int done = 0; done < OPERATIONS && !atomic_load(&over); done += 50) {
        swap_blocks(&state, 50);
        stress_sleep_ms(10 + stress_random(&state) % 50);
    }
    atomic_fetch_add(&n_threads_ended, 1);
    sem_post(&seats);
    return NULL;
}

static void *seat_threads(void *unused)
{
    (void)unused;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    while (!atomic_load(&over)) {
        pthread_t thread;
        sem_wait(&seats);
        if (!atomic_load(&over) && pthread_create(&thread, &attributes, work, NULL) != 0)
            stress_fail("pthread_create failed");
    }
    return NULL;
}

static void *child_thread(void *argument)
{
    stress_free(argument);
    return stress_new(300);
}

/* Every size class once, then a few large blocks. */
static void allocate_all_sizes(void)
{
    for (size_t size = 16; size < 400000; size += size < 20000 ? size / 9 + 1 : size) {
        void *block = stress_new(size);
        void *other = stress_new(size / 2);
        stress_free(block);
        stress_free(stress_resize(other, size));
    }
}

static void live_as_child(unsigned number)
{
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
    allocate_all_sizes();
    for (unsigned i = 0; i < 50; i++)
        stress_free(atomic_exchange(&slots[(number * 50 + i) % N_SLOTS], NULL));
    if (number % 40 == 0) {
        pthread_t thread;
        void *result = NULL;
        if (pthread_create(&thread, NULL, child_thread, stress_new(5000)) != 0)
            stress_fail("pthread_create in a child failed");
        pthread_join(thread, &result);
        stress_free(result);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            allocate_all_sizes();
            _exit(0);
        }
        int status = 0;
        waitpid(grandchild, &status, 0);
        if (status != 0)
            stress_fail("grandchild ended with status 0x%x", status);
    }
    _exit(0);
}

static void fork_one(unsigned number)
{
    double start = stress_seconds();
    pid_t child = fork();
    if (child < 0)
        stress_fail("fork failed");
    if (child == 0)
        live_as_child(number);
    seconds_in_fork += stress_seconds() - start;
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        stress_fail("waitpid failed");
    if (status != 0)
        stress_fail("child %u of %u: expected status 0, got 0x%x%s", number, N_FORKS, status,
                    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
}

int main(void)
{
    stress_watchdog(280);
    double start = stress_seconds();
    pthread_t seater;
    sem_init(&seats, 0, N_THREADS);
    if (pthread_create(&seater, NULL, seat_threads, NULL) != 0)
        stress_fail("pthread_create failed");
    unsigned n_forks = N_FORKS * stress_scale();
    uint32_t state = 99;
    for (unsigned i = 0; i < n_forks; i++) {
        stress_progress(i, n_forks);
        fork_one(i);
        swap_blocks(&state, 20);
    }
    atomic_store(&over, true);
    sem_post(&seats);
    pthread_join(seater, NULL);
    printf("%u forks (%.1f ms each), %lu threads ended, %.1f s, %zu MiB resident\n", n_forks,
           seconds_in_fork / n_forks * 1000, atomic_load(&n_threads_ended),
           stress_seconds() - start, stress_resident_bytes() >> 20);
    _exit(fflush(stdout));
}
