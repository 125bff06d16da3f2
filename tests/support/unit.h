/* What every white-box test includes: cmocka and its needs, chance with a seed, faults known but not yet mended. */
#ifndef RATION_TESTS_UNIT_H
#define RATION_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A generator of one word (xorshift64*, Vigna 2014): the same seed gives the same test. */
struct chance {
    uint64_t state;
};

static inline uint64_t chance_next(struct chance *c)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return c->state * 0x2545f4914f6cdd1dU;
}

/* 0 <= result < n */
static inline size_t chance_below(struct chance *c, size_t n)
{
    return (size_t)((chance_next(c) >> 11) % n);
}

/* What a test program returns that cannot run here. */
enum { UNIT_SKIPPED = 77 };

/* The seed of this run: RATION_SEED in the environment, else a fixed one. Printed by main on failure. */
uint64_t chance_seed(void);

/* Runs test(state) in a child process and fails if it succeeds: a fault that is known and not mended yet. When it is
 * mended, the test fails, and the mark is taken away. */
void expect_known_fault(CMUnitTestFunction test, const char *why);

/* Runs body in a child process, so that it starts from a heap that was never used. Returns the child's wait status. */
int run_in_child(void (*body)(void *arg), void *arg);

/* run_in_child, and the child must have exited with 0. */
void require_in_child(void (*body)(void *arg), void *arg);

/* Runs body in a thread and waits for its end. */
void run_in_thread(void *(*body)(void *arg), void *arg);

/* cmocka's checks work in a child only inside a test: this one ends the child with a message. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            require_failed(#condition, __FILE__, __LINE__);                                        \
    } while (0)
_Noreturn void require_failed(const char *what, const char *file, int line);

#endif
