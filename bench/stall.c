/* stall HOLE_KIB BLOCK_KIB: does an allocator stop a thread that grows, to give back what lies free? As JSON.
 *
 * 256 MiB of blocks of HOLE_KIB, every second one freed; then 64 blocks of BLOCK_KIB, each malloc timed and its first
 * page touched afterwards. Calls during which the thread was preempted do not count. */
#include "switched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { HEAP_KIB = 256 * 1024, GROWTHS = 64, STALL_US = 200 };

static double microseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long waits_now(void)
{
    struct rusage used;
    getrusage(RUSAGE_THREAD, &used);
    return used.ru_nvcsw;
}

static char *take(size_t size)
{
    char *block = malloc(size);
    if (!block) {
        fprintf(stderr, "stall: malloc returned null\n");
        exit(1);
    }
    return block;
}

/* Every second block stays, until the process ends. */
static void make_holes(size_t hole)
{
    size_t n = ((size_t)HEAP_KIB << 10) / hole;
    char **blocks = (char **)take(n * sizeof *blocks);

    for (size_t i = 0; i < n; i++) {
        blocks[i] = take(hole);
        memset(blocks[i], 1, hole);
    }
    for (size_t i = 0; i < n; i += 2) {
        free(blocks[i]);
    }
}

int main(int argc, char **argv)
{
    size_t hole = argc == 3 ? strtoul(argv[1], NULL, 10) << 10 : 0;
    size_t asked = argc == 3 ? strtoul(argv[2], NULL, 10) << 10 : 0;
    double worst = 0, sum = 0;
    unsigned n_stalls = 0, n_counted = 0;
    bool known = switch_known();

    if (hole == 0 || asked == 0) {
        fprintf(stderr, "usage: stall HOLE_KIB BLOCK_KIB\n");
        return 2;
    }
    switch_prepare();
    make_holes(hole);
    for (unsigned i = 0; i < GROWTHS; i++) {
        long waits = waits_now();
        switch_watch(known);
        double start = microseconds_now();
        char *block = take(asked);
        double took = microseconds_now() - start;
        bool was_preempted = switch_happened(known) && waits_now() == waits;
        block[0] = 1;
        if (!was_preempted) {
            worst = took > worst ? took : worst;
            sum += took;
            n_stalls += took > STALL_US;
            n_counted++;
        }
    }
    printf("{\"worst\": %.1f, \"mean\": %.1f, \"stalls\": %u, \"counted\": %u}\n", worst,
           n_counted ? sum / n_counted : 0, n_stalls, n_counted);
    return 0;
}
