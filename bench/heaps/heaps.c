/* How fast heaps for programs are, and how even: every kind and plain malloc on the same
 * operations.
 *
 * usage: bench-heaps [ROUNDS]      a Markdown table on stdout
 *
 * The row `nothing` is a heap that hands out the same places in turn: what the measuring itself costs.
 *
 * One deterministic sequence of allocations and frees is run 2 * ROUNDS times on each heap, each
 * time from its start. Mean: stretches of 500 operations are timed; of each the fastest round
 * counts. Worst: each operation is timed by itself, of each the fastest round counts (so interrupts
 * do not), less the cost of reading the clock; then the largest of them. Overhead: what a heap of
 * 10,000 blocks uses beyond what was asked for, per block.
 *
 * Batches: 1000 small blocks that end together, freed one by one, or by a reset of the arena. */
#define _GNU_SOURCE
#include <malloc.h>
#include <ration.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    N_OPERATIONS = 100000,
    N_SLOTS = 4000,
    STRETCH = 500, /* operations that are timed together for the mean */
    HEAP_BYTES = 8 << 20,
    ARENA_BYTES = 48 << 20, /* all that the sequence asks for: an arena takes nothing back */
    FIXED_BYTES = 64,
    N_PROBES = 10000, /* blocks for the overhead */
};

static char *memory;
static size_t arena_bytes = ARENA_BYTES;

/* --- what is measured: one row a heap --- */

struct contender {
    const char *name;
    const char *against;                /* what it is: printed */
    struct ration_heap *(*start)(void); /* NULL: plain malloc */
    bool fixed_only;
};

static union {
    struct ration_fit fit;
    struct ration_buddy buddy;
    struct ration_tlsf tlsf;
    struct ration_pool pool;
    struct ration_arena arena;
    struct ration_private own;
} heap_memory;

static struct ration_heap *start_policy(enum ration_fit_policy policy, enum ration_fit_order order)
{
    struct ration_fit_options o = {.policy = policy, .order = order};
    return ration_fit_init(&heap_memory.fit, memory, HEAP_BYTES, &o);
}

static struct ration_heap *start_segregated(void)
{
    return start_policy(RATION_FIT_SEGREGATED, RATION_FIT_LIFO);
}

static struct ration_heap *start_deferred(void)
{
    struct ration_fit_options o = {.coalescing = RATION_FIT_DEFERRED};
    return ration_fit_init(&heap_memory.fit, memory, HEAP_BYTES, &o);
}

static struct ration_heap *start_first(void)
{
    return start_policy(RATION_FIT_FIRST, RATION_FIT_ADDRESS);
}

static struct ration_heap *start_best(void)
{
    return start_policy(RATION_FIT_BEST, RATION_FIT_LIFO);
}

static struct ration_heap *start_tlsf(void)
{
    return ration_tlsf_init(&heap_memory.tlsf, memory, HEAP_BYTES, NULL);
}

static struct ration_heap *start_buddy(void)
{
    return ration_buddy_init(&heap_memory.buddy, memory, HEAP_BYTES, NULL);
}

static struct ration_heap *start_pool_of(unsigned flags)
{
    struct ration_pool_options o = {.object_bytes = FIXED_BYTES,
                                    .n_objects = N_PROBES,
                                    .flags = flags,
                                    .buffer = memory,
                                    .buffer_bytes = RATION_POOL_BYTES(FIXED_BYTES, 16, N_PROBES)};
    return ration_pool_init(&heap_memory.pool, &o);
}

static struct ration_heap *start_pool(void)
{
    return start_pool_of(RATION_POOL_FIXED);
}

static struct ration_heap *start_shared_pool(void)
{
    return start_pool_of(RATION_POOL_SHARED);
}

static struct ration_heap *start_private(void)
{
    return ration_private_init(&heap_memory.own, NULL);
}

/* An arena takes nothing back one by one: it has memory for the whole sequence and is reset behind
 * it. */
static struct ration_heap *start_arena(void)
{
    struct ration_arena_options o = {.buffer = memory, .buffer_bytes = arena_bytes};
    return ration_arena_init(&heap_memory.arena, &o);
}

/* --- a heap that does nothing --- */

static struct ration_heap nothing;

static void *nothing_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    static size_t at;
    (void)heap;
    (void)size;
    (void)alignment;
    at = (at + FIXED_BYTES) % (N_SLOTS * FIXED_BYTES);
    return memory + at;
}

static void nothing_free(struct ration_heap *heap, void *block)
{
    (void)heap;
    (void)block;
}

static void nothing_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    (void)heap;
    (void)stats;
}

static void nothing_destroy(struct ration_heap *heap)
{
    (void)heap;
}

static struct ration_heap *start_nothing(void)
{
    static const struct ration_heap_ops ops = {.kind = "nothing",
                                               .alloc = nothing_alloc,
                                               .free = nothing_free,
                                               .stats = nothing_stats,
                                               .destroy = nothing_destroy};
    ration_heap_init(&nothing, &ops, NULL, 16);
    return &nothing;
}

static const struct contender contenders[] = {
    {"malloc", "the process's", NULL, false},
    {"nothing", "", start_nothing, false},
    {"pool", "single thread", start_pool, true},
    {"pool", "shared", start_shared_pool, true},
    {"arena", "", start_arena, false},
    {"tlsf", "", start_tlsf, false},
    {"buddy", "", start_buddy, false},
    {"fit", "segregated", start_segregated, false},
    {"fit", "segregated, deferred", start_deferred, false},
    {"fit", "best, LIFO", start_best, false},
    {"fit", "first, by address", start_first, false},
    {"private", "", start_private, false},
};

/* --- the sequence --- */

struct operation {
    uint32_t slot;
    uint32_t size; /* 0: free */
};

static struct operation operations[N_OPERATIONS];
static uint32_t fastest[N_OPERATIONS];                   /* ns */
static uint64_t fastest_stretch[N_OPERATIONS / STRETCH]; /* ns */
static void *slots[N_SLOTS];

/* xorshift64*, Vigna 2014. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dU;
}

/* Mixed sizes: most small, some up to 1 KiB, one in sixty-four up to 8 KiB. */
static uint32_t choose_size(uint64_t random, bool is_fixed)
{
    if (is_fixed)
        return FIXED_BYTES;
    uint32_t most = (random >> 8) % 64 == 0 ? 8192 : (random >> 16) % 4 == 0 ? 1024 : 128;
    return 1 + (uint32_t)(random >> 32) % most;
}

static void make_operations(bool is_fixed)
{
    static bool is_live[N_SLOTS];
    memset(is_live, 0, sizeof is_live);
    uint64_t state = 20261121;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        uint32_t slot = (uint32_t)(next_random(&state) >> 33) % N_SLOTS;
        uint32_t size = choose_size(next_random(&state), is_fixed);
        operations[i] = (struct operation){slot, is_live[slot] ? 0 : size};
        is_live[slot] = !is_live[slot];
    }
}

static inline void perform(struct ration_heap *heap, const struct operation *o)
{
    void **slot = &slots[o->slot];
    if (o->size == 0) {
        if (heap != NULL)
            ration_heap_free(heap, *slot);
        else
            free(*slot);
        *slot = NULL;
        return;
    }
    *slot = heap != NULL ? ration_heap_alloc(heap, o->size) : malloc(o->size);
    if (*slot == NULL) {
        fprintf(stderr, "bench-heaps: %s is full; expected room for the whole sequence\n",
                heap != NULL ? ration_heap_kind(heap) : "malloc");
        exit(1);
    }
    *(volatile char *)*slot = 1; /* as a program would */
}

static void clean_up(struct ration_heap *heap)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        if (heap == NULL)
            free(slots[i]);
        slots[i] = NULL;
    }
    if (heap != NULL)
        ration_heap_destroy(heap);
}

/* --- clocks --- */

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t cost_of_clock(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 100000; i++) {
        uint64_t start = now();
        uint64_t took = now() - start;
        least = took < least ? took : least;
    }
    return least;
}

/* --- measuring --- */

struct result {
    double mean, p999, worst; /* ns */
    double overhead;          /* bytes a block */
};

/* Keeps the fastest time of each stretch: on a busy machine a whole round is never left alone. */
static void time_stretches(const struct contender *c)
{
    struct ration_heap *heap = c->start != NULL ? c->start() : NULL;
    for (size_t from = 0; from < N_OPERATIONS; from += STRETCH) {
        uint64_t start = now();
        for (size_t i = from; i < from + STRETCH; i++)
            perform(heap, &operations[i]);
        uint64_t took = now() - start;
        if (took < fastest_stretch[from / STRETCH])
            fastest_stretch[from / STRETCH] = took;
    }
    clean_up(heap);
}

static void time_each(const struct contender *c)
{
    struct ration_heap *heap = c->start != NULL ? c->start() : NULL;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        uint64_t start = now();
        perform(heap, &operations[i]);
        uint64_t took = now() - start;
        if (took < fastest[i])
            fastest[i] = (uint32_t)took;
    }
    clean_up(heap);
}

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static size_t used_bytes(const struct ration_heap *heap)
{
    if (heap == NULL) {
        struct mallinfo2 info = mallinfo2();
        return info.uordblks + info.hblkhd;
    }
    struct ration_heap_stats s;
    ration_heap_stats(heap, &s);
    return s.heap_bytes - s.free_bytes;
}

/* 10,000 blocks of the sequence's sizes. A table that is there from the start counts with the
 * blocks that it is for. */
static double measure_overhead(const struct contender *c, bool is_fixed)
{
    static void *probes[N_PROBES];
    arena_bytes = 4 << 20; /* its bitmaps are as large as its buffer wants them */
    struct ration_heap *heap = c->start != NULL ? c->start() : NULL;
    arena_bytes = ARENA_BYTES;
    size_t before = heap == NULL ? used_bytes(NULL) : 0;
    size_t asked = 0;
    uint64_t state = 7;
    size_t n = 0;
    while (n < N_PROBES) {
        uint32_t size = choose_size(next_random(&state) & ~(uint64_t)0xff3f00, is_fixed) % 200 + 1;
        size = is_fixed ? FIXED_BYTES : size;
        probes[n] = heap != NULL ? ration_heap_alloc(heap, size) : malloc(size);
        if (probes[n] == NULL)
            break;
        asked += size;
        n++;
    }
    if (heap == &nothing)
        return 0;
    double overhead = ((double)(used_bytes(heap) - before) - (double)asked) / (double)n;
    for (size_t i = 0; heap == NULL && i < n; i++)
        free(probes[i]);
    if (heap != NULL)
        ration_heap_destroy(heap);
    return overhead;
}

static struct result measure(const struct contender *c, int n_rounds, bool is_fixed)
{
    struct result r = {0};
    memset(fastest, 0xff, sizeof fastest);
    memset(fastest_stretch, 0xff, sizeof fastest_stretch);
    for (int round = 0; round < n_rounds; round++) {
        time_stretches(c);
        time_each(c);
    }
    for (size_t i = 0; i < N_OPERATIONS / STRETCH; i++)
        r.mean += (double)fastest_stretch[i] / N_OPERATIONS;
    uint64_t clock_cost = cost_of_clock();
    qsort(fastest, N_OPERATIONS, sizeof *fastest, compare_times);
    r.p999 = (double)fastest[N_OPERATIONS - N_OPERATIONS / 1000] - (double)clock_cost;
    r.worst = (double)fastest[N_OPERATIONS - 1] - (double)clock_cost;
    r.overhead = measure_overhead(c, is_fixed);
    return r;
}

static void measure_all(int n_rounds, bool is_fixed)
{
    make_operations(is_fixed);
    printf("\n%s\n\n", is_fixed ? "Blocks of 64 bytes:" : "Mixed sizes, 1 to 8192 bytes:");
    puts("| heap | | ns per call | against malloc | 99.9 % (ns) | worst (ns) | worst / mean | "
         "overhead (bytes a block) |");
    puts("|---|---|--:|--:|--:|--:|--:|--:|");
    double of_malloc = 0;
    for (size_t i = 0; i < sizeof contenders / sizeof *contenders; i++) {
        const struct contender *c = &contenders[i];
        if (c->fixed_only && !is_fixed)
            continue;
        struct result r = measure(c, n_rounds, is_fixed);
        of_malloc = c->start == NULL ? r.mean : of_malloc;
        printf("| %s | %s | %.1f | %.2f | %.0f | %.0f | %.0f | %.1f |\n", c->name, c->against,
               r.mean, r.mean / of_malloc, r.p999, r.worst, r.worst / r.mean, r.overhead);
        fflush(stdout);
    }
}

/* --- batches --- */

enum { N_BATCH = 1000, N_BATCHES = 100 };

/* ns for a block: its allocation and its share of the end. */
static double time_batch(struct ration_heap *heap, bool is_reset)
{
    static void *blocks[N_BATCH];
    uint64_t state = 11;
    uint64_t start = now();
    for (size_t i = 0; i < N_BATCH; i++) {
        uint32_t size = 1 + (uint32_t)(next_random(&state) >> 32) % 128;
        blocks[i] = heap != NULL ? ration_heap_alloc(heap, size) : malloc(size);
        *(volatile char *)blocks[i] = 1;
    }
    for (size_t i = 0; i < N_BATCH && !is_reset; i++) {
        if (heap != NULL)
            ration_heap_free(heap, blocks[i]);
        else
            free(blocks[i]);
    }
    if (is_reset)
        ration_arena_reset(&heap_memory.arena);
    return (double)(now() - start) / N_BATCH;
}

static void measure_batches(int n_rounds)
{
    printf("\nBatches of %d blocks of 1 to 128 bytes:\n\n", N_BATCH);
    puts("| heap | | ns for a block and its end | against malloc |");
    puts("|---|---|--:|--:|");
    double of_malloc = 0;
    arena_bytes = 4 << 20;
    for (size_t i = 0; i < sizeof contenders / sizeof *contenders; i++) {
        const struct contender *c = &contenders[i];
        if (c->fixed_only)
            continue;
        struct ration_heap *heap = c->start != NULL ? c->start() : NULL;
        bool is_reset = heap == &heap_memory.arena.heap && c->start == start_arena;
        double fastest_batch = 1e9;
        for (int round = 0; round < n_rounds * N_BATCHES; round++) {
            double took = time_batch(heap, is_reset);
            fastest_batch = took < fastest_batch ? took : fastest_batch;
        }
        of_malloc = c->start == NULL ? fastest_batch : of_malloc;
        printf("| %s | %s | %.1f | %.2f |\n", c->name, c->against, fastest_batch,
               fastest_batch / of_malloc);
        if (heap != NULL)
            ration_heap_destroy(heap);
    }
    arena_bytes = ARENA_BYTES;
}

int main(int argc, char **argv)
{
    int n_rounds = argc > 1 ? atoi(argv[1]) : 15;
    if (argc > 2 || n_rounds < 1 || n_rounds > 10000) {
        fprintf(stderr, "usage: %s [ROUNDS]    1 to 10000, expected a number; default 15\n",
                argv[0]);
        return 2;
    }
    memory = aligned_alloc(4096, ARENA_BYTES);
    if (memory == NULL)
        return 1;
    memset(memory, 0, ARENA_BYTES); /* page faults are not what is measured */
    measure_all(n_rounds, true);
    measure_all(n_rounds, false);
    measure_batches(n_rounds);
    free(memory);
    return 0;
}
