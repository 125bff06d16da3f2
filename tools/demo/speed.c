/* Demos about time: realloc, contention, frameloop. */
#include "../lab/replay.h"
#include "demo.h"
#include <pthread.h>
#include <ration/fit.h>
#include <ration/frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- realloc ------------------------------------------------------------------------------- */

static const size_t mebibyte = 1 << 20;

static double minor_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_minflt;
}

/* 16 MiB, all of it written, becomes 128 MiB. */
static void *grow_block(const char *label, char *block)
{
    char name[56];
    const double faults = minor_faults(), started = lab_now();
    char *grown = realloc(block, 128 * mebibyte);
    snprintf(name, sizeof name, "16 to 128 MiB, %s", label);
    demo_figure(name, "ms", 1e3 * (lab_now() - started));
    snprintf(name, sizeof name, "page faults of that, %s", label);
    demo_figure(name, "", minor_faults() - faults);
    bool kept = grown != NULL;
    for (size_t at = 0; kept && at < 16 * mebibyte; at += 4096)
        kept = grown[at] == (char)(at >> 12);
    snprintf(name, sizeof name, "contents kept, %s", label);
    demo_figure(name, "?", kept);
    if (grown != NULL)
        grown[127 * mebibyte] = 1;
    return grown;
}

static char *take_written(size_t bytes)
{
    char *block = demo_take(bytes);
    for (size_t at = 0; at < bytes; at += 4096)
        block[at] = (char)(at >> 12);
    return block;
}

static void run_realloc(bool own_way)
{
    (void)own_way;
    demo_count_begin();
    free(grow_block("alone", take_written(16 * mebibyte)));
    char *block = take_written(16 * mebibyte), *behind = take_written(16 * mebibyte);
    free(grow_block("a block behind", block));
    free(behind);
    demo_count_end();
    const double started = lab_now();
    char *growing = NULL;
    for (size_t bytes = 65536; bytes <= 64 * mebibyte; bytes += 65536) {
        char *grown = realloc(growing, bytes);
        if (grown == NULL)
            break;
        growing = grown;
        growing[bytes - 1] = 1;
    }
    demo_figure("to 64 MiB in steps of 64 KiB", "ms", 1e3 * (lab_now() - started));
    free(growing);
}

const struct demo_scenario demo_realloc = {
    .name = "realloc",
    .what = "a large block grows: copied, or moved page by page?",
    .story =
        "16 MiB, all written, become 128 MiB; once alone, once with another block behind. Then "
        "a block\ngrows to 64 MiB in 1024 steps.",
    .run = run_realloc,
    .counts_calls = true,
};

/* ---- contention ---------------------------------------------------------------------------- */

enum { n_rounds = 1000, batch = 100, most_threads = 8 };

/* One free list and one lock: a fit heap that every thread enters alone. */
static struct {
    pthread_mutex_t lock;
    struct ration_fit fit;
    struct ration_heap *heap;
} one_lock = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *allocate(bool own_way, size_t size)
{
    if (!own_way)
        return malloc(size);
    pthread_mutex_lock(&one_lock.lock);
    void *block = ration_heap_alloc(one_lock.heap, size);
    pthread_mutex_unlock(&one_lock.lock);
    return block;
}

static void release(bool own_way, void *block)
{
    if (!own_way) {
        free(block);
        return;
    }
    pthread_mutex_lock(&one_lock.lock);
    ration_heap_free(one_lock.heap, block);
    pthread_mutex_unlock(&one_lock.lock);
}

struct worker {
    pthread_t thread;
    bool own_way;
    uint64_t random;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    char *blocks[batch];
    for (int round = 0; round < n_rounds; round++) {
        for (int i = 0; i < batch; i++) {
            blocks[i] = allocate(worker->own_way, 16 + demo_random(&worker->random) % 496);
            if (blocks[i] != NULL)
                *blocks[i] = 1;
        }
        for (int i = 0; i < batch; i++)
            release(worker->own_way, blocks[i]);
    }
    return NULL;
}

/* Million operations a second. */
static double time_threads(int n, bool own_way)
{
    struct worker workers[most_threads];
    int started = 0;
    const double before = lab_now();
    for (; started < n; started++) {
        workers[started] =
            (struct worker){.own_way = own_way, .random = 7919 * (uint64_t)(started + 1)};
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0)
            break;
    }
    for (int i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    return 2e-6 * n_rounds * batch * started / (lab_now() - before);
}

static void run_contention(bool own_way)
{
    static _Alignas(16) char memory[16 << 20];
    if (own_way) {
        const struct ration_fit_options options = {.name = "one lock",
                                                   .policy = RATION_FIT_SEGREGATED};
        one_lock.heap = ration_fit_init(&one_lock.fit, memory, sizeof memory, &options);
    }
    for (int n = 1; n <= most_threads; n *= 2) {
        char name[56];
        snprintf(name, sizeof name, "%d thread%s", n, n == 1 ? "" : "s");
        double best = 0; /* of three: others use this machine too */
        for (int i = 0; i < 3; i++) {
            const double one = time_threads(n, own_way);
            best = one > best ? one : best;
        }
        demo_figure(name, "M/s", best);
    }
}

const struct demo_scenario demo_contention = {
    .name = "contention",
    .what = "many threads at one free list, and what thread caches change",
    .story =
        "Each thread allocates and frees batches of 100 blocks of 16 to 511 bytes. `one lock` is "
        "a\nsegregated fit heap behind one mutex. Million operations a second, all threads "
        "together.",
    .run = run_contention,
    .own_way = "one lock",
};

/* ---- frameloop ----------------------------------------------------------------------------- */

enum { n_frames = 2000, per_frame = 300, n_loader_blocks = 2000 };

static bool is_over; /* atomic: tells the loader to end */

/* A second thread loads assets meanwhile, in the same malloc. */
static void *load_assets(void *unused)
{
    static void *assets[n_loader_blocks];
    uint64_t random = 12345;
    for (int i = 0; !__atomic_load_n(&is_over, __ATOMIC_RELAXED); i++) {
        const int k = i % n_loader_blocks;
        free(assets[k]);
        assets[k] = malloc(64 + demo_random(&random) % 32768);
    }
    for (int i = 0; i < n_loader_blocks; i++)
        free(assets[i]);
    return unused;
}

/* The allocations of one frame and their end; seconds. */
static double play_frame(struct ration_arena *arena, uint64_t *random)
{
    char *blocks[per_frame];
    const double started = lab_now();
    for (int i = 0; i < per_frame; i++) {
        const size_t size = 16 + demo_random(random) % 1000;
        blocks[i] = arena != NULL ? ration_arena_alloc(arena, size) : malloc(size);
        if (blocks[i] != NULL)
            *blocks[i] = 1;
    }
    if (arena != NULL)
        ration_arena_reset(arena);
    else
        for (int i = per_frame; i > 0; i--)
            free(blocks[i - 1]);
    return lab_now() - started;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void note_misuse(const struct ration_misuse *misuse)
{
    char text[700];
    ration_misuse_text(misuse, text, sizeof text);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0')
            demo_note("%s", line);
}

/* What the frame guard says about a stray allocation. */
static void show_guard(struct ration_arena *arena)
{
    struct ration_frame frame;
    ration_misuse_fn *const before = ration_misuse_handler(note_misuse);
    demo_note("a stray allocation in a guarded frame is reported:");
    ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, NULL);
    ration_frame_guard(&frame, &arena->heap);
    ration_heap_alloc(&arena->heap, 48);
    ration_frame_end(&frame);
    ration_misuse_handler(before);
}

static void run_frameloop(bool own_way)
{
    static double taken[n_frames];
    static struct ration_arena arena;
    const struct ration_arena_options options = {.name = "frame", .source = ration_source_system()};
    ration_arena_init(&arena, &options);
    uint64_t random = 99991;
    pthread_t loader;
    const bool has_loader = pthread_create(&loader, NULL, load_assets, NULL) == 0;
    for (int i = 0; i < n_frames; i++)
        taken[i] = 1e6 * play_frame(own_way ? &arena : NULL, &random);
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    if (has_loader)
        pthread_join(loader, NULL);
    qsort(taken, n_frames, sizeof taken[0], compare);
    demo_figure("frame, half of them at most", "us", taken[n_frames / 2]);
    demo_figure("frame, 99 % at most", "us", taken[n_frames * 99 / 100]);
    demo_figure("frame, 99.9 % at most", "us", taken[n_frames * 999 / 1000]);
    demo_figure("the longest frame", "us", taken[n_frames - 1]);
    int missed = 0;
    for (int i = 0; i < n_frames; i++)
        missed += taken[i] > 16000;
    demo_figure("frames that missed 16 ms by this alone", "", missed);
    if (own_way)
        show_guard(&arena);
    ration_heap_destroy(&arena.heap);
}

const struct demo_scenario demo_frameloop = {
    .name = "frameloop",
    .what = "a render loop with 16 ms a frame, and what its allocations cost",
    .story =
        "2000 frames of 300 allocations each while another thread loads assets; the time of one "
        "frame's\nallocations and frees. `arena` takes them from an arena that is reset once a "
        "frame.",
    .run = run_frameloop,
    .own_way = "arena",
};
