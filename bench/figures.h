/* What the programs of the bench measure and sort with. */
#ifndef RATION_BENCH_FIGURES_H
#define RATION_BENCH_FIGURES_H

#include <time.h>

/* The calling thread's own CPU time. */
static inline double thread_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* For qsort, ascending. */
static inline int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

#endif
