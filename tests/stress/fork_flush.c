/* Some threads fork, some read lines into fresh memory, one flushes all streams. The C library takes the lock of its list of
   streams at fork, after the handlers of pthread_atfork: an allocator that holds its own locks by then closes a circle of
   fork -> list, flush -> stream, read -> allocator. */
#include "stress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_FORKERS = 2, N_READERS = 8, LINE_BYTES = 50000 };

static atomic_bool is_over;
static atomic_uint n_forks;
static FILE *files[N_READERS];

static void *flush(void *unused)
{
    while (!atomic_load(&is_over)) {
        fflush(NULL);
        usleep(50); /* that lock is not fair */
    }
    return unused;
}

static void *read_lines(void *file)
{
    while (!atomic_load(&is_over)) {
        char *line = NULL;
        size_t size = 0;
        rewind(file);
        if (getline(&line, &size, file) != LINE_BYTES + 1)
            stress_fail("getline: expected %d bytes", LINE_BYTES + 1);
        free(line);
    }
    return NULL;
}

static void *fork_often(void *unused)
{
    while (!atomic_load(&is_over)) {
        pid_t child = fork();
        if (child == 0) {
            free(malloc(100000));
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            stress_fail("child: expected status 0, got 0x%x", status);
        atomic_fetch_add(&n_forks, 1);
    }
    return unused;
}

static FILE *file_with_long_line(void)
{
    FILE *f = tmpfile();
    if (f == NULL)
        stress_fail("cannot make a temporary file");
    for (int i = 0; i < LINE_BYTES; i++)
        fputc('x', f);
    fputc('\n', f);
    return f;
}

static pthread_t begin(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0)
        stress_fail("cannot start a thread");
    return thread;
}

int main(void)
{
    stress_watchdog(60);
    pthread_t others[N_READERS + 1];
    pthread_t forkers[N_FORKERS];
    for (int i = 0; i < N_READERS; i++) {
        files[i] = file_with_long_line();
        others[i] = begin(read_lines, files[i]);
    }
    others[N_READERS] = begin(flush, NULL);
    for (int i = 0; i < N_FORKERS; i++)
        forkers[i] = begin(fork_often, NULL);
    stress_sleep_ms(2000 * stress_scale());
    atomic_store(&is_over, true);
    for (int i = 0; i < N_FORKERS; i++)
        pthread_join(forkers[i], NULL);
    for (int i = 0; i <= N_READERS; i++)
        pthread_join(others[i], NULL);
    printf("%u forks beside flushes\n", atomic_load(&n_forks));
    return 0;
}
