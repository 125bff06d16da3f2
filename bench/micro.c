/* micro [WINDOWS]: nanoseconds per malloc+free pair in three patterns, as one line of JSON.
 *
 * Each pattern runs in many short windows on the clock of this thread's own CPU time; the minimum
 * is what the path costs undisturbed, the median what a run sees. "loop" is the same window with an
 * allocator that does next to nothing (a bump in a ring): what the loop itself costs. */
#include "figures.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_PAIRS = 20000,
    WINDOWS_DEFAULT = 200,
    WINDOWS_MOST = 10000,
    WARM_UP_WINDOWS = 10,
    BATCH = 100,
    SLOTS = 10000
};

struct allocator {
    void *(*take)(size_t size);
    void (*give)(void *memory);
};

struct pattern {
    const char *name;
    void (*before)(const struct allocator *allocator);
    void (*window)(const struct allocator *allocator); /* WINDOW_PAIRS pairs */
    void (*after)(const struct allocator *allocator);
};

static uint64_t random_state = 1;
static uint64_t touched; /* keeps every read alive */

/* xorshift64* (Vigna, 2016): the cheapest that is good enough here. */
static uint32_t draw(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 32);
}

static size_t draw_size(uint32_t lowest, uint32_t highest)
{
    return lowest + (size_t)(((uint64_t)draw() * (highest - lowest + 1)) >> 32);
}

static uint64_t *take(const struct allocator *allocator, size_t size)
{
    uint64_t *block = allocator->take(size);

    if (!block) {
        fprintf(stderr, "micro: malloc returned null\n");
        exit(1);
    }
    *block = size;
    return block;
}

static void give(const struct allocator *allocator, uint64_t *block)
{
    touched += *block;
    allocator->give(block);
}

static void pair_window(const struct allocator *allocator)
{
    for (unsigned i = 0; i < WINDOW_PAIRS; i++) {
        give(allocator, take(allocator, 64));
    }
}

static void batch_window(const struct allocator *allocator)
{
    uint64_t *blocks[BATCH];

    for (unsigned round = 0; round < WINDOW_PAIRS / BATCH; round++) {
        for (unsigned i = 0; i < BATCH; i++) {
            blocks[i] = take(allocator, draw_size(16, 256));
        }
        for (unsigned i = 0; i < BATCH; i++) {
            give(allocator, blocks[i]);
        }
    }
}

static uint64_t *slots[SLOTS];

static void replace_fill(const struct allocator *allocator)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        slots[i] = take(allocator, draw_size(16, 128));
    }
}

static void replace_window(const struct allocator *allocator)
{
    for (unsigned i = 0; i < WINDOW_PAIRS; i++) {
        uint64_t **slot = &slots[((uint64_t)draw() * SLOTS) >> 32];
        give(allocator, *slot);
        *slot = take(allocator, draw_size(16, 128));
    }
}

static void replace_drain(const struct allocator *allocator)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        give(allocator, slots[i]);
    }
}

static void nothing(const struct allocator *allocator)
{
    (void)allocator;
}

static const struct pattern patterns[] = {
    {"pair", nothing, pair_window, nothing},
    {"batch", nothing, batch_window, nothing},
    {"replace", replace_fill, replace_window, replace_drain},
};

static void *ring_take(size_t size)
{
    static _Alignas(16) char ring[1 << 16];
    static size_t at;

    at = (at + size + 15) & (sizeof ring / 2 - 16);
    return ring + at;
}

static void ring_give(void *memory)
{
    (void)memory;
}

/* Fills sorted ns-per-pair figures of n windows, after a few that only warm up. */
static void time_windows(const struct pattern *pattern, const struct allocator *allocator,
                         double *sorted, unsigned n_windows)
{
    pattern->before(allocator);
    for (unsigned i = 0; i < WARM_UP_WINDOWS; i++) {
        pattern->window(allocator);
    }
    for (unsigned i = 0; i < n_windows; i++) {
        double start = thread_nanoseconds();
        pattern->window(allocator);
        sorted[i] = (thread_nanoseconds() - start) / WINDOW_PAIRS;
    }
    pattern->after(allocator);
    qsort(sorted, n_windows, sizeof *sorted, compare_doubles);
}

static void report(const struct pattern *pattern, unsigned n_windows)
{
    static double sorted[WINDOWS_MOST];
    static const struct allocator preloaded = {malloc, free}, ring = {ring_take, ring_give};

    time_windows(pattern, &preloaded, sorted, n_windows);
    printf("\"%s\": {\"min\": %.2f, \"median\": %.2f, ", pattern->name, sorted[0],
           sorted[n_windows / 2]);
    time_windows(pattern, &ring, sorted, n_windows);
    printf("\"loop\": %.2f}, ", sorted[0]);
}

int main(int argc, char **argv)
{
    int n_windows = argc == 2 ? atoi(argv[1]) : WINDOWS_DEFAULT;

    if (argc > 2 || n_windows < 1 || n_windows > WINDOWS_MOST) {
        fprintf(stderr, "usage: micro [WINDOWS, 1 to %d]\n", WINDOWS_MOST);
        return 2;
    }
    printf("{");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        report(&patterns[i], (unsigned)n_windows);
    }
    printf("\"touched\": %llu}\n", (unsigned long long)touched);
    return 0;
}
