/* two WORKLOAD: the model's workloads for real, in two threads on CPUs 0 and 1 under the allocator that
 * is preloaded. Prints pairs of malloc and free per microsecond, of the best of many windows.
 *
 *   local     each thread replaces a random one of 500 blocks
 *   pipeline  one allocates, the other frees, 256 blocks between them
 *   handover  both replace a random one of 1000 blocks that they share
 *
 * 128-byte slots in four size classes, as in the model. The ring and the table cost transfers of their own, which
 * the model leaves out. It ends after 20 seconds: on a busy machine one side may spin for the other for long. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RING = 256, SLOTS = 500, WINDOW = 4000, WINDOWS = 300 };
enum work { LOCAL, PIPELINE, HANDOVER };

static enum work work;
static _Alignas(128) _Atomic(char *) ring[RING];
static _Alignas(128) _Atomic(char *) shared[2 * SLOTS];
static pthread_barrier_t both_ready;

static uint32_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545f4914f6cdd1dull) >> 32);
}

static char *take(uint32_t drawn)
{
    char *block = malloc(64 + 16 * (size_t)(drawn % 4));
    if (!block) {
        exit(1);
    }
    block[0] = 1;
    return block;
}

static void give(char *block)
{
    if (block) {
        *(volatile char *)block; /* the program looks at it a last time */
        free(block);
    }
}

static void produce(uint64_t *random, unsigned at)
{
    char *block = take(draw(random));
    while (atomic_load_explicit(&ring[at % RING], memory_order_acquire) != NULL) {
    }
    atomic_store_explicit(&ring[at % RING], block, memory_order_release);
}

static void consume(unsigned at)
{
    char *block;
    while (!(block = atomic_load_explicit(&ring[at % RING], memory_order_acquire))) {
    }
    atomic_store_explicit(&ring[at % RING], NULL, memory_order_release);
    give(block);
}

static double nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void one_window(unsigned cpu, uint64_t *random, char **own, unsigned from)
{
    for (unsigned i = from; i < from + WINDOW; i++) {
        uint32_t drawn = draw(random);
        if (work == LOCAL) {
            char **slot = &own[drawn % SLOTS];
            give(*slot);
            *slot = take(drawn >> 16);
        } else if (work == HANDOVER) {
            give(atomic_exchange(&shared[drawn % (2 * SLOTS)], take(drawn >> 16)));
        } else if (cpu == 0) {
            produce(random, i);
        } else {
            consume(i);
        }
    }
}

static void *run(void *arg)
{
    unsigned cpu = *(const unsigned *)arg;
    uint64_t random = 88 + cpu;
    char *own[SLOTS] = {0};
    double best = 1e18;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        perror("two: two CPUs are needed");
        exit(1);
    }
    for (unsigned window = 0; window < WINDOWS; window++) {
        pthread_barrier_wait(&both_ready);
        double start = nanoseconds_now();
        one_window(cpu, &random, own, window * WINDOW);
        pthread_barrier_wait(&both_ready);
        double took = nanoseconds_now() - start;
        best = took < best ? took : best;
    }
    if (cpu == 0) {
        printf("%.2f\n", (work == PIPELINE ? 1 : 2) * WINDOW / best * 1000);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"local", "pipeline", "handover"};
    pthread_t other;
    unsigned cpus[2] = {0, 1};
    int chosen = -1;

    for (int i = 0; argc == 2 && i < 3; i++) {
        chosen = strcmp(argv[1], names[i]) == 0 ? i : chosen;
    }
    if (chosen < 0) {
        fprintf(stderr, "usage: two local|pipeline|handover\n");
        return 2;
    }
    work = (enum work)chosen;
    alarm(20);
    pthread_barrier_init(&both_ready, NULL, 2);
    if (pthread_create(&other, NULL, run, &cpus[1]) != 0) {
        fprintf(stderr, "two: cannot start a thread\n");
        return 1;
    }
    run(&cpus[0]);
    pthread_join(other, NULL);
    return 0;
}
