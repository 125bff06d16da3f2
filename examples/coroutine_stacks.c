/* Coroutines on stacks from a heap: each above a guard page, memory only where a stack has been
 * used, and how deep that was can be asked afterwards. */
#define _GNU_SOURCE
#include <ration.h>
#include <stdio.h>
#include <ucontext.h>

enum { N_COROUTINES = 100, N_ROUNDS = 10 };

static ucontext_t scheduler, coroutines[N_COROUTINES];
static int sums[N_COROUTINES];

static void count(int number)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        sums[number] += round;
        swapcontext(&coroutines[number], &scheduler);
    }
}

/* `count` as makecontext wants it, with one int argument. */
static void start(ucontext_t *context, void *stack, size_t bytes, int number)
{
    union {
        void (*with_int)(int);
        void (*plain)(void);
    } entry = {.with_int = count};
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = bytes;
    context->uc_link = &scheduler;
    makecontext(context, entry.plain, 1, number);
}

int main(void)
{
    struct ration_stacks stacks;
    struct ration_stacks_options options = {
        .name = "coroutines", .stack_bytes = 64 * 1024, .n_stacks = N_COROUTINES};
    struct ration_heap *heap = ration_stacks_init(&stacks, &options);
    if (heap == NULL)
        return 1;
    void *memory[N_COROUTINES];
    for (int i = 0; i < N_COROUTINES; i++) {
        memory[i] = ration_heap_alloc(heap, 64 * 1024);
        start(&coroutines[i], memory[i], ration_heap_usable_size(heap, memory[i]), i);
    }
    for (int round = 0; round < N_ROUNDS; round++)
        for (int i = 0; i < N_COROUTINES; i++)
            swapcontext(&scheduler, &coroutines[i]);
    size_t deepest = 0;
    int total = 0;
    for (int i = 0; i < N_COROUTINES; i++) {
        size_t used = ration_stack_used_bytes(&stacks, memory[i]);
        deepest = used > deepest ? used : deepest;
        total += sums[i];
        ration_heap_free(heap, memory[i]);
    }
    printf("%d coroutines, deepest stack %zu of 65536 bytes\n", N_COROUTINES, deepest);
    ration_heap_destroy(heap);
    return total == N_COROUTINES * 45 ? 0 : 1;
}
