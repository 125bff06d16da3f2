#include "generate.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

struct generator {
    const char *name;
    const char *what;
    void (*fill)(struct trace *trace, uint64_t *random);
};

/* ---- tools ------------------------------------------------------------------------------ */

/* splitmix64 (Steele, Lea, Flood 2014): small, and the same on every machine. */
static uint64_t draw(uint64_t *random)
{
    uint64_t z = (*random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t draw_below(uint64_t *random, uint64_t bound)
{
    return draw(random) % bound;
}

static uint64_t draw_between(uint64_t *random, uint64_t least, uint64_t most)
{
    return least + draw_below(random, most - least + 1);
}

/* A power law: P(size > x) falls as 1/x between the two bounds. Integer arithmetic only, so that
 * every machine draws the same sizes. */
static uint64_t draw_power(uint64_t *random, uint64_t least, uint64_t most)
{
    const uint64_t u = draw_between(random, 1, 1 << 20);
    const uint64_t size = (least << 20) / u;
    return size < most ? size : draw_between(random, least, most);
}

static void take(struct trace *trace, uint32_t id, uint64_t size)
{
    trace_add(trace, TRACE_MALLOC, id, size);
}

static void give(struct trace *trace, uint32_t id)
{
    trace_add(trace, TRACE_FREE, id, 0);
}

/* The ids that are live in a random walk. */
struct crowd {
    uint32_t *ids;
    size_t count;
    uint32_t next_id;
};

static struct crowd open_crowd(size_t most)
{
    return (struct crowd){.ids = lab_allocate(most, sizeof(uint32_t))};
}

static void join(struct trace *trace, struct crowd *crowd, uint64_t size)
{
    crowd->ids[crowd->count++] = crowd->next_id;
    take(trace, crowd->next_id++, size);
}

static void leave(struct trace *trace, struct crowd *crowd, uint64_t *random)
{
    const size_t place = draw_below(random, crowd->count);
    give(trace, crowd->ids[place]);
    crowd->ids[place] = crowd->ids[--crowd->count];
}

static void close_crowd(struct trace *trace, struct crowd *crowd, uint64_t *random)
{
    while (crowd->count > 0)
        leave(trace, crowd, random);
    free(crowd->ids);
}

/* `n_takes` allocations; once `n_live` are live each one is preceded by the free of a random
 * one, or of several after a burst. Ends with everything freed. */
static void churn(struct trace *trace, uint64_t *random, size_t n_takes, size_t n_live,
                  uint64_t (*size_of)(uint64_t *random))
{
    struct crowd crowd = open_crowd(n_live);
    for (size_t i = 0; i < n_takes; i++) {
        if (crowd.count == n_live) {
            const size_t n = 1 + (draw_below(random, 64) == 0 ? draw_below(random, n_live / 4) : 0);
            for (size_t k = 0; k < n; k++)
                leave(trace, &crowd, random);
        }
        join(trace, &crowd, size_of(random));
    }
    close_crowd(trace, &crowd, random);
}

/* ---- the classic patterns --------------------------------------------------------------- */

static void fill_short(struct trace *trace, uint64_t *random)
{
    (void)random;
    static const struct {
        char kind;
        uint32_t id;
        uint64_t size;
    } ops[] = {{'a', 0, 2000}, {'a', 1, 2000}, {'f', 1, 0},    {'a', 2, 56},
               {'a', 3, 4000}, {'f', 3, 0},    {'a', 4, 4000}, {'f', 0, 0},
               {'f', 2, 0},    {'a', 5, 4000}, {'f', 4, 0},    {'f', 5, 0}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (ops[i].kind == 'a')
            take(trace, ops[i].id, ops[i].size);
        else
            give(trace, ops[i].id);
    }
}

/* Small and medium in turn; the medium ones go and slightly larger ones come: their holes do not
 * fit unless the allocator kept the two sizes apart. */
static void fill_pairs(struct trace *trace, uint32_t n, uint64_t small, uint64_t medium,
                       uint64_t large)
{
    for (uint32_t i = 0; i < n; i++) {
        take(trace, 2 * i, small);
        take(trace, 2 * i + 1, medium);
    }
    for (uint32_t i = 0; i < n; i++)
        give(trace, 2 * i + 1);
    for (uint32_t i = 0; i < n; i++)
        take(trace, 2 * n + i, large);
    for (uint32_t i = 0; i < n; i++) {
        give(trace, 2 * i);
        give(trace, 2 * n + i);
    }
}

static void fill_binary(struct trace *trace, uint64_t *random)
{
    (void)random;
    fill_pairs(trace, 2000, 64, 448, 512);
}

static void fill_binary2(struct trace *trace, uint64_t *random)
{
    (void)random;
    fill_pairs(trace, 4000, 16, 112, 128);
}

static void fill_coalescing(struct trace *trace, uint64_t *random)
{
    (void)random;
    for (uint32_t i = 0; i < 2400; i++) {
        take(trace, 3 * i, 4095);
        take(trace, 3 * i + 1, 4095);
        give(trace, 3 * i);
        give(trace, 3 * i + 1);
        take(trace, 3 * i + 2, 8190);
        give(trace, 3 * i + 2);
    }
}

static uint64_t size_uniform(uint64_t *random)
{
    return draw_between(random, 1, 32768);
}

static void fill_random(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 2400, 900, size_uniform);
}

/* One block grows by small steps while a small neighbour is replaced at each step. */
static void fill_growth(struct trace *trace, uint64_t first, uint64_t step, uint64_t neighbour)
{
    enum { n_steps = 4799 };
    take(trace, 0, first);
    take(trace, 1, neighbour);
    for (uint32_t i = 1; i <= n_steps; i++) {
        trace_add(trace, TRACE_REALLOC, 0, first + i * step);
        take(trace, i + 1, neighbour);
        give(trace, i);
    }
    give(trace, 0);
    give(trace, n_steps + 1);
}

static void fill_realloc(struct trace *trace, uint64_t *random)
{
    (void)random;
    fill_growth(trace, 512, 128, 128);
}

static void fill_realloc2(struct trace *trace, uint64_t *random)
{
    (void)random;
    fill_growth(trace, 4092, 5, 16);
}

static uint64_t size_array(uint64_t *random)
{
    static const uint64_t element[] = {4, 8, 8, 16, 24, 40};
    return element[draw_below(random, 6)] * draw_power(random, 2, 2000);
}

static uint64_t size_string(uint64_t *random)
{
    return draw_power(random, 6, 8000);
}

static uint64_t size_struct(uint64_t *random)
{
    static const uint64_t of_rank[] = {24, 32, 48,  16,  40,  64,  56,  80,
                                       96, 72, 112, 136, 168, 200, 264, 432};
    return of_rank[draw_power(random, 1, 16) - 1];
}

static uint64_t size_mix(uint64_t *random)
{
    static uint64_t (*const kinds[])(uint64_t *) = {size_array, size_string, size_struct};
    return kinds[draw_below(random, 3)](random);
}

static void fill_syn_array(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 40000, 10000, size_array);
}

static void fill_syn_string(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 40000, 10000, size_string);
}

static void fill_syn_struct(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 40000, 10000, size_struct);
}

static void fill_syn_mix(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 40000, 10000, size_mix);
}

static uint64_t size_needle(uint64_t *random)
{
    return draw_between(random, 1900, 2200);
}

static void fill_needle(struct trace *trace, uint64_t *random)
{
    churn(trace, random, 150000, 10000, size_needle);
}

/* Three times: fill 128 MiB with blocks of 256 KiB, then free them all, each time in another
 * order. Whatever is not given back or merged shows in the peak of the next round. */
static void fill_exhaust(struct trace *trace, uint64_t *random)
{
    enum { n_blocks = 512 };
    struct crowd crowd = open_crowd(n_blocks);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < n_blocks; i++)
            join(trace, &crowd, 256 * 1024 - (round == 1 ? 4096 : 0));
        while (crowd.count > 0)
            leave(trace, &crowd, random);
    }
    close_crowd(trace, &crowd, random);
}

/* Ten seats; each allocation takes the seat of the oldest. Sizes go up by 8 to 1024 and start
 * again. */
static void fill_merry_go_round(struct trace *trace, uint64_t *random)
{
    (void)random;
    enum { n_seats = 10, n_takes = 12800 };
    for (uint32_t i = 0; i < n_takes; i++) {
        if (i >= n_seats)
            give(trace, i % n_seats);
        take(trace, i % n_seats, UINT64_C(8) * (1 + i % 128));
    }
    for (uint32_t i = 0; i < n_seats; i++)
        give(trace, i);
}

/* Sizes just below, at and just above each power of two, freed and asked for again: what a list
 * per range of sizes does at its borders. */
static void fill_seglist(struct trace *trace, uint64_t *random)
{
    struct crowd crowd = open_crowd(4000);
    for (int round = 0; round < 8; round++) {
        for (unsigned k = 4; k <= 16; k++)
            for (int i = 0; i < 30; i++)
                join(trace, &crowd, (UINT64_C(1) << k) + draw_below(random, 3) - 1);
        for (size_t n = crowd.count / 2; n > 0; n--)
            leave(trace, &crowd, random);
    }
    close_crowd(trace, &crowd, random);
}

/* Requests that no program fills: arithmetic in 32 bits fails here, and so does a strategy that
 * writes to what it hands out. */
static void fill_largemem(struct trace *trace, uint64_t *random)
{
    (void)random;
    const uint64_t gigabyte = 1000000000;
    take(trace, 0, 100);
    take(trace, 1, 36 * gigabyte);
    take(trace, 2, 100);
    give(trace, 1);
    take(trace, 3, 18 * gigabyte);
    take(trace, 4, 9 * gigabyte);
    give(trace, 3);
    give(trace, 4);
    take(trace, 5, 36 * gigabyte);
    give(trace, 5);
    give(trace, 0);
    give(trace, 2);
}

/* ---- scenarios of books and courses ------------------------------------------------------ */

/* 100,000 blocks of 1000 bytes, 90 % of them freed at random: much is free, nothing together. */
static void fill_swiss(struct trace *trace, uint64_t *random)
{
    enum { n_blocks = 100000 };
    struct crowd crowd = open_crowd(n_blocks);
    for (int i = 0; i < n_blocks; i++)
        join(trace, &crowd, 1000);
    while (crowd.count > n_blocks / 10)
        leave(trace, &crowd, random);
    free(crowd.ids);
}

/* 2 MiB free in a hundred pieces, then one request for 1 MiB. */
static void fill_two_megs(struct trace *trace, uint64_t *random)
{
    (void)random;
    enum { n_pieces = 100, piece_bytes = 2 * 1024 * 1024 / n_pieces };
    for (uint32_t i = 0; i < n_pieces; i++) {
        take(trace, 2 * i, piece_bytes);
        take(trace, 2 * i + 1, 64);
    }
    for (uint32_t i = 0; i < n_pieces; i++)
        give(trace, 2 * i);
    take(trace, 2 * n_pieces, UINT64_C(1024) * 1024);
}

/* One size is freed completely, then only the size below it is wanted. */
static void fill_bucket_starvation(struct trace *trace, uint64_t *random)
{
    (void)random;
    enum { n_large = 4000, n_small = 6000 };
    for (uint32_t i = 0; i < n_large; i++)
        take(trace, i, 120);
    for (uint32_t i = 0; i < n_large; i++)
        give(trace, i);
    for (uint32_t i = 0; i < n_small; i++)
        take(trace, n_large + i, 56);
}

/* The exercise of the course: 100 units; 16, 16, 20, the second one freed, 16, 16, the fourth
 * one freed; then 20, although 48 are free. */
static void fill_course9(struct trace *trace, uint64_t *random)
{
    (void)random;
    take(trace, 0, 16);
    take(trace, 1, 16);
    take(trace, 2, 20);
    give(trace, 1);
    take(trace, 3, 16);
    take(trace, 4, 16);
    give(trace, 3);
    take(trace, 5, 20);
}

/* For lists by range (--heap=8): 5 from 8 leave 3, which serve 3 and then 2 with 1 left; freed, all
 * becomes one piece of 8 again. */
static void fill_range5(struct trace *trace, uint64_t *random)
{
    (void)random;
    take(trace, 0, 5);
    take(trace, 1, 3);
    give(trace, 1);
    take(trace, 2, 2);
    give(trace, 0);
    give(trace, 2);
    take(trace, 3, 8);
    give(trace, 3);
}

/* 32 units by halves: 4 splits all the way down, 8 and 16 take what is left, and freeing merges
 * back to the whole. A unit is 16 bytes, the least that a buddy block can be. */
static void fill_buddy32(struct trace *trace, uint64_t *random)
{
    (void)random;
    const uint64_t unit = 16;
    take(trace, 0, 4 * unit);
    take(trace, 1, 8 * unit);
    take(trace, 2, 16 * unit);
    give(trace, 1);
    give(trace, 0);
    give(trace, 2);
    take(trace, 3, 32 * unit);
    give(trace, 3);
}

/* Every size one above a power of two: what rounding to powers of two wastes at worst. */
static void fill_worst_pow2(struct trace *trace, uint64_t *random)
{
    (void)random;
    uint32_t id = 0;
    for (unsigned k = 5; k <= 15; k++)
        for (int i = 0; i < 200; i++)
            take(trace, id++, (UINT64_C(1) << k) + 1);
    for (uint32_t i = 0; i < id; i++)
        give(trace, i);
}

/* A small heap for watching: few blocks, and each kind of event happens. */
static void fill_lesson(struct trace *trace, uint64_t *random)
{
    (void)random;
    take(trace, 0, 96);
    take(trace, 1, 200);
    take(trace, 2, 64);
    take(trace, 3, 320);
    take(trace, 4, 48);
    give(trace, 1);
    give(trace, 3);
    take(trace, 5, 40);
    take(trace, 6, 150);
    give(trace, 2);
    take(trace, 7, 300);
    trace_add(trace, TRACE_REALLOC, 0, 160);
    give(trace, 5);
    give(trace, 6);
    give(trace, 4);
    take(trace, 8, 500);
    give(trace, 7);
    give(trace, 0);
    give(trace, 8);
}

/* A server for 24 simulated hours: sessions that stay, requests that do not, and sizes that
 * shift from hour to hour. Payload rises and falls; a heap that only climbs has a problem. */
static void fill_aging(struct trace *trace, uint64_t *random)
{
    enum { n_hours = 24, n_requests = 1500, most_sessions = 4000 };
    struct crowd sessions = open_crowd(most_sessions);
    for (uint64_t hour = 0; hour < n_hours; hour++) {
        const uint64_t base = 64 + 24 * hour;
        for (int i = 0; i < n_requests; i++) {
            if (sessions.count == most_sessions || (sessions.count > 0 && draw_below(random, 2)))
                leave(trace, &sessions, random);
            if (draw_below(random, 3) != 0)
                join(trace, &sessions, draw_between(random, base / 2, base * 2));
            const uint32_t request = sessions.next_id++;
            take(trace, request, draw_power(random, 64, 16384));
            give(trace, request);
        }
    }
    close_crowd(trace, &sessions, random);
}

/* A pair of malloc and free again and again, then the same size kept. */
static void fill_wholesale(struct trace *trace, uint64_t *random)
{
    (void)random;
    enum { n_pairs = 50000, n_kept = 5000 };
    for (uint32_t i = 0; i < n_pairs; i++) {
        take(trace, 0, 100);
        give(trace, 0);
    }
    for (uint32_t i = 0; i < n_kept; i++)
        take(trace, 1 + i, 100);
}

/* Frames of a render loop: many blocks, all gone at the frame's end, the last one first; a few
 * that stay for some frames lie between them. */
static void fill_frameloop(struct trace *trace, uint64_t *random)
{
    enum { n_frames = 200, per_frame = 150, n_assets = 64 };
    uint32_t next = n_assets;
    for (uint32_t frame = 0; frame < n_frames; frame++) {
        const uint32_t first = next, asset = frame % n_assets;
        for (uint32_t i = 0; i < per_frame; i++)
            take(trace, next++, draw_between(random, 16, 1015));
        if (frame >= n_assets)
            give(trace, asset);
        take(trace, asset, draw_between(random, 64, 32768));
        for (uint32_t id = next; id > first; id--)
            give(trace, id - 1);
    }
    for (uint32_t asset = 0; asset < n_assets; asset++)
        give(trace, asset);
}

/* 16 MiB become 128 MiB: once alone, once with a block behind. */
static void fill_realloc_large(struct trace *trace, uint64_t *random)
{
    (void)random;
    const uint64_t mebibyte = 1 << 20;
    take(trace, 0, 16 * mebibyte);
    trace_add(trace, TRACE_REALLOC, 0, 128 * mebibyte);
    give(trace, 0);
    take(trace, 1, 16 * mebibyte);
    take(trace, 2, 16 * mebibyte);
    trace_add(trace, TRACE_REALLOC, 1, 128 * mebibyte);
    give(trace, 2);
    give(trace, 1);
}

/* Four threads, each with a size of its own, that free one another's blocks. */
static void fill_contention(struct trace *trace, uint64_t *random)
{
    enum { n_rounds = 50, n_threads = 4, batch = 100 };
    (void)random;
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t i = 0; i < n_threads * batch; i++) {
            take(trace, i, 32 + 64 * (i % n_threads));
            trace_last(trace)->thread = (uint16_t)(i % n_threads);
        }
        for (uint32_t i = 0; i < n_threads * batch; i++) {
            give(trace, i);
            trace_last(trace)->thread = (uint16_t)((i + 1) % n_threads);
        }
    }
    trace->n_threads = n_threads;
}

/* ---- table ------------------------------------------------------------------------------- */

static const struct generator generators[] = {
    {"short", "12 operations, by hand", fill_short},
    {"lesson", "19 operations in which every kind of event happens; for --step and --html",
     fill_lesson},
    {"binary", "64 and 448 in turn x2000, the 448s freed, then 512s", fill_binary},
    {"binary2", "16 and 112 in turn x4000, the 112s freed, then 128s", fill_binary2},
    {"coalescing", "two of 4095 freed, one of 8190 in their place, x2400", fill_coalescing},
    {"random", "sizes 1 to 32768, about 900 live", fill_random},
    {"realloc", "one block grows from 512 to 614784 by 128", fill_realloc},
    {"realloc2", "one block grows from 4092 to 28087 by 5", fill_realloc2},
    {"syn-array", "power-law arrays, 40000 allocations, 10000 live", fill_syn_array},
    {"syn-string", "power-law strings, 40000 allocations, 10000 live", fill_syn_string},
    {"syn-struct", "sixteen sizes of structs, 40000 allocations, 10000 live", fill_syn_struct},
    {"syn-mix", "arrays, strings and structs together", fill_syn_mix},
    {"needle", "150000 blocks of about 2 KB, 10000 live", fill_needle},
    {"exhaust", "128 MiB filled and emptied three times", fill_exhaust},
    {"merry-go-round", "10 live, sizes by 8 to 1024", fill_merry_go_round},
    {"seglist", "sizes around every power of two", fill_seglist},
    {"largemem", "requests of up to 36 GB that nobody touches", fill_largemem},
    {"swiss", "100000 x 1000 bytes, 90 % freed at random", fill_swiss},
    {"two-megs", "2 MiB free in 100 pieces, then a request for 1 MiB", fill_two_megs},
    {"bucket-starvation", "all blocks of one size free, then only smaller ones wanted",
     fill_bucket_starvation},
    {"course9", "100 units: 16 16 20, free 2nd, 16 16, free 4th, then 20", fill_course9},
    {"range5", "8 units: 5, then 3; freed, 2; all freed, then 8", fill_range5},
    {"buddy32", "32 units of 16 bytes halved down to 4 and merged back", fill_buddy32},
    {"worst-pow2", "every size one above a power of two", fill_worst_pow2},
    {"wholesale", "100 bytes asked for and freed 50000 times, then 5000 kept", fill_wholesale},
    {"frameloop", "200 frames of 150 blocks freed in reverse, a few that stay", fill_frameloop},
    {"realloc-large", "16 MiB become 128 MiB, alone and with a block behind", fill_realloc_large},
    {"contention", "four threads that free one another's blocks", fill_contention},
    {"aging", "24 simulated hours of sessions and requests", fill_aging},
};

enum { n_generators = sizeof generators / sizeof generators[0] };

const struct generator *generator_at(size_t index)
{
    return index < n_generators ? &generators[index] : NULL;
}

const struct generator *generator_find(const char *name)
{
    for (size_t i = 0; i < n_generators; i++)
        if (strcmp(generators[i].name, name) == 0)
            return &generators[i];
    return NULL;
}

const char *generator_name(const struct generator *generator)
{
    return generator->name;
}

const char *generator_what(const struct generator *generator)
{
    return generator->what;
}

void generator_run(const struct generator *generator, uint64_t seed, struct trace *trace)
{
    uint64_t random = seed;
    trace_start(trace, generator->name);
    generator->fill(trace, &random);
    trace_finish(trace);
}
