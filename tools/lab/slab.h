/*
 * Inside the slab strategy: the heap's structure, and its free runs (slab_runs.c). slab.c holds what
 * is built on them: records, slabs, and the operations.
 */
#ifndef RATION_LAB_SLAB_H
#define RATION_LAB_SLAB_H

#include "engine.h"

enum {
    grain_shift = 6,
    grain_bytes = 1 << grain_shift,
    most_small = 1024,
    n_classes = 48,
    large_class = n_classes,
    most_slots = 64,
    growth_share = 12,          /* a new slab has one in so many of the class's live slots */
    least_slab_bytes = 512,     /* below that, records would cost too much */
    n_exact = 64,               /* lists of free runs of exactly so many grains */
    n_lists = n_exact + 8 * 40, /* then 8 per doubling */
    least_mapped = 128 * 1024,  /* from here on a block is a mapping of its own */
    record_bytes = 24,          /* what a record costs a real heap: start, class, count, bitmap */
};

/* A run in use: a slab, or one large block (class large_class). */
struct record {
    struct record *next; /* among slabs of the class with a free slot */
    struct record *previous;
    struct record *next_in_bucket;
    size_t first_grain;
    size_t n_grains;
    uint64_t free_slots; /* bit per slot */
    uint32_t class;
    uint32_t n_slots;
};

/* A free run keeps its own description at its start and its length in its last 8 bytes. */
struct free_run {
    struct free_run *next;
    struct free_run *previous;
    size_t n_grains;
};

struct slab_heap {
    struct engine engine;
    char *base;
    size_t n_grains;  /* up to the break */
    uint64_t *begins; /* bit per grain */
    uint64_t *edge_is_live;
    size_t words;
    struct free_run *lists[n_lists];
    uint64_t nonempty[(n_lists + 63) / 64];
    struct record *partial[n_classes]; /* slabs with a free slot, last used first */
    size_t live_slots[n_classes];
    struct record **buckets; /* records by first grain */
    size_t n_buckets;
    size_t n_records;
};

static inline bool slab_has_bit(const uint64_t *bits, size_t index)
{
    return (bits[index / 64] >> (index % 64) & 1) != 0;
}

static inline char *slab_grain_address(const struct slab_heap *slab, size_t grain)
{
    return slab->base + (grain << grain_shift);
}

/* Tables reach to at least `n_grains`. */
void runs_extend_tables(struct slab_heap *slab, size_t n_grains);

/* A live run's marks are set, a freed one's cleared. */
void runs_mark(struct slab_heap *slab, size_t first, size_t n, bool live);

/* A free run enters and leaves its list. */
void runs_insert(struct slab_heap *slab, size_t first, size_t n_grains);
void runs_remove(struct slab_heap *slab, struct free_run *run);

/* The smallest free run of at least `wanted` grains; the largest below `most` with at least `least`.
 * NULL: there is none. */
struct free_run *runs_search(struct slab_heap *slab, size_t wanted);
struct free_run *runs_search_below(struct slab_heap *slab, size_t most, size_t least);

/* More grains from the break, exactly what is missing behind a free run at the end. The result is
 * a free run in no list, or NULL. */
struct free_run *runs_grow(struct slab_heap *slab, size_t wanted);

/* `n_grains` in use from now on, their first address a multiple of `alignment`. Returns the first
 * grain, or SIZE_MAX. */
size_t runs_take(struct slab_heap *slab, size_t n_grains, size_t alignment);

/* Back again, merged with free neighbours. */
void runs_give(struct slab_heap *slab, size_t first, size_t n_grains);

#endif
