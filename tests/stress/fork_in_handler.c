/* A signal handler that interrupts malloc forks: neither child nor parent may hang, and the heap of
   both stays whole. The signals come from another process, as fast as they are handled. */
#include "stress.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_FORKS = 1000, N_BLOCKS = 256 };

static void *blocks[N_BLOCKS];
static atomic_uint *n_done;

static void on_signal(int signal)
{
    int saved = errno;
    (void)signal;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        stress_fail("child of a handler: expected status 0, got 0x%x", status);
    atomic_fetch_add(n_done, 1);
    errno = saved;
}

/* Runs in a process of its own: one signal at a time. */
static void send_signals(pid_t target, unsigned n_signals)
{
    for (unsigned i = 0; i < n_signals; i++) {
        unsigned before = atomic_load(n_done);
        if (kill(target, SIGUSR1) != 0)
            _exit(0);
        while (atomic_load(n_done) == before && getppid() == target)
            stress_sleep_ms(1);
    }
    _exit(0);
}

int main(void)
{
    stress_watchdog(60);
    unsigned n_forks = N_FORKS * stress_scale();
    n_done = mmap(NULL, sizeof *n_done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t self = getpid();
    pid_t sender = fork();
    if (sender == 0)
        send_signals(self, n_forks);
    uint32_t state = 17;
    while (atomic_load(n_done) < n_forks) {
        unsigned k = stress_random(&state) % N_BLOCKS;
        stress_free(blocks[k]);
        blocks[k] = stress_new(16 + stress_random(&state) % 3000);
    }
    waitpid(sender, NULL, 0);
    for (int k = 0; k < N_BLOCKS; k++)
        stress_free(blocks[k]);
    printf("%u forks inside handlers\n", n_forks);
    return 0;
}
