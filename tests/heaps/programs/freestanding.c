/* A program without a C library and without a start file: heaps over static buffers, nothing
 * provided but memcpy and memset. Exit status 0, or the number of the step that failed. */
#include <ration/arena.h>
#include <ration/buddy.h>
#include <ration/fit.h>
#include <ration/frame.h>
#include <ration/pool.h>
#include <ration/tlsf.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
    volatile unsigned char *t = to;
    const unsigned char *f = from;
    while (n-- > 0)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    volatile unsigned char *t = to;
    while (n-- > 0)
        *t++ = (unsigned char)byte;
    return to;
}

static _Noreturn void leave(long status)
{
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(60), "D"(status) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = 93;
    register long x0 __asm__("x0") = status;
    __asm__ volatile("svc 0" : : "r"(number), "r"(x0) : "memory");
#endif
    while (1) {
    }
}

static char buffer[16384] __attribute__((aligned(64)));
static unsigned n_reports;

static void count_report(const struct ration_misuse *misuse)
{
    n_reports += misuse->kind == RATION_DOUBLE_FREE;
}

/* Fills the heap, frees all, frees one twice. Returns whether all went well. */
static bool works(struct ration_heap *heap, bool can_resize)
{
    static void *blocks[400];
    unsigned n = 0;
    n_reports = 0;
    if (heap == NULL)
        return false;
    while (n < 400 && (blocks[n] = ration_heap_alloc(heap, 40)) != NULL) {
        memset(blocks[n], (int)n, 40);
        n++;
    }
    if (n < 50 || ration_heap_check(heap, NULL) != 0)
        return false;
    for (unsigned i = 0; i < n; i += 2)
        ration_heap_free(heap, blocks[i]);
    for (unsigned i = 1; can_resize && i < n; i += 2)
        if (ration_heap_resize(heap, blocks[i], 60) == NULL && ration_heap_check(heap, NULL) != 0)
            return false;
    ration_heap_free(heap, blocks[0]);
    ration_heap_destroy(heap);
    return n_reports == 1;
}

/* Returns 0, or the number of the step that failed. */
static long run(void)
{
    struct ration_fit fit;
    struct ration_tlsf tlsf;
    struct ration_buddy buddy;
    struct ration_pool pool;
    struct ration_arena arena;
    struct ration_pool_options pooled = {
        .object_bytes = 48, .buffer = buffer, .buffer_bytes = sizeof buffer};
    struct ration_arena_options bumped = {.buffer = buffer, .buffer_bytes = sizeof buffer};
    ration_misuse_handler(count_report);
    if (!works(ration_fit_init(&fit, buffer, sizeof buffer, NULL), true))
        return 1;
    if (!works(ration_tlsf_init(&tlsf, buffer, sizeof buffer, NULL), true))
        return 2;
    if (!works(ration_buddy_init(&buddy, buffer, sizeof buffer, NULL), true))
        return 3;
    if (!works(ration_pool_init(&pool, &pooled), false))
        return 4;
    if (!works(ration_arena_init(&arena, &bumped), false))
        return 5;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, buffer, sizeof buffer, NULL);
    struct ration_frame frame;
    ration_frame_begin(&frame, "interrupt", RATION_FRAME_COUNT, NULL);
    if (ration_frame_guard(&frame, heap) != 0 || ration_heap_alloc(heap, 8) == NULL ||
        frame.n_allocs != 1)
        return 6;
    ration_frame_end(&frame);
    return ration_heaps_passthrough(true) == -1 && ration_heaps_print(2) == -1 ? 0 : 7;
}

/* The kernel leaves the stack as a call would not: it is aligned before anything is called. */
#if defined(__x86_64__)
#define START_FUNCTION __attribute__((force_align_arg_pointer))
#else
#define START_FUNCTION
#endif

void _start(void);

START_FUNCTION void _start(void)
{
    leave(run());
}
