/* A demo about a wrong program: double-free. */
#include "demo.h"
#include <stdlib.h>

/* Two names for one block, as in a program that is too large to see it. */
static void run_double_free(bool own_way)
{
    (void)own_way;
    void *volatile owner = malloc(32);
    void *volatile borrower = owner;
    free(owner);
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed twice to be caught by the malloc
    free(borrower);
    demo_note("not noticed: the program went on");
}

const struct demo_scenario demo_double_free = {
    .name = "double-free",
    .what = "a block freed twice through two pointers, and what the malloc says",
    .story = "p = malloc(32); q = p; free(p); free(q).",
    .run = run_double_free,
    .expects_signal = true,
};
