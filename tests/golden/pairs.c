/* The loops whose instructions the guard counts. Each loop calls through two pointers, so that the
   same code runs with malloc and free and with two functions that only return: the difference is
   what malloc and free cost. The pointers live in one structure that the compiler cannot see
   through.

     pairs LOOP real|empty

   SIGUSR1 to oneself marks the start and the end of the part to count. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct allocator {
    void *(*take)(size_t size);
    void *(*take_zero)(size_t count, size_t size);
    void (*give)(void *p);
};

/* A body of one instruction; a loop with these costs two returns a pair. */
void empty_function(void);
__asm__(".text\n.globl empty_function\n.type empty_function, %function\nempty_function:\n\tret\n"
        ".size empty_function, . - empty_function\n");

enum { N_PAIRS = 300, N_REPLACED = 2000, N_BATCH = 100, N_SLOTS = 10000, N_WARM = 200000 };

static void *slots[N_SLOTS];
static uint16_t sizes[N_SLOTS];

/* The same few instructions each time, in both variants of a loop. */
static void mark(void)
{
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGUSR1);
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 12;
}

static void pair_loop(const struct allocator *a, size_t size, int n)
{
    for (int i = 0; i < n; i++)
        a->give(a->take(size));
}

static void calloc_loop(const struct allocator *a, size_t size, int n)
{
    for (int i = 0; i < n; i++)
        a->give(a->take_zero(1, size));
}

static void batch_loop(const struct allocator *a, int n_batches)
{
    for (int batch = 0; batch < n_batches; batch++) {
        for (int i = 0; i < N_BATCH; i++)
            slots[i] = a->take(sizes[i]);
        for (int i = 0; i < N_BATCH; i++)
            a->give(slots[i]);
    }
}

static void replace_loop(const struct allocator *a, unsigned *state, int n)
{
    for (int i = 0; i < n; i++) {
        unsigned k = next_random(state) % N_SLOTS;
        a->give(slots[k]);
        slots[k] = a->take(sizes[next_random(state) % N_SLOTS]);
    }
}

static void run_pairs(const struct allocator *a, const struct allocator *warm, size_t size)
{
    pair_loop(warm, size, N_WARM);
    mark();
    pair_loop(a, size, N_PAIRS);
    mark();
}

static void run_calloc(const struct allocator *a, const struct allocator *warm, size_t size)
{
    calloc_loop(warm, size, N_WARM);
    mark();
    calloc_loop(a, size, N_PAIRS);
    mark();
}

static void run_batch(const struct allocator *a, const struct allocator *warm)
{
    batch_loop(warm, N_WARM / N_BATCH);
    mark();
    batch_loop(a, N_PAIRS / N_BATCH);
    mark();
}

static void run_replace(const struct allocator *a, const struct allocator *warm)
{
    unsigned state = 7;
    for (int i = 0; i < N_SLOTS; i++)
        slots[i] = warm->take(sizes[i]);
    replace_loop(warm, &state, N_WARM);
    mark();
    replace_loop(a, &state, N_REPLACED);
    mark();
}

/* Small sizes as programs ask for them: 16 to 256 bytes, the small ones more often. */
static void choose_sizes(void)
{
    unsigned state = 1;
    for (int i = 0; i < N_SLOTS; i++) {
        unsigned first = next_random(&state) % 241;
        unsigned second = next_random(&state) % 241;
        sizes[i] = (uint16_t)(16 + (first < second ? first : second));
    }
}

static int run(const char *loop, const struct allocator *a, const struct allocator *warm)
{
    if (strcmp(loop, "pair-64") == 0)
        run_pairs(a, warm, 64);
    else if (strcmp(loop, "pair-1000") == 0)
        run_pairs(a, warm, 1000);
    else if (strcmp(loop, "calloc-64") == 0)
        run_calloc(a, warm, 64);
    else if (strcmp(loop, "batch-100") == 0)
        run_batch(a, warm);
    else if (strcmp(loop, "replace-10000") == 0)
        run_replace(a, warm);
    else
        return 2;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: pairs LOOP real|empty\n");
        return 2;
    }
    struct allocator real = {malloc, calloc, free};
    struct allocator none = {(void *(*)(size_t))(uintptr_t)empty_function,
                             (void *(*)(size_t, size_t))(uintptr_t)empty_function,
                             (void (*)(void *))(uintptr_t)empty_function};
    struct allocator *chosen = strcmp(argv[2], "real") == 0 ? &real : &none;
    __asm__ volatile("" : : "r"(&real), "r"(&none) : "memory");
    choose_sizes();
    signal(SIGUSR1, SIG_IGN);
    return run(argv[1], chosen, &real);
}
