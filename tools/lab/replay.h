/*
 * Replaying a trace through a strategy: once verified and measured in bytes and steps, then timed
 * without either.
 *
 * Verification of every operation: alignment, inside the heap, no overlap with a live block,
 * contents kept (a pattern fills every payload up to 64 KiB, and the first and last 4 KiB of a
 * larger one), contents kept by realloc, calloc zeroed, the strategy's own check now and then.
 */
#ifndef RATION_LAB_REPLAY_H
#define RATION_LAB_REPLAY_H

#include "strategy.h"
#include "trace.h"

enum {
    most_samples = 400,
    result_text_bytes = 300,
    lab_least_timed_ops = 100, /* a shorter trace is not timed: there is nothing to measure */
};

struct lab_sample {
    uint64_t op; /* operations done */
    uint64_t payload;
    uint64_t heap;
};

/* What the heap held at one moment; the four parts add up to heap_bytes. */
struct lab_moment {
    uint64_t heap_bytes;
    uint64_t payload;    /* what the program asked for */
    uint64_t slack;      /* in live blocks, usable but not asked for: internal fragmentation */
    uint64_t overhead;   /* headers, tables, padding */
    uint64_t free_bytes; /* in free blocks: external fragmentation */
    uint64_t n_free;
    uint64_t largest_free;
};

enum lab_outcome {
    LAB_DONE,
    LAB_SLOW,    /* stopped at the time limit; figures are of the part that was done */
    LAB_SKIPPED, /* not run at all */
    LAB_WRONG,   /* a verification failed */
};

struct lab_result {
    const struct lab_strategy *strategy;
    enum lab_outcome outcome;
    char text[result_text_bytes];    /* why, for every outcome but LAB_DONE */
    const char *accounting;          /* how heap size was found */
    uint64_t n_ops;                  /* done */
    uint64_t n_failures;             /* requests that returned NULL */
    char failure[result_text_bytes]; /* the first of them, in the form of the course's exercise */
    uint64_t peak_payload;
    uint64_t peak_heap;        /* 0: not known */
    double mean_utilisation;   /* 0: not known; payload summed over operations / heap summed over
                                  operations */
    struct lab_moment at_peak; /* after the operation with the trace's peak payload */
    struct lab_moment at_end;
    bool has_moments;      /* false for a process: its blocks cannot be walked */
    uint64_t ceiling_heap; /* smallest heap that this header size allows at any time */
    uint64_t alloc_ops, free_ops;
    double alloc_steps_mean, free_steps_mean;
    uint64_t alloc_steps_max, free_steps_max;
    bool has_steps;
    uint64_t n_splits, n_merges, n_system_calls;
    double ns_per_alloc, ns_per_free, ns_per_op; /* 0: not timed */
    struct lab_sample samples[most_samples];
    size_t n_samples;
};

struct lab_limits {
    double seconds;      /* for each pass of each strategy */
    bool times;          /* run the timing pass */
    const char *library; /* the real library's file; NULL: look beside the command */
};

/* Peak payload / peak heap, 0 to 1. */
double lab_utilisation(const struct lab_result *result);

void lab_replay(struct lab_result *result, const struct lab_strategy *strategy,
                const struct lab_choices *choices, const struct trace *trace,
                const struct lab_limits *limits);

/* The largest sum of live blocks over the trace when each costs `header` bytes, is rounded up to
 * `grain` and is at least `least_block`: no heap with such headers can be smaller. */
uint64_t lab_ceiling_heap(const struct trace *trace, size_t header, size_t grain,
                          size_t least_block);

/* Free bytes, pieces and the largest, as text: "free 48 in 3 pieces, largest 16". */
void lab_describe_free(struct lab_heap *lab, char *text, size_t text_bytes);

/* Seconds of a clock that only goes forward. */
double lab_now(void);

#endif
