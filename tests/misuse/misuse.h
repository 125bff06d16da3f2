/* For the programs of this folder, each of which commits one crime on purpose.
   crime(p) announces on stdout the address that the report must name; go_on() runs when the crime
   was survived: it uses the heap thoroughly, says so, and leaves with status 0. */
#ifndef MISUSE_H
#define MISUSE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The compiler must not know that a pointer is stale or was never allocated. */
static inline void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline size_t argument(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? strtoul(argv[i], NULL, 0) : otherwise;
}

static inline void *crime(void *p)
{
    char line[64]; /* not dprintf, which allocates a buffer */
    int n = snprintf(line, sizeof line, "crime at %p\n", p);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        exit(9);
    return hide(p);
}

/* The crime succeeded in a way that the program can see. */
static inline void lost(const char *how)
{
    dprintf(STDOUT_FILENO, "lost: %s\n", how);
    exit(6);
}

/* A block in use, with neighbours, as in a real heap. */
static inline void *new_block(size_t size)
{
    void *before = hide(malloc(size));
    void *block = hide(malloc(size));
    void *after = hide(malloc(size));
    if (before == NULL || block == NULL || after == NULL) {
        fprintf(stderr, "cannot allocate three blocks of %zu bytes\n", size);
        exit(9);
    }
    memset(block, 1, size);
    return block;
}

/* Blocks of other sizes than any crime uses come and go; the first call warms the heap up, so that
   the second takes no fresh memory (and so not the block of the crime). */
static inline void traffic(void)
{
    enum { N = 600 };
    static void *blocks[N];
    for (size_t i = 0; i < N; i++)
        blocks[i] = hide(malloc(i % 2 == 0 ? 200 : 390));
    for (size_t i = 0; i < N; i++)
        free(blocks[i * 7 % N]);
}

static inline void in_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0)
        exit(9);
    pthread_join(thread, NULL);
}

static inline void *free_body(void *p)
{
    free(hide(p));
    return NULL;
}

/* Every block must be one's own after all: no two alike, contents kept. */
static inline int go_on(void)
{
    enum { N = 3000 };
    static unsigned char *blocks[N];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            size_t size = i % 50 == 0 ? 100000 : i % 1200 + 1;
            blocks[i] = (unsigned char *)hide(malloc(size));
            if (blocks[i] == NULL)
                return 8;
            memset(blocks[i], (int)(i % 251), size);
        }
        for (unsigned i = 0; i < N; i++) {
            size_t size = i % 50 == 0 ? 100000 : i % 1200 + 1;
            if (blocks[i][0] != i % 251 || blocks[i][size - 1] != i % 251) {
                dprintf(STDOUT_FILENO, "block %u lost its contents\n", i);
                return 7;
            }
            free(blocks[i]);
        }
    }
    dprintf(STDOUT_FILENO, "went on\n");
    return 0;
}

#endif
