/* One misuse each, by name: what the hardened levels must detect beyond the default. Prints the address of the block
 * first, and "end" if the program lived on. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile size_t zero; /* keeps the compiler from seeing what is done */

static char *take(size_t n)
{
    char *p = malloc(n + zero);
    if (p == NULL)
        exit(2);
    printf("%p\n", (void *)p);
    fflush(stdout);
    return p;
}

/* Enough frees to push anything out of a quarantine, and enough allocations to meet what came out. */
static void churn(size_t n)
{
    static void *blocks[600];
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 600; i++)
            blocks[i] = malloc(n);
        for (int i = 0; i < 600; i++)
            free(blocks[i]);
    }
}

static void overflow_by_one(void)
{
    char *p = take(100);
    p[100 + zero] ^= 1;
    free(p);
}

static void overflow_of_a_full_slot(void)
{
    char *p = take(112);
    p[112 + zero] ^= 1;
    free(p);
}

static void overflow_after_realloc(void)
{
    char *p = realloc(malloc(30), 5000);
    printf("%p\n", (void *)p);
    fflush(stdout);
    p[5000 + zero] ^= 1;
    free(p);
}

static void write_after_free(void)
{
    char *p = take(200);
    free(p);
    p[7 + zero] = 1;
    churn(200);
}

static void double_free(void)
{
    char *p = take(64);
    free(p);
    free(p + zero);
}

static void double_free_after_churn(void)
{
    char *p = take(48);
    free(p);
    for (int i = 0; i < 100; i++)
        free(malloc(48));
    free(p + zero);
}

static void *free_it(void *p)
{
    free(p);
    return NULL;
}

static void double_free_by_a_thread_that_ended(void)
{
    pthread_t thread;
    char *p = take(64);
    pthread_create(&thread, NULL, free_it, p);
    pthread_join(thread, NULL);
    free(p + zero);
}

static void interior(void)
{
    free(take(100) + 16 + zero);
}

static void misaligned(void)
{
    free(take(100) + 3 + zero);
}

static void foreign(void)
{
    static char p[16];
    printf("%p\n", (void *)p);
    fflush(stdout);
    free(p + zero);
}

static void realloc_freed(void)
{
    char *p = take(100);
    free(p);
    if (realloc(p + zero, 200) != NULL)
        puts("got a block");
}

/* No misuse: data that was freed is gone. */
static void freed_is_zeroed(void)
{
    char *p = take(1000);
    memset(p, 0x5a, 1000);
    free(p);
    for (int i = 0; i < 1000; i++) {
        if (((volatile char *)p)[i] != 0)
            exit(3);
    }
}

/* No misuse: places are not the same in two runs, and not in order. */
static void places_vary(void)
{
    uintptr_t previous = 0;
    int rising = 0;
    for (int i = 0; i < 200; i++) {
        uintptr_t p = (uintptr_t)malloc(64);
        rising += p == previous + 64;
        previous = p;
    }
    if (rising > 100)
        exit(4);
}

static void usable_is_what_was_asked_for(void)
{
    if (malloc_usable_size(take(100)) != 100)
        exit(5);
}

/* Large blocks: guard pages, and addresses that wait. */

static void large_overflow_into_the_guard(void)
{
    char *p = take(20000);
    for (size_t i = 20000; i < 30000; i++)
        p[i + zero] = 1;
}

static void large_overflow_by_one(void)
{
    char *p = take(20000);
    p[20000 + zero] ^= 1;
    free(p);
}

static void large_overflow_after_realloc(void)
{
    char *p = realloc(malloc(30000), 300000);
    printf("%p\n", (void *)p);
    fflush(stdout);
    p = realloc(p, 299999);
    p[299999 + zero] ^= 1;
    free(p);
}

static void large_underflow(void)
{
    char *p = take(20000);
    p[zero - 1] = 1;
}

static void large_write_after_free(void)
{
    char *p = take(100000);
    free(p);
    p[50000 + zero] = 1;
}

static void large_read_after_free(void)
{
    char *p = take(100000);
    free(p);
    exit(((volatile char *)p)[50000 + zero] == 77);
}

static void huge_read_after_free(void)
{
    char *p = take(50 << 20);
    free(p);
    exit(((volatile char *)p)[50000 + zero] == 77);
}

static void large_read_after_realloc(void)
{
    char *p = take(1 << 20);
    char *stale = p + zero;
    char *q = realloc(p, 3 << 20);
    exit(q == NULL || ((volatile char *)stale)[50000] == 77);
}

static void large_double_free_after_churn(void)
{
    char *p = take(100000);
    free(p);
    for (int i = 0; i < 100; i++)
        free(malloc(100000));
    free(p + zero);
}

static void large_interior(void)
{
    free(take(100000) + 4096 + zero);
}

static void large_wrong_size(void)
{
    extern void free_sized(void *p, size_t n) __attribute__((weak));
    char *p = take(100000);
    free_sized(p, 99999 + zero);
}

static void empty_block_written(void)
{
    char *p = take(0);
    p[zero] ^= 1;
    free(p);
}

static void on_fault(int number)
{
    static const char text[] = "own handler\n";
    if (number == SIGSEGV && write(1, text, sizeof text - 1) > 0)
        _exit(7);
}

static void own_handler_comes_after(void)
{
    signal(SIGSEGV, on_fault);
    large_write_after_free();
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"overflow_by_one", overflow_by_one},
    {"overflow_of_a_full_slot", overflow_of_a_full_slot},
    {"overflow_after_realloc", overflow_after_realloc},
    {"write_after_free", write_after_free},
    {"double_free", double_free},
    {"double_free_after_churn", double_free_after_churn},
    {"double_free_by_a_thread_that_ended", double_free_by_a_thread_that_ended},
    {"interior", interior},
    {"misaligned", misaligned},
    {"foreign", foreign},
    {"realloc_freed", realloc_freed},
    {"freed_is_zeroed", freed_is_zeroed},
    {"places_vary", places_vary},
    {"usable_is_what_was_asked_for", usable_is_what_was_asked_for},
    {"large_overflow_into_the_guard", large_overflow_into_the_guard},
    {"large_overflow_by_one", large_overflow_by_one},
    {"large_overflow_after_realloc", large_overflow_after_realloc},
    {"large_underflow", large_underflow},
    {"large_write_after_free", large_write_after_free},
    {"large_read_after_free", large_read_after_free},
    {"huge_read_after_free", huge_read_after_free},
    {"large_read_after_realloc", large_read_after_realloc},
    {"large_double_free_after_churn", large_double_free_after_churn},
    {"large_interior", large_interior},
    {"large_wrong_size", large_wrong_size},
    {"empty_block_written", empty_block_written},
    {"own_handler_comes_after", own_handler_comes_after},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            puts("end");
            return 0;
        }
    }
    fprintf(stderr, "usage: harden_misuse CASE\n");
    return 2;
}
