/* What each kind promises beyond the common interface. */
#define _GNU_SOURCE
#include "kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static struct ration_heap_stats stats_of(const struct ration_heap *heap)
{
    struct ration_heap_stats s;
    ration_heap_stats(heap, &s);
    return s;
}

/* Bytes of the range that memory stands behind. */
static size_t resident_bytes(void *start, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map = malloc(bytes / page + 1);
    assert_int_equal(mincore(start, bytes, map), 0);
    size_t resident = 0;
    for (size_t i = 0; i < bytes / page; i++)
        resident += (map[i] & 1) ? page : 0;
    free(map);
    return resident;
}

/* --- pool --- */

enum { N_MESSAGES = 100000 };

struct message {
    uint64_t id;
    char text[56];
};

static void pool_of_100000_gives_null_when_empty(void **state)
{
    (void)state;
    struct ration_pool *pool =
        ration_pool_create("messages", sizeof(struct message), N_MESSAGES, RATION_POOL_FIXED);
    assert_non_null(pool);
    struct message **taken = malloc(N_MESSAGES * sizeof *taken);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < N_MESSAGES; i++) {
            taken[i] = ration_pool_alloc(pool);
            assert_non_null(taken[i]);
            taken[i]->id = i;
        }
        assert_null(ration_pool_alloc(pool));
        assert_null(ration_heap_alloc(&pool->heap, sizeof(struct message)));
        for (uint64_t i = 0; i < N_MESSAGES; i++)
            assert_int_equal(taken[i]->id, i);
        struct message *last = taken[N_MESSAGES - 1];
        for (size_t i = 0; i < N_MESSAGES; i++)
            ration_pool_free(pool, taken[i]);
        assert_ptr_equal(ration_pool_alloc(pool), last); /* a stack: the last one first */
        ration_pool_free(pool, last);
    }
    assert_int_equal(stats_of(&pool->heap).n_failures, 4);
    assert_int_equal(ration_heap_check(&pool->heap, NULL), 0);
    free(taken);
    ration_heap_destroy(&pool->heap);
}

static void pool_grows_by_doubling(void **state)
{
    (void)state;
    struct ration_pool *pool = ration_pool_create("growing", 40, 100, RATION_POOL_GROWING);
    void *objects[10000];
    for (int i = 0; i < 10000; i++) {
        objects[i] = ration_pool_alloc(pool);
        assert_non_null(objects[i]);
        memset(objects[i], i, 40);
    }
    assert_int_equal(stats_of(&pool->heap).n_grows, 7); /* 100 * 2^7 = 12800 */
    assert_int_equal(stats_of(&pool->heap).free_blocks, 2800);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(*(unsigned char *)objects[i], (unsigned char)i);
        ration_pool_free(pool, objects[i]);
    }
    assert_int_equal(ration_heap_check(&pool->heap, NULL), 0);
    ration_heap_destroy(&pool->heap);
}

static void pool_does_not_touch_fresh_objects(void **state)
{
    (void)state;
    struct ration_pool pool;
    struct ration_pool_options o = {
        .object_bytes = 4096, .n_objects = 2000, .source = ration_source_system()};
    struct ration_heap *heap = ration_pool_init(&pool, &o);
    char *first = ration_pool_alloc(&pool);
    first[0] = 1;
    void *page = (void *)(((uintptr_t)first + 8192) & ~(uintptr_t)4095);
    assert_int_equal(resident_bytes(page, 1900 * 4096), 0);
    ration_heap_destroy(heap);
}

static void pool_rejects_impossible_options(void **state)
{
    (void)state;
    struct ration_pool pool;
    char memory[256];
    assert_null(ration_pool_create("none", 0, 10, 0));
    assert_null(ration_pool_create("none", 16, 0, 0));
    assert_null(ration_pool_create("none", 16, 10, 64));
    assert_null(ration_pool_create("none", SIZE_MAX / 8, 100, 0));
    assert_null(ration_pool_init(&pool, &(struct ration_pool_options){.object_bytes = 16}));
    assert_null(ration_pool_init(
        &pool, &(struct ration_pool_options){
                   .object_bytes = 300, .buffer = memory, .buffer_bytes = sizeof memory}));
    assert_null(ration_pool_init(
        &pool, &(struct ration_pool_options){
                   .object_bytes = 16, .alignment = 24, .buffer = memory, .buffer_bytes = 256}));
}

/* --- arena --- */

static void arena_reset_keeps_memory(void **state)
{
    (void)state;
    struct subject subject = {0};
    size_t n;
    const struct variant *v = variants_all(&n);
    while (strcmp(v->name, "arena/chunks") != 0)
        v++;
    struct ration_heap *heap = subject_start(&subject, v);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 5000; i++)
            assert_non_null(ration_arena_alloc(&subject.arena, (size_t)i % 100));
        ration_arena_reset(&subject.arena);
        assert_int_equal(stats_of(heap).live_blocks, 0);
    }
    size_t takes = subject.n_source_takes;
    assert_in_range(takes, 20, 80);
    for (int i = 0; i < 5000; i++)
        ration_arena_alloc(&subject.arena, (size_t)i % 100);
    assert_int_equal(subject.n_source_takes, takes);
    ration_arena_reset(&subject.arena);
    assert_in_range(ration_arena_trim(&subject.arena), 8192 * 15, 8192 * 80);
    assert_int_equal(subject.n_source_gives, takes - 1);
    subject_end(&subject);
}

static void arena_reports_a_stale_mark(void **state)
{
    (void)state;
    char memory[4096];
    struct ration_arena arena;
    struct ration_heap *heap = ration_arena_init(
        &arena, &(struct ration_arena_options){.buffer = memory, .buffer_bytes = sizeof memory});
    struct ration_mark outer = ration_arena_mark(&arena);
    ration_heap_alloc(heap, 100);
    struct ration_mark inner = ration_arena_mark(&arena);
    void *block = ration_heap_alloc(heap, 100);
    ration_arena_rewind(&arena, outer);
    misuse_forget();
    ration_heap_free(heap, block);
    assert_int_equal(last_misuse.kind, RATION_INVALID_FREE);
    ration_arena_rewind(&arena, inner);
    assert_int_equal(n_misuses, 2);
    assert_int_equal(last_misuse.kind, RATION_CORRUPT_HEAP);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_destroy(heap);
}

/* A block older than the mark that is freed after it comes back with the rewind. */
static void arena_rewind_takes_freed_blocks_along(void **state)
{
    (void)state;
    char memory[4096];
    struct ration_arena arena;
    struct ration_heap *heap = ration_arena_init(
        &arena, &(struct ration_arena_options){.buffer = memory, .buffer_bytes = sizeof memory});
    void *kept = ration_heap_alloc(heap, 100);
    void *older = ration_heap_alloc(heap, 100);
    struct ration_mark mark = ration_arena_mark(&arena);
    ration_heap_alloc(heap, 100);
    ration_heap_free(heap, older);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_arena_rewind(&arena, mark);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    assert_int_equal(stats_of(heap).live_blocks, 1);
    assert_ptr_equal(ration_heap_alloc(heap, 100), older);
    ration_heap_free(heap, kept);
    ration_heap_destroy(heap);
}

/* --- fit: the policies --- */

/* Holes of 300, 100, 200 and 120 bytes in the order of addresses; the rest of the heap is full. */
static void *holes[4];

static struct ration_heap *make_holes(struct ration_fit *fit, enum ration_fit_policy policy,
                                      enum ration_fit_order order)
{
    static char memory[8192] __attribute__((aligned(64)));
    static const size_t sizes[4] = {300, 100, 200, 120};
    struct ration_fit_options o = {.policy = policy, .order = order};
    struct ration_heap *heap = ration_fit_init(fit, memory, sizeof memory, &o);
    for (int i = 0; i < 4; i++) {
        holes[i] = ration_heap_alloc(heap, sizes[i]);
        ration_heap_alloc(heap, 1);
    }
    while (ration_heap_alloc(heap, 40) != NULL || ration_heap_alloc(heap, 1) != NULL) {
    }
    for (int i = 0; i < 4; i++)
        ration_heap_free(heap, holes[i]);
    return heap;
}

static void fit_policies_choose_what_they_say(void **state)
{
    (void)state;
    static const struct {
        enum ration_fit_policy policy;
        enum ration_fit_order order;
        int chosen[3]; /* the holes that serve 110, then 110, then 90 bytes */
    } rows[] = {
        {RATION_FIT_FIRST, RATION_FIT_ADDRESS, {0, 0, 1}},
        {RATION_FIT_FIRST, RATION_FIT_IMPLICIT, {0, 0, 1}},
        {RATION_FIT_FIRST, RATION_FIT_LIFO, {3, 2, 1}},
        {RATION_FIT_FIRST, RATION_FIT_SIZE, {3, 2, 1}},
        {RATION_FIT_BEST, RATION_FIT_ADDRESS, {3, 2, 1}},
        {RATION_FIT_BEST, RATION_FIT_LIFO, {3, 2, 1}},
        {RATION_FIT_BEST, RATION_FIT_SIZE, {3, 2, 1}},
        {RATION_FIT_WORST, RATION_FIT_ADDRESS, {0, 2, 0}},
        {RATION_FIT_WORST, RATION_FIT_SIZE, {0, 2, 0}},
        {RATION_FIT_NEXT, RATION_FIT_ADDRESS, {0, 0, 1}},
        {RATION_FIT_NEXT, RATION_FIT_IMPLICIT, {0, 0, 1}},
        {RATION_FIT_SEGREGATED, RATION_FIT_LIFO, {3, 2, 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ration_fit fit;
        struct ration_heap *heap = make_holes(&fit, rows[i].policy, rows[i].order);
        static const size_t sizes[3] = {110, 110, 90};
        for (int k = 0; k < 3; k++) {
            char *block = ration_heap_alloc(heap, sizes[k]);
            int chosen = 0;
            while (chosen < 4 && (size_t)(block - (char *)holes[chosen]) >= 300)
                chosen++;
            for (int later = chosen + 1; later < 4; later++)
                if (block >= (char *)holes[later])
                    chosen = later;
            if (chosen != rows[i].chosen[k])
                print_error("row %zu, request %d: hole %d\n", i, k, chosen);
            assert_int_equal(chosen, rows[i].chosen[k]);
        }
        assert_int_equal(ration_heap_check(heap, NULL), 0);
        ration_heap_destroy(heap);
    }
}

/* Next fit goes on where it stopped, and around. */
static void next_fit_goes_around(void **state)
{
    (void)state;
    struct ration_fit fit;
    struct ration_heap *heap = make_holes(&fit, RATION_FIT_NEXT, RATION_FIT_ADDRESS);
    assert_ptr_equal(ration_heap_alloc(heap, 180), holes[0]);
    assert_ptr_equal(ration_heap_alloc(heap, 180), holes[2]);
    assert_ptr_equal(ration_heap_alloc(heap, 120), holes[3]);
    assert_true(ration_heap_alloc(heap, 90) > holes[0]); /* the rest of the first: around */
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_destroy(heap);
}

/* --- fit: the end of the heap moves --- */

static char break_memory[65536] __attribute__((aligned(64)));
static size_t break_at;

static void *move_break(void *context, intptr_t increment)
{
    (void)context;
    size_t old = break_at;
    if (increment > 0 && (size_t)increment > sizeof break_memory - break_at)
        return (void *)-1;
    break_at = (size_t)((intptr_t)break_at + increment);
    if (increment < 0) /* whoever reads behind the end reads rubbish */
        memset(break_memory + break_at, 0xee, old - break_at);
    return break_memory + old;
}

static void fit_lives_with_a_foreign_sbrk(void **state)
{
    (void)state;
    struct ration_fit fit;
    break_at = 24;
    struct ration_fit_options o = {.grow = move_break};
    struct ration_heap *heap = ration_fit_init(&fit, NULL, 0, &o);
    char *before = ration_heap_alloc(heap, 1000);
    size_t stolen = break_at;
    break_at += 333; /* somebody else moves the end */
    char *after = ration_heap_alloc(heap, 2000);
    assert_non_null(after);
    assert_true(after > break_memory + stolen + 333);
    struct ration_heap_stats s = stats_of(heap);
    assert_in_range(s.foreign_bytes, 333, 333 + 15);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    misuse_forget();
    ration_heap_free(heap, break_memory + (stolen + 160) / 16 * 16);
    assert_int_equal(last_misuse.kind, RATION_INVALID_FREE);
    ration_heap_free(heap, after);
    assert_in_range(ration_fit_trim(&fit, 0), 2000, 2100);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_free(heap, before);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_destroy(heap);
}

static void fit_gives_its_end_back(void **state)
{
    (void)state;
    static const enum ration_fit_order orders[] = {RATION_FIT_LIFO, RATION_FIT_ADDRESS,
                                                   RATION_FIT_SIZE};
    for (int i = 0; i < 3; i++) {
        struct ration_fit fit;
        break_at = 0;
        struct ration_fit_options o = {
            .grow = move_break, .order = orders[i], .policy = RATION_FIT_NEXT, .grow_bytes = 4096};
        struct ration_heap *heap = ration_fit_init(&fit, NULL, 0, &o);
        void *blocks[20];
        for (int k = 0; k < 20; k++)
            blocks[k] = ration_heap_alloc(heap, 900);
        for (int k = 19; k >= 10; k--)
            ration_heap_free(heap, blocks[k]);
        size_t end = break_at;
        size_t given = ration_fit_trim(&fit, 500);
        assert_int_equal(end - break_at, given);
        assert_in_range(given, 8000, 16000);
        assert_int_equal(ration_heap_check(heap, NULL), 0);
        assert_int_equal(ration_fit_trim(&fit, 500), 0);
        assert_in_range(ration_fit_trim(&fit, 0), 500, 520);
        assert_int_equal(ration_heap_check(heap, NULL), 0);
        for (int k = 0; k < 10; k++)
            ration_heap_free(heap, blocks[k]);
        assert_non_null(ration_heap_alloc(heap, 3000));
        assert_int_equal(ration_heap_check(heap, NULL), 0);
        ration_heap_destroy(heap);
    }
}

/* --- private --- */

static void private_gives_memory_back(void **state)
{
    (void)state;
    struct ration_private own;
    struct ration_heap *heap = ration_private_init(&own, NULL);
    char *blocks[64];
    for (int i = 0; i < 64; i++) {
        blocks[i] = ration_heap_alloc(heap, 100000);
        memset(blocks[i], i, 100000);
    }
    size_t full = resident_bytes((void *)own.start, own.usable_bytes);
    assert_in_range(full, 6000000, 9000000);
    for (int i = 0; i < 64; i++)
        if (i % 8 != 0)
            ration_heap_free(heap, blocks[i]);
    size_t given = ration_private_trim(&own);
    assert_in_range(given, 5000000, 9000000);
    size_t kept = resident_bytes((void *)own.start, own.usable_bytes);
    assert_in_range(kept, 8 * 98304, 8 * 110000);
    for (int i = 0; i < 64; i += 8)
        for (int k = 0; k < 100000; k++)
            assert_int_equal(blocks[i][k], i);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    assert_non_null(ration_heap_alloc(heap, 1000000));
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    void *start = (void *)own.start;
    ration_heap_destroy(heap);
    unsigned char map;
    assert_int_equal(mincore(start, 4096, &map), -1); /* not mapped any more */
}

static jmp_buf jump_place;

static void jump_handler(const struct ration_misuse *misuse)
{
    (void)misuse;
    longjmp(jump_place, 1);
}

/* A handler that jumps away leaves no lock behind. */
static void private_is_usable_after_a_jump(void **state)
{
    (void)state;
    struct ration_private own;
    struct ration_heap *heap = ration_private_init(&own, NULL);
    void *block = ration_heap_alloc(heap, 10);
    ration_heap_free(heap, block);
    ration_misuse_handler(jump_handler);
    if (setjmp(jump_place) == 0) {
        ration_heap_free(heap, block);
        fail_msg("no report");
    }
    misuse_forget();
    assert_non_null(ration_heap_alloc(heap, 10));
    ration_heap_destroy(heap);
}

static void private_heaps_do_not_mix(void **state)
{
    (void)state;
    struct ration_private a, b;
    ration_private_init(&a, &(struct ration_private_options){.limit_bytes = 100000});
    ration_private_init(&b, &(struct ration_private_options){.limit_bytes = 100000});
    void *block = ration_heap_alloc(&a.heap, 100);
    while (ration_heap_alloc(&b.heap, 1000) != NULL) {
    }
    assert_non_null(ration_heap_alloc(&a.heap, 1000)); /* b is full, a is not */
    assert_true(ration_heap_owns(&a.heap, block) && !ration_heap_owns(&b.heap, block));
    misuse_forget();
    ration_heap_free(&b.heap, block);
    assert_int_equal(last_misuse.kind, RATION_INVALID_FREE);
    assert_ptr_equal(last_misuse.heap, &b.heap);
    ration_heap_destroy(&b.heap);
    ration_heap_free(&a.heap, block);
    assert_int_equal(ration_heap_check(&a.heap, NULL), 0);
    ration_heap_destroy(&a.heap);
    assert_null(ration_private_init(&a, &(struct ration_private_options){.limit_bytes = SIZE_MAX}));
}

/* --- stacks --- */

static void overflow_stack(void *arg)
{
    struct ration_stacks *stacks = arg;
    char *stack = ration_heap_alloc(&stacks->heap, 4096);
    REQUIRE(stack != NULL);
    stack[0] = 1;
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)(stack - 1) = 1;
}

static void stacks_are_guarded(void **state)
{
    (void)state;
    struct ration_stacks stacks;
    struct ration_heap *heap = ration_stacks_init(
        &stacks, &(struct ration_stacks_options){.n_stacks = 4, .stack_bytes = 16384});
    char *stack = ration_heap_alloc(heap, 16384);
    memset(stack, 1, 16384);
    assert_ptr_equal(ration_stack_top(&stacks, stack), stack + 16384);
    int status = run_in_child(overflow_stack, &stacks);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ration_heap_destroy(heap);
}

static ucontext_t main_context, coroutine_context;
static int n_yields;

static void coroutine(void)
{
    volatile char used[5000];
    for (size_t i = 0; i < sizeof used; i++)
        used[i] = (char)i;
    for (int i = 0; i < 3; i++) {
        n_yields++;
        swapcontext(&coroutine_context, &main_context);
    }
}

static void stacks_carry_coroutines(void **state)
{
    (void)state;
    struct ration_stacks stacks;
    struct ration_heap *heap =
        ration_stacks_init(&stacks, &(struct ration_stacks_options){.n_stacks = 4});
    void *stack = ration_heap_alloc(heap, 65536);
    getcontext(&coroutine_context);
    coroutine_context.uc_stack.ss_sp = stack;
    coroutine_context.uc_stack.ss_size = ration_heap_usable_size(heap, stack);
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, coroutine, 0);
    for (int i = 0; i < 3; i++)
        swapcontext(&main_context, &coroutine_context);
    assert_int_equal(n_yields, 3);
    assert_in_range(ration_stack_used_bytes(&stacks, stack), 5000, 20000);
    ration_heap_free(heap, stack);
    ration_heap_destroy(heap);
}

/* --- the report by default, the table, the switch: in children with an environment of their own
 * --- */

static char child_output[8192];

/* Runs body in a child whose stderr is kept in child_output. Returns the wait status. */
static int run_captured(void (*body)(void *), void *arg)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        ration_misuse_handler(NULL);
        signal(SIGABRT, SIG_DFL);
        body(arg);
        exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    ssize_t got;
    while ((got = read(ends[0], child_output + n, sizeof child_output - 1 - n)) > 0)
        n += (size_t)got;
    child_output[n] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static char report_memory[4096];

static void free_twice(void *arg)
{
    if (arg != NULL)
        setenv("RATION", arg, 1);
    struct ration_tlsf tlsf;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, report_memory, sizeof report_memory,
                                                &(struct ration_tlsf_options){.name = "radio"});
    void *block = ration_heap_alloc(heap, 100);
    ration_heap_free(heap, block);
    ration_heap_free(heap, block);
    exit(5);
}

static void the_default_report_is_the_contracts(void **state)
{
    (void)state;
    int status = run_captured(free_twice, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_memory_equal(child_output, "ration: double free at 0x", 25);
    assert_non_null(strstr(child_output, " in heap 'radio' (tlsf) during free\n"));
    assert_ptr_equal(strstr(strstr(child_output, "ration: ") + 1, "ration: "), NULL);
    status = run_captured(free_twice, (void *)(uintptr_t) "stats=0,on_error=report");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    assert_memory_equal(child_output, "ration: double free at 0x", 25);
    status = run_captured(free_twice, (void *)(uintptr_t) "on_error=ignore");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    assert_string_equal(child_output, "");
    status = run_captured(free_twice, (void *)(uintptr_t) "on_error=reporting,x=1");
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void allocate_in_a_frame(void *arg)
{
    (void)arg;
    struct ration_tlsf tlsf;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, report_memory, sizeof report_memory, NULL);
    struct ration_frame frame;
    ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, NULL);
    ration_frame_guard(&frame, heap);
    ration_heap_alloc(heap, 48);
}

static void a_violation_reports_size_and_caller(void **state)
{
    (void)state;
    int status = run_captured(allocate_in_a_frame, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_memory_equal(child_output, "ration: forbidden allocation at 0x", 34);
    assert_non_null(strstr(child_output, "48 bytes inside frame 'render', which began at "));
    assert_non_null(strstr(child_output, "kinds_test.c:"));
    char *command = strstr(child_output, "addr2line -e ");
    assert_non_null(command);
    *strchr(command, '\n') = '\0';
    FILE *pipe = popen(command, "r");
    char line[512] = "";
    assert_non_null(fgets(line, sizeof line, pipe));
    pclose(pipe);
    if (strstr(line, "??") == NULL) /* binutils may be missing */
        assert_non_null(strstr(line, "kinds_test.c:"));
}

static void print_table(void *arg)
{
    (void)arg;
    setenv("RATION", "stats=1", 1);
    struct ration_pool *pool = ration_pool_create("letters", 32, 10, 0);
    struct ration_pool *other = ration_pool_create("parcels", 32, 10, 0);
    ration_pool_alloc(pool);
    ration_pool_alloc(pool);
    ration_heap_destroy(&other->heap);
    exit(0); /* prints the table */
}

static void the_table_lists_published_heaps(void **state)
{
    (void)state;
    int status = run_captured(print_table, NULL);
    assert_int_equal(status, 0);
    assert_non_null(strstr(child_output, "live bytes"));
    char *line = strstr(child_output, "\nletters");
    assert_non_null(line);
    char name[20], kind[20];
    size_t heap_bytes, live, peak, blocks, allocs, frees, failures;
    assert_int_equal(sscanf(line, "%19s %19s %zu %zu %zu %zu %zu %zu %zu", name, kind, &heap_bytes,
                            &live, &peak, &blocks, &allocs, &frees, &failures),
                     9);
    assert_string_equal(kind, "pool");
    assert_int_equal(live, 64);
    assert_int_equal(blocks, 2);
    assert_null(strstr(child_output, "parcels"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        /* First: the environment is read when the first heap is published. */
        cmocka_unit_test(the_table_lists_published_heaps),
        cmocka_unit_test(pool_of_100000_gives_null_when_empty),
        cmocka_unit_test(pool_grows_by_doubling),
        cmocka_unit_test(pool_does_not_touch_fresh_objects),
        cmocka_unit_test(pool_rejects_impossible_options),
        cmocka_unit_test(arena_reset_keeps_memory),
        cmocka_unit_test(arena_reports_a_stale_mark),
        cmocka_unit_test(arena_rewind_takes_freed_blocks_along),
        cmocka_unit_test(fit_policies_choose_what_they_say),
        cmocka_unit_test(next_fit_goes_around),
        cmocka_unit_test(fit_lives_with_a_foreign_sbrk),
        cmocka_unit_test(fit_gives_its_end_back),
        cmocka_unit_test(private_gives_memory_back),
        cmocka_unit_test(private_is_usable_after_a_jump),
        cmocka_unit_test(private_heaps_do_not_mix),
        cmocka_unit_test(stacks_are_guarded),
        cmocka_unit_test(stacks_carry_coroutines),
        cmocka_unit_test(the_default_report_is_the_contracts),
        cmocka_unit_test(a_violation_reports_size_and_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
