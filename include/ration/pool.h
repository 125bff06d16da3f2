/* The pool: objects of one size, taken and given back in constant time.
 *
 * The objects lie in chunks: one at the start, further ones if the pool may grow. Apart from them a
 * table holds 4 bytes for each object: its state or, if it is free, the next free one. Nothing is
 * ever kept inside a free object, so a late write into one harms nobody else, and every misuse is
 * recognised exactly. Objects that have never been handed out are not touched: a pool of 100,000
 * messages costs memory as it is used.
 *
 * States of an object: FRESH (never handed out), LIVE, FREE (in the stack of free objects, last
 * freed on top), and in a shared pool for a moment BUSY (being pushed).
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  chunks follow each other without gap in the numbering of objects, and their objects add up
 * to the capacity; I2  objects at or above the count of used ones are fresh, and that count is at
 * most the capacity; I3  the stack of free objects holds no object twice and no live one; I4  every
 * used object is live or in the stack; I5  allocations minus frees are the live objects.
 *
 * Threads: one at a time, or with RATION_POOL_SHARED any number at once. A shared pool is lock-free
 * (a stack whose head carries a count of 32 bits against ABA: a thread must not sleep inside one
 * operation while others do exactly 2^32), except that growing takes a lock. check, walk and
 * destroy need quiet: no other thread in the pool.
 *
 * Bounds: an allocation takes constant time; a free looks at most at one entry per chunk, and n
 * objects are in at most 1 + log2(n / first chunk) chunks. Steps are not counted. */
#ifndef RATION_POOL_H
#define RATION_POOL_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RATION_POOL_FIXED = 0, /* NULL when all objects are live */
    RATION_POOL_GROWING =
        1, /* a further chunk when all objects are live, each as large as all before it */
    RATION_POOL_SHARED = 2, /* any number of threads at once */
    RATION_POOL_CHUNKS = 32,
};

/* Bytes of buffer that a pool of n objects needs at most. */
#define RATION_POOL_BYTES(object_bytes, alignment, n)                                              \
    (((size_t)(n)) *                                                                               \
         (4 + ((((size_t)(object_bytes)) + (alignment)-1) & ~((size_t)(alignment)-1))) +           \
     128 + (alignment))

struct ration_pool_options {
    const char *name;
    size_t object_bytes; /* at least 1 */
    size_t alignment;    /* a power of two up to 4096; 0: the largest power of two that divides
                            object_bytes, at most 16 */
    size_t n_objects;    /* in the first chunk; with a buffer, 0 means as many as fit */
    unsigned flags;      /* RATION_POOL_… */
    void *buffer;        /* memory of the first chunk; NULL: from the source */
    size_t buffer_bytes;
    const struct ration_source *source; /* needed for GROWING, or without a buffer */
};

struct ration_pool_chunk;

/* A pool. Everything but `heap` is private. */
struct ration_pool {
    struct ration_heap heap;
    struct ration_pool_options options;
    size_t stride;       /* from one object to the next */
    uint64_t reciprocal; /* ceil(2^64 / stride), or 0 */
    uint32_t n_chunks;
    uint32_t grow_lock;
    struct ration_pool_chunk *chunks[RATION_POOL_CHUNKS];
    struct ration_pool
        *created; /* set by ration_pool_create: destroy gives the struct itself back */
    size_t heap_bytes;
    uint64_t n_failures;
    uint64_t n_grows;
    /* What every operation changes, on a cache line of its own. */
    uint64_t head
        __attribute__((aligned(64))); /* count << 32 | number of the top free object + 1, 0: none */
    uint32_t n_used;                  /* objects below are not fresh */
    uint32_t capacity;
    uint64_t n_allocs;
    uint64_t n_frees;
};

/* Starts a pool. Returns &pool->heap, or NULL if an option is not as described or there is no
 * memory for the first chunk. */
struct ration_heap *ration_pool_init(struct ration_pool *pool,
                                     const struct ration_pool_options *options);

/* Makes a pool whose struct and objects come from the process's malloc. NULL if there is no memory.
 * It is published (heap.h). End it
 * with ration_heap_destroy(&pool->heap). Needs a C library. */
struct ration_pool *ration_pool_create(const char *name, size_t object_bytes, size_t n_objects,
                                       unsigned flags);

/* ration_heap_alloc() and ration_heap_free() for a pool, without the way through the handle. */
void *ration_pool_alloc(struct ration_pool *pool);
void ration_pool_free(struct ration_pool *pool, void *object);

#ifdef __cplusplus
}
#endif

#endif
