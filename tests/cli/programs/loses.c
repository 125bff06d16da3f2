/* Loses what its arguments say: BLOCKS of BYTES, and keeps as many that are reachable in ways of all
 * kinds. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct node {
    struct node *next;
    char rest[40];
};

static struct node *volatile list;      /* by a chain */
static char *volatile inside;           /* by a pointer into the middle */
static __thread char *volatile by_name; /* by a variable of the thread */
static char **volatile table;           /* by a block that a block holds */

static __attribute__((noinline)) void lose(int blocks, size_t bytes)
{
    for (int i = 0; i < blocks; i++) {
        volatile uintptr_t block = (uintptr_t)malloc(bytes);
        memset((void *)block, 0, bytes);
        block = 0;
    }
}

/* A ring that nothing points to: lost in spite of its own pointers. */
static __attribute__((noinline)) void lose_ring(void)
{
    char **a = malloc(200), **b = malloc(200);
    memset(a, 0, 200);
    memset(b, 0, 200);
    a[0] = (char *)b;
    b[0] = (char *)a;
}

static __attribute__((noinline)) void keep(void)
{
    for (int i = 0; i < 100; i++) {
        struct node *node = calloc(1, sizeof *node);
        node->next = list;
        list = node;
    }
    inside = (char *)malloc(5000) + 2500;
    by_name = malloc(300);
    table = calloc(50, sizeof *table);
    for (int i = 0; i < 50; i++)
        table[i] = malloc(i == 7 ? 100000 : 600);
}

/* Old pointers on the stack and in registers are overwritten. */
static __attribute__((noinline)) void wipe(void)
{
    volatile char room[8192];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
}

static void *idle(void *block)
{
    char *volatile mine = block;
    for (;;)
        pause();
    return mine;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    const int blocks = argc > 1 ? atoi(argv[1]) : 0;
    keep();
    lose(blocks, argc > 2 ? (size_t)atol(argv[2]) : 1);
    if (argc > 3)
        lose_ring();
    if (pthread_create(&thread, NULL, idle, malloc(700)) != 0)
        return 9;
    wipe();
    if (argc > 4 && fork() == 0)
        return 0; /* the child lost the same */
    while (wait(NULL) > 0)
        continue;
    return 0;
}
