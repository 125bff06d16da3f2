/* Mixed churn for a given time with a bounded set of live blocks: small, aligned, resized and large blocks in several threads,
   blocks freed by other threads, threads that end, children of fork that use the heap. Every block carries a pattern.
   A line `SECONDS RESIDENT-KiB MAPPINGS` every second on stdout; tests/soak/run judges the drift.

   usage: soak SECONDS */
#include "../stress/stress.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_SLOTS = 20000, N_THREADS = 3, STEPS_A_LIFE = 400000 };

static atomic_uintptr_t slots[N_SLOTS]; /* whoever takes a block out owns it */
static atomic_bool is_over;
static atomic_uint n_lives;

static size_t choose_size(uint32_t *state)
{
    uint32_t die = stress_random(state) % 1000;
    if (die < 2)
        return 100000 + stress_random(state) % 2000000;
    if (die < 20)
        return 16385 + stress_random(state) % 100000;
    return stress_random_size(state) % 16384 + 16;
}

static void step(uint32_t *state)
{
    atomic_uintptr_t *slot = &slots[stress_random(state) % N_SLOTS];
    void *block = (void *)atomic_exchange(slot, 0);
    if (block != NULL && stress_random(state) % 8 == 0)
        block = stress_resize(block, choose_size(state));
    else {
        stress_free(block);
        block = stress_new(choose_size(state));
    }
    block = (void *)atomic_exchange(slot, (uintptr_t)block);
    stress_free(block);
    if (stress_random(state) % 16 == 0) {
        void *aligned = aligned_alloc((size_t)64 << stress_random(state) % 8, choose_size(state));
        free(aligned);
    }
}

static void *live_once(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed;
    for (int i = 0; i < STEPS_A_LIFE && !atomic_load(&is_over); i++)
        step(&state);
    return NULL;
}

/* One thread after another in this place. */
static void *keep_alive(void *place)
{
    for (uintptr_t life = 1; !atomic_load(&is_over); life++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, live_once, (void *)(life * 64 + (uintptr_t)place)) != 0)
            stress_fail("cannot start a thread");
        pthread_join(thread, NULL);
        atomic_fetch_add(&n_lives, 1);
    }
    return NULL;
}

static void fork_and_use(void)
{
    pid_t child = fork();
    if (child == 0) {
        uint32_t state = 5;
        for (int i = 0; i < 2000; i++)
            step(&state);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        stress_fail("child: expected status 0, got 0x%x", status);
}

static unsigned count_mappings(void)
{
    unsigned n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL)
        stress_fail("cannot read /proc/self/maps");
    for (int c; (c = getc(maps)) != EOF;)
        n += c == '\n';
    fclose(maps);
    return n;
}

int main(int argc, char **argv)
{
    double seconds = argc == 2 ? strtod(argv[1], NULL) : 0;
    if (seconds <= 0) {
        fprintf(stderr, "usage: soak SECONDS\n");
        return 2;
    }
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++)
        pthread_create(&threads[i], NULL, keep_alive, (void *)(i + 1));
    double begin = stress_seconds();
    while (stress_seconds() - begin < seconds) {
        stress_sleep_ms(1000);
        fork_and_use();
        printf("%.1f %zu %u\n", stress_seconds() - begin, stress_resident_bytes() >> 10,
               count_mappings());
        fflush(stdout);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_SLOTS; i++)
        stress_free((void *)atomic_exchange(&slots[i], 0));
    malloc_trim(0);
    printf("# after all was freed: %zu KiB resident, %u thread lives\n",
           stress_resident_bytes() >> 10, atomic_load(&n_lives));
    return 0;
}
