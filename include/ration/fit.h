/* The fit heap: the classic allocator with boundary tags over memory of the caller, every policy
 * selectable.
 *
 * Memory is a row of blocks. Each begins with a tag of 8 bytes (its size, whether it is live,
 * whether the block before is live, and a check value bound to the tag's address); a free block
 * also has two links of 4 bytes and, unless it is the smallest possible (16 bytes), its size again
 * in its last 8 bytes, so that neighbours are found in one step. A live block costs 8 bytes. Free
 * blocks are kept in lists (or in none: RATION_FIT_IMPLICIT).
 *
 * States of a block: FREE (the heap owns it, it is in exactly one list), LIVE (the program owns all
 * but the tag), FOREIGN (a gap that another user of the same sbrk made; nobody's).
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  the row of blocks fills the heap exactly: from the first tag, each tag's size leads to the
 * next tag, the last leads to the end mark; I2  every tag's check value fits its address and
 * contents; I3  every size is a multiple of the heap's alignment and at least 16 bytes; I4  every
 * tag tells the truth about the block before it: whether it is live, and whether it is a free block
 * of the smallest size; I5  every free block above 16 bytes repeats its size in its last 8 bytes;
 *   I6  with immediate coalescing no two free blocks are neighbours;
 *   I7  every free block is in exactly one list, the one for its size, and a list holds nothing
 * else; I8  the links of every list agree in both directions; I9  every list keeps its order
 * (address or size); I10 the bitmap of lists that are not empty is right, and the rover of next fit
 * is a free block or none; I11 the counters agree with the blocks: live, free, usable bytes, heap
 * bytes.
 *
 * Threads: one at a time.
 *
 * Bounds: n is the number of blocks in the list that is searched. first, next, best and worst fit:
 * n + 1 steps for an allocation at most; segregated fits: the nodes of one class, plus one step for
 * each word of the bitmap (6 at most) and one for the class that follows. Freeing: at most 2 steps
 * to merge, plus the way to the block's place in the list (LIFO 0, address and size order n).
 * Deferred coalescing adds one pass over all blocks when it happens, one step each.
 *
 * Source: boundary tags and the policies are those of Knuth, The Art of Computer Programming
 * 1, 2.5; the names and the order choices follow Wilson, Johnstone, Neely, Boles, "Dynamic Storage
 * Allocation: A Survey and Critical Review" (1995). */
#ifndef RATION_FIT_H
#define RATION_FIT_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most memory that one fit heap manages: from its first byte to its last, gaps included. */
#define RATION_FIT_MAX_BYTES ((size_t)1 << 35)

/* Which free block serves a request. The first of each list of choices is what a zeroed struct
 * selects. */
enum ration_fit_policy {
    RATION_FIT_SEGREGATED, /* one list per size class; first fit within the class, then any block of
                              a larger class */
    RATION_FIT_FIRST,      /* the first that is large enough, from the start of the list */
    RATION_FIT_NEXT,       /* the same, but from where the last search ended, once around */
    RATION_FIT_BEST,       /* the smallest that is large enough; an exact one ends the search */
    RATION_FIT_WORST,      /* the largest */
};

/* How a list of free blocks is ordered. */
enum ration_fit_order {
    RATION_FIT_LIFO,     /* a freed block goes to the front */
    RATION_FIT_ADDRESS,  /* by address, lowest first */
    RATION_FIT_SIZE,     /* by size, smallest first; equal ones by arrival, last first */
    RATION_FIT_IMPLICIT, /* no list: a search walks all blocks in address order (not with
                            SEGREGATED) */
};

/* When free neighbours become one block. */
enum ration_fit_coalescing {
    RATION_FIT_IMMEDIATE, /* at each free */
    RATION_FIT_DEFERRED,  /* in one pass, when a request finds nothing, or after `defer_frees` frees
                           */
    RATION_FIT_NEVER,
};

/* Growth, with the semantics of sbrk(2): moves the end of the heap by `increment` bytes and returns
 * the old end, or (void *)-1 if that is impossible; 0 only reads the end; a negative increment
 * gives memory back. It need not return the end that this heap knows: if somebody else moved it,
 * the gap becomes a FOREIGN block. */
typedef void *ration_fit_grow_fn(void *context, intptr_t increment);

/* Choices. A zeroed struct is a good general heap: segregated fits, LIFO, immediate coalescing,
 * splitting. */
struct ration_fit_options {
    const char *name;
    enum ration_fit_policy policy;
    enum ration_fit_order order;
    enum ration_fit_coalescing coalescing;
    unsigned defer_frees; /* DEFERRED: coalesce after so many frees; 0: only when a request finds
                             nothing */
    bool no_splitting;    /* hand out whole free blocks, however large */
    size_t min_remainder_bytes; /* split only if the rest has at least so many bytes; 0: the
                                   smallest block, 16 */
    unsigned alignment;         /* of every payload: 16 (or 0), or 8 */
    unsigned class_steps; /* SEGREGATED: size classes per doubling: 1 (powers of two), 2, 4 or 8 (or
                             0: 8) */
    ration_fit_grow_fn *grow; /* NULL: the buffer is all there is */
    void *grow_context;
    size_t grow_bytes; /* grow by multiples of this; 0: by exactly what the request needs */
    ration_observe_fn
        *observe; /* NULL: no events; may be changed later with ration_fit_observe() */
    void *observe_context;
    uint64_t secret; /* mixed into every tag's check value, for heaps that face hostile writes */
};

enum {
    RATION_FIT_LISTS = 256,      /* 32 doublings from 16 bytes, 8 lists each */
    RATION_FIT_BITMAP_WORDS = 4, /* one bit a list */
};

/* A fit heap. Everything but `heap` is private. */
struct ration_fit {
    struct ration_heap heap;
    struct ration_row row;
    struct ration_fit_options options;
    size_t min_remainder; /* a rest of so many bytes becomes a block of its own */
    unsigned class_shift; /* log2 of size classes per doubling */
    uint32_t rover;       /* next fit: link to where the next search begins; 0: at the front */
    unsigned frees_since_pass;
    uint64_t nonempty[RATION_FIT_BITMAP_WORDS];
    uint32_t first[RATION_FIT_LISTS]; /* links to the first block of each list */
    uint64_t steps;                   /* of the operation in progress */
    struct ration_heap_stats stats; /* counters kept all the time; the rest is counted on request */
};

/* Starts a heap over `buffer`, which stays the caller's and holds the blocks alone; this struct is
 * kept elsewhere by the caller. `options` NULL means a zeroed struct. With `grow` set, `buffer` may
 * be NULL: the heap then begins at the end that grow(0) reports, or continues behind `buffer` if
 * its end is that end. Returns &fit->heap, or NULL if the buffer has no room for one block, is
 * larger than RATION_FIT_MAX_BYTES, or an option has a value that is not listed. */
struct ration_heap *ration_fit_init(struct ration_fit *fit, void *buffer, size_t bytes,
                                    const struct ration_fit_options *options);

/* Sets or ends (NULL) the observer. Off, it costs one predictable branch a step. */
void ration_fit_observe(struct ration_fit *fit, ration_observe_fn *observe, void *context);

/* Merges all free neighbours now. For DEFERRED and NEVER; with IMMEDIATE there is nothing to do. */
void ration_fit_coalesce(struct ration_fit *fit);

/* Gives the free block at the end of the heap, but for `keep` bytes of it, back through `grow`.
 * Returns the bytes given back: 0 if the last block is live, too small, or the end has been moved
 * by somebody else. */
size_t ration_fit_trim(struct ration_fit *fit, size_t keep);

/* The links of list `list` for a picture: the first free block of it, then the next of each; NULL
 * at the end. The addresses are those of ration_event.block. `list` below
 * ration_fit_list_count(). */
unsigned ration_fit_list_count(const struct ration_fit *fit);
const void *ration_fit_list_first(const struct ration_fit *fit, unsigned list);
const void *ration_fit_list_next(const struct ration_fit *fit, const void *block);

/* The number of the list for a block of `bytes` (tag included), and the smallest block that belongs
 * to `list`. */
unsigned ration_fit_list_of(const struct ration_fit *fit, size_t bytes);
size_t ration_fit_list_min_bytes(const struct ration_fit *fit, unsigned list);

#ifdef __cplusplus
}
#endif

#endif
