/* The process exits while its threads allocate and its exit handlers free: 60 times, no crash, no
 * hang. */
#include "stress.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_THREADS = 12, N_PROCESSES = 60 };

static void *kept[100];

static void *work(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument;
    for (;;)
        stress_free(stress_new(stress_random_size(&state)));
    return NULL;
}

static void free_kept(void)
{
    for (int i = 0; i < 100; i++)
        stress_free(kept[i]);
    stress_sleep_ms(5);
}

__attribute__((destructor)) static void use_the_heap_last(void)
{
    free(malloc(100));
}

static void live(void)
{
    signal(SIGALRM, SIG_DFL);
    alarm(20);
    atexit(free_kept);
    for (size_t i = 0; i < 100; i++)
        kept[i] = stress_new(i * 300);
    for (uintptr_t i = 0; i < N_THREADS; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, (void *)(i + 1));
        pthread_detach(thread);
    }
    stress_sleep_ms(20);
    exit(0);
}

int main(void)
{
    stress_watchdog(60);
    for (unsigned i = 0; i < N_PROCESSES * stress_scale(); i++) {
        pid_t child = fork();
        if (child == 0)
            live();
        int status = 0;
        waitpid(child, &status, 0);
        if (status != 0)
            stress_fail("process %u: expected status 0, got 0x%x", i, status);
    }
    printf("%u processes ended while 12 threads allocated\n", N_PROCESSES * stress_scale());
    return 0;
}
