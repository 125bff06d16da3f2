/* A heap: an object from which a program allocates. One handle and one set of operations for all
 * kinds.
 *
 * The kinds are fit.h, buddy.h, tlsf.h, pool.h, arena.h, private.h and coro.h. Each has a struct of
 * its own whose first member is a `struct ration_heap heap`; pass `&x.heap` to the functions below.
 * The caller owns that struct and the memory behind it, and keeps both in place (a heap is never
 * copied or moved) until ration_heap_destroy().
 *
 * No operation calls malloc, reads errno or needs an operating system, unless the header of the
 * kind says so.
 *
 * Threads: a heap is used by one thread at a time (the caller locks), unless the header of its kind
 * says otherwise. Two heaps never share anything, so two threads may use two heaps freely.
 *
 * Failure: an allocation that cannot be served returns NULL and changes nothing. Misuse (see below)
 * is reported through one replaceable function; if that function returns, the call changes nothing
 * either. */
#ifndef RATION_HEAP_H
#define RATION_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A figure that this kind of heap does not keep. */
#define RATION_UNKNOWN SIZE_MAX

/* What a part of a heap's memory is. */
enum ration_block_state {
    RATION_BLOCK_FREE,    /* can be handed out */
    RATION_BLOCK_LIVE,    /* handed out, not yet freed */
    RATION_BLOCK_TABLE,   /* the heap's own: tables, guard pages, padding, end marks */
    RATION_BLOCK_FOREIGN, /* lies between two parts of the heap but belongs to somebody else */
};

/* One part of a heap's memory as ration_heap_walk() sees it. */
struct ration_block {
    void *address; /* first byte, header included */
    size_t bytes;  /* header and padding included: the parts of a walk add up to stats.heap_bytes +
                      foreign_bytes */
    void *payload; /* what the program holds (live) or would hold (free); NULL for TABLE and FOREIGN
                    */
    size_t usable_bytes; /* bytes from payload that the program may use; 0 for TABLE and FOREIGN */
    size_t requested_bytes; /* what the program asked for; RATION_UNKNOWN where the heap does not
                               keep it */
    enum ration_block_state state;
};

/* Called for each part in address order. Return 0 to go on, anything else to end the walk with that
 * value. It must not call an operation that changes the heap. */
typedef int ration_walk_fn(const struct ration_block *block, void *context);

/* How much work searching was. One step is one look at one thing: a block, a node of a free list,
 * the head of a list, or a word of a bitmap. The header of each kind says which of these it has and
 * what bounds the number. */
struct ration_steps {
    uint64_t last; /* of the last operation of this sort, failed ones included */
    uint64_t max;  /* the largest `last` so far */
    uint64_t all;  /* sum over all operations */
};

/* Figures of a heap. At any time live_usable_bytes + free_bytes + table_bytes == heap_bytes. */
struct ration_heap_stats {
    size_t heap_bytes;        /* memory that the heap manages now */
    size_t heap_bytes_peak;   /* largest heap_bytes so far */
    size_t foreign_bytes;     /* memory of others between the heap's parts (growth by sbrk); not in
                                 heap_bytes */
    size_t live_blocks;       /* blocks handed out now */
    size_t live_usable_bytes; /* sum of their usable bytes */
    size_t live_requested_bytes;  /* sum of what was asked for, or RATION_UNKNOWN */
    size_t live_usable_peak;      /* largest live_usable_bytes so far */
    size_t free_blocks;           /* free blocks */
    size_t free_bytes;            /* sum of their bytes, headers included */
    size_t largest_free_bytes;    /* the largest of them, header included */
    size_t largest_request_bytes; /* largest request of default alignment that would succeed without
                                     growing */
    size_t table_bytes;           /* headers of live blocks, tables, padding, guard pages */
    uint64_t n_allocs;            /* successful allocations, moving resizes included */
    uint64_t n_frees;             /* successful frees, moving resizes included */
    uint64_t n_failures; /* allocations and resizes that returned NULL for want of memory */
    uint64_t n_splits;   /* blocks cut in two */
    uint64_t n_merges;   /* pairs of neighbours made one */
    uint64_t n_grows;    /* times that the heap got more memory */
    struct ration_steps alloc_steps;
    struct ration_steps free_steps;
    struct ration_steps
        resize_steps; /* a resize that moves allocates and frees: all its steps are here */
};

/* What ration_heap_check() found. */
struct ration_finding {
    unsigned invariant; /* number of the first broken invariant as listed in the header of the kind;
                           0: all hold */
    const void *address; /* where, or NULL */
    const char *text;    /* the invariant in words */
};

struct ration_heap;
struct ration_frame;
struct ration_misuse;
struct ration_figures;

/* The operations of one kind. A program may write its own kind; each function has the contract of
 * the ration_heap_… function of the same name, minus what that function says it checks itself. */
struct ration_heap_ops {
    const char *kind;
    void *(*alloc)(struct ration_heap *heap, size_t size, size_t alignment);
    void *(*resize)(struct ration_heap *heap, void *block, size_t size);
    void *(*try_resize)(struct ration_heap *heap, void *block, size_t size);
    void (*free)(struct ration_heap *heap, void *block);
    bool (*owns)(const struct ration_heap *heap, const void *address);
    size_t (*usable_size)(const struct ration_heap *heap, const void *block);
    int (*walk)(const struct ration_heap *heap, ration_walk_fn *visit, void *context);
    void (*check)(const struct ration_heap *heap, struct ration_finding *finding);
    void (*stats)(const struct ration_heap *heap, struct ration_heap_stats *stats);
    void (*destroy)(struct ration_heap *heap);
    const struct ration_figures
        *figures; /* for tools (registry.h); NULL: they see the name alone */
};

/* The handle. Its fields are private to heaps; a kind written by a program starts it with
 * ration_heap_init(). */
struct ration_heap {
    const struct ration_heap_ops *ops;
    const char *name;
    struct ration_frame *frame; /* forbids, counts or diverts allocations (frame.h); NULL: none */
    struct ration_passthrough *through;  /* set: every block comes from plain malloc */
    struct ration_heap *next_published;  /* list of ration_heap_publish() */
    struct ration_heap **published_here; /* link that points at this heap; NULL: not published */
    struct ration_misuse
        *caught;              /* set: a misuse is kept here for the owner of this heap to report */
    size_t default_alignment; /* of ration_heap_alloc(), bytes */
    bool is_shared;           /* any number of threads at once */
};

/* A row of tagged blocks; private to heaps (fit, TLSF). */
struct ration_row {
    uintptr_t start;  /* first byte; a link is (address of a tag - start) / 8 + 1, and 0 is none */
    uintptr_t end;    /* first byte behind the end mark */
    uint64_t secret;  /* mixed into every tag's check value */
    size_t alignment; /* of payloads: 8 or 16 */
};

/* --- operations: the same for every kind --- */

/* Returns at least `size` bytes aligned to the heap's default alignment, or NULL. A size of 0 gives
 * a block of its own with no bytes that may be used. The bytes have any value. */
void *ration_heap_alloc(struct ration_heap *heap, size_t size);

/* The same, the address a multiple of `alignment`. NULL also if `alignment` is not a power of two.
 */
void *ration_heap_alloc_aligned(struct ration_heap *heap, size_t alignment, size_t size);

/* The same as ration_heap_alloc(heap, count * size), all bytes zero. NULL if the product overflows.
 */
void *ration_heap_alloc_zeroed(struct ration_heap *heap, size_t count, size_t size);

/* Makes `block` at least `size` bytes, in place if possible, else by moving it; the contents up to
 * the smaller of both sizes stay. Returns the block's address, or NULL (the old block is then as it
 * was). A block of NULL is allocated; a size of 0 is a size like any other. A moved block has the
 * default alignment. */
void *ration_heap_resize(struct ration_heap *heap, void *block, size_t size);

/* The same, but never moves: returns `block`, or NULL if it has to stay as it is. */
void *ration_heap_try_resize(struct ration_heap *heap, void *block, size_t size);

/* Gives `block` back. NULL is allowed and does nothing. */
void ration_heap_free(struct ration_heap *heap, void *block);

/* The same from a caller that knows how much it asked for: a size that the block cannot have is
 * reported as "size mismatch", and the block stays live. */
void ration_heap_free_sized(struct ration_heap *heap, void *block, size_t size);

/* Tells whether `address` lies in the memory from which this heap hands out blocks; says nothing
 * about its state. */
bool ration_heap_owns(const struct ration_heap *heap, const void *address);

/* Bytes of a live block that the program may use: at least what it asked for. NULL gives 0. */
size_t ration_heap_usable_size(const struct ration_heap *heap, const void *block);

/* Visits every part of the heap's memory in address order. Returns 0, or what ended the walk. */
int ration_heap_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context);

/* Checks every invariant of the kind; takes time linear in the number of blocks. Returns the number
 * of the first one broken and fills `finding` (which may be NULL), or returns 0. Reports nothing,
 * changes nothing. */
unsigned ration_heap_check(const struct ration_heap *heap, struct ration_finding *finding);

/* Fills `stats`. Counting free blocks takes time linear in the number of blocks in most kinds. (The
 * struct has the function's name, as with stat(2): C++ says `struct ration_heap_stats`.) */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
void ration_heap_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);
#pragma GCC diagnostic pop

/* Ends the heap and every block in it: memory that it got from a source or by growing goes back,
 * the caller's buffer is the caller's again. A later use of the handle is reported as "use after
 * free". */
void ration_heap_destroy(struct ration_heap *heap);

/* The name given at the start ("unnamed" if none) and the kind: "fit", "buddy", "tlsf", "pool",
 * "arena", "private", "stacks"; "passthrough" while blocks come from plain malloc. */
const char *ration_heap_name(const struct ration_heap *heap);
const char *ration_heap_kind(const struct ration_heap *heap);

/* Starts the handle of a kind written by a program. `name` is not copied; NULL is allowed. */
void ration_heap_init(struct ration_heap *heap, const struct ration_heap_ops *ops, const char *name,
                      size_t default_alignment);

/* --- published heaps: those that tools may list --- */

/* Adds the heap to the process's list. Only for heaps whose handle outlives its place in the list;
 * destroy takes it off. Any thread; twice is the same as once. */
void ration_heap_publish(struct ration_heap *heap);
void ration_heap_unpublish(struct ration_heap *heap);

/* Calls `visit` for each published heap, newest first, under the list's lock: it must not publish
 * or destroy. Returns 0, or the first other value that `visit` returned. Statistics of a heap that
 * another thread is using are torn. */
int ration_heaps_each(int (*visit)(struct ration_heap *heap, void *context), void *context);

/* Writes a table of the published heaps to the file descriptor, a line each: name, kind, bytes,
 * live bytes and their peak, live blocks, allocations, frees, failures. Returns 0, or -1 in a
 * program without write(2).
 *
 * A process that runs under libration has published heaps in libration's own statistics too (its
 * ledger, `ration stats PID`). RATION=stats=1 in the environment prints them to stderr at exit:
 * libration with its ledger, or without libration this table. */
int ration_heaps_print(int file);

/* --- where kinds that grow get memory --- */

/* A source of memory. All of `take` and `give` must be set; a source outlives every heap that uses
 * it. */
struct ration_source {
    /* Returns `bytes` bytes aligned to `alignment` (a power of two), or NULL. */
    void *(*take)(void *context, size_t bytes, size_t alignment);
    /* Takes back exactly what `take` returned, with the same `bytes`. */
    void (*give)(void *context, void *memory, size_t bytes);
    /* Makes page-aligned memory from `take` untouchable (`accessible` false) or usable again.
     * Returns 0, or another value if the system refuses. May be NULL where guard pages are not
     * needed. */
    int (*protect)(void *context, void *memory, size_t bytes, bool accessible);
    void *context;
};

/* Whole pages from the system (mmap). Needs an operating system; the only source here with
 * `protect`. */
const struct ration_source *ration_source_system(void);

/* The process's malloc. Needs a C library. */
const struct ration_source *ration_source_malloc(void);

/* --- misuse --- */

enum ration_misuse_kind {
    RATION_DOUBLE_FREE,          /* the block is free already */
    RATION_INVALID_FREE,         /* the address never came from this heap */
    RATION_INTERIOR_FREE,        /* the address lies inside a live block, not at its start */
    RATION_MISALIGNED_FREE,      /* the address is not aligned as every block is */
    RATION_SIZE_MISMATCH,        /* the size that was handed back is not the block's */
    RATION_USE_AFTER_FREE,       /* the heap was destroyed, or a free block was written to */
    RATION_OVERFLOW,             /* the memory right behind a block was written to */
    RATION_CORRUPT_HEAP,         /* a header or a table does not agree with itself */
    RATION_FORBIDDEN_ALLOCATION, /* an allocation inside a frame that forbids it (frame.h) */
};

struct ration_misuse {
    enum ration_misuse_kind kind;
    const void *address;            /* what was passed in, or where the damage is */
    const struct ration_heap *heap; /* NULL if none is involved */
    const char *operation;          /* "free", "resize", "usable size", "alloc" … */
    const char *detail;             /* one sentence, static text: what was found */
    const void *block;              /* the block concerned, or NULL */
    size_t block_bytes; /* its usable bytes; the size asked for in a forbidden allocation */
    const char *advice; /* one sentence: what to do next */
    const struct ration_frame *frame; /* the frame that forbids; NULL in every other kind */
};

/* Called once per detected misuse, by the thread that did it. It may return, abort or long-jump
 * away; the heap is unchanged. */
typedef void ration_misuse_fn(const struct ration_misuse *misuse);

/* Replaces the function, returns the one before. NULL brings back the default: in a program with a
 * C library, one report on stderr whose first line is `ration: KIND at 0xADDRESS …`, then abort
 * (RATION=on_error=report goes on after the report, on_error=ignore goes on silently); in a program
 * without one, a trap instruction. Any thread. */
ration_misuse_fn *ration_misuse_handler(ration_misuse_fn *handler);

/* Writes the report of the default into `text`, at most `capacity` bytes with the final NUL;
 * returns its length. */
size_t ration_misuse_text(const struct ration_misuse *misuse, char *text, size_t capacity);

/* "double free" …: the word in the report's first line. */
const char *ration_misuse_kind_name(enum ration_misuse_kind kind);

/* --- watching a heap work: kinds that say so in their options (fit, buddy, TLSF) --- */

/* What a heap did, one event a step, in the order in which it happens. `block` is the first byte of
 * a block, its tag included where the kind has tags; sizes are those of whole blocks. */
enum ration_event_kind {
    RATION_EVENT_REQUEST, /* an allocation that needs a block of `bytes` begins; block NULL */
    RATION_EVENT_EXAMINE, /* a search looks at the free block `block` of `bytes` */
    RATION_EVENT_CLASS,   /* a search turns to the list of number `list`; block NULL */
    RATION_EVENT_REMOVE,  /* the free block leaves its list */
    RATION_EVENT_SPLIT, /* the block of `bytes` is cut; `other` is the first byte of the second part
                         */
    RATION_EVENT_TAKE,  /* the block of `bytes` is now live */
    RATION_EVENT_FAIL,  /* the request of `bytes` cannot be served; block NULL */
    RATION_EVENT_RELEASE, /* the live block of `bytes` is given back */
    RATION_EVENT_MERGE, /* `block` and its neighbour `other` above it become one block of `bytes` */
    RATION_EVENT_INSERT,   /* the free block enters the list, behind `other` (NULL: at the front) */
    RATION_EVENT_PASS,     /* an insertion into an ordered list steps past `block` */
    RATION_EVENT_RESIZE,   /* the live block changes in place to `bytes` */
    RATION_EVENT_GROW,     /* the heap got `bytes` more; block is the first new byte */
    RATION_EVENT_SHRINK,   /* the heap gave its last `bytes` back; block is the new end */
    RATION_EVENT_COALESCE, /* a deferred pass over all blocks begins; block NULL */
};

struct ration_event {
    enum ration_event_kind kind;
    unsigned list; /* number of the list concerned; buddy: log2 of the block size */
    const void *block;
    const void *other;
    size_t bytes;
};

/* Called between the steps of an operation: the heap must not be used or walked inside it. */
typedef void ration_observe_fn(void *context, const struct ration_event *event);

/* --- hunting bugs --- */

/* Makes every heap that is *started* from now on take each block from plain malloc and give it back
 * to plain free, so that AddressSanitizer, valgrind or a hardened malloc see every block. Limits
 * still hold, walk, statistics and destroy still work; double frees and overflows are then the
 * other tool's to report. RATION=pools=passthrough in the environment is the same from the start.
 * Returns 0, or -1 in a program without malloc. Any thread. */
int ration_heaps_passthrough(bool on);

#ifdef __cplusplus
}
#endif

#endif
