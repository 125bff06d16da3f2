/* What the workloads share: a seeded generator, blocks that carry their own proof, a tally,
 * threads.
 *
 * A workload allocates with plain malloc and friends; the allocator under test comes by LD_PRELOAD.
 * Every block begins with a tag and its size. The sum of all tags born and the sum of all tags read
 * back just before free must agree at the end, so that nothing can be optimised away and a block
 * that was handed out twice, lost or overwritten shows up as a failure, not as a good time. */
#ifndef RATION_BENCH_COMMON_H
#define RATION_BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

/* A generator of 64-bit numbers: SplitMix64 (Steele, Lea and Flood, 2014). Any seed will do. */
struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    uint64_t mixed = (random->state += 0x9e3779b97f4a7c15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

/* Maps the upper 32 bits of a drawn number to 0 .. limit - 1. */
static inline uint32_t pick_below(uint64_t drawn, uint32_t limit)
{
    return (uint32_t)(((drawn >> 32) * limit) >> 32);
}

/* Maps the lower 32 bits of a drawn number to low .. high bytes, both included: independent of
 * pick_below() on the same number. */
static inline size_t pick_size(uint64_t drawn, size_t low, size_t high)
{
    return low + (size_t)(((drawn & 0xffffffffu) * (high - low + 1)) >> 32);
}

/* A size from a power law: each doubling is half as likely, from 16 bytes up to `highest`. */
size_t pick_pareto(uint64_t drawn, size_t highest);

/* What one thread did. Sums of several threads mean the same. */
struct tally {
    uint64_t operations; /* blocks allocated plus blocks freed */
    uint64_t born;       /* sum of the tags written */
    uint64_t died;       /* sum of the tags read back */
    int64_t live_bytes;  /* asked for and not yet freed; negative where others' blocks are freed */
};

void tally_add(struct tally *sum, const struct tally *part);

/* The head of every block; the rest is filled with a byte of the tag (all of a small block, a word
 * per cache line of a larger one). */
struct block {
    uint64_t tag;
    uint64_t size;
};

enum { BLOCK_LEAST_BYTES = sizeof(struct block) };

/* size: at least BLOCK_LEAST_BYTES. Ends the program when malloc returns null. */
struct block *block_new(struct tally *tally, size_t size, uint64_t tag);
/* block: from block_new() of any thread, or null. */
void block_drop(struct tally *tally, struct block *block);
/* The same, but nothing behind the head is written or read: a large part of the time is then the allocator's. */
struct block *block_new_bare(struct tally *tally, size_t size, uint64_t tag);
void block_drop_bare(struct tally *tally, struct block *block);
/* drop, one of the two above, for each of n blocks. */
void blocks_drop(struct tally *tally, struct block *const *blocks, unsigned n,
                 void (*drop)(struct tally *tally, struct block *block));
/* A block from block_new_bare() whose memory is zero behind the head, as calloc promises. */
struct block *block_new_zeroed(struct tally *tally, size_t size, uint64_t tag);

/* What a workload hands back to main. */
struct outcome {
    struct tally tally;
    uint64_t idle_ms;       /* time slept on purpose */
    uint64_t live_kib;      /* live bytes while asleep */
    uint64_t rss_after_kib; /* resident memory at the end of that sleep; 0: not measured */
};

/* Sleeps, then notes what is still resident. Call it when the load is gone. */
void outcome_settle(struct outcome *outcome, unsigned idle_ms);
/* Resident memory of this process now, in KiB, read without allocating. */
uint64_t resident_kib(void);

/* Runs body(&args[i * stride]) in n threads and waits for them all. */
void threads_run(unsigned n_threads, void *(*body)(void *), void *args, size_t stride);
/* Starts one thread that nobody joins. */
void thread_detach(void *(*body)(void *), void *arg);

/* The count of a full-size run, for this run's scale. At least 1. */
unsigned scaled(unsigned count, double scale);
/* Prints the reason and ends the program with status 1. */
void die(const char *reason) __attribute__((noreturn, cold));

#endif
