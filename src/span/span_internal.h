/* What the files of span/ share: the state, the tags, and free runs. Everything here: span lock held. */
#ifndef RATION_SPAN_INTERNAL_H
#define RATION_SPAN_INTERNAL_H

#include "base/bits.h"
#include "os/lock.h"
#include "span/kept.h"
#include "span/span.h"

enum {
    CHUNK_PAGES = 8192, /* pages whose tags lie together */
    CHUNK_COUNT = 32768,
    RELEASED_MAX = 16,
    SPARE_RECORDS = 8,
    RECORDS_PER_TAKE = 8,
    TAG_KIND_BITS = 3,
    TAG_KIND_MASK = (1 << TAG_KIND_BITS) - 1,
};

struct span_state {
    struct lock lock;
    struct run *tree[RUN_KIND_COUNT]; /* free runs, by kind */
    struct run *oldest, *newest;      /* dirty runs */
    struct run *spare;                /* unused records */
    size_t spare_count;
    size_t frontier; /* pages below it belong to some run */
    size_t mapped;   /* pages below it were mapped once, but for the skipped ones; >= frontier */
    size_t skipped;  /* pages below the frontier that somebody else keeps from us */
    size_t pages[RUN_KIND_COUNT];
    size_t runs[RUN_KIND_COUNT];
    uint64_t *first_tags; /* of chunk 0 */
    struct slab *no_slab;
    bool no_huge;          /* huge pages come unasked: ask for none */
    enum pages_reason why; /* whom fresh pages are mapped for now */
};

/* Pages of a run. */
struct part {
    size_t first, pages;
};

/* A ring: the k-th run ever released is at k % RELEASED_MAX, and not filed yet if filed <= k < added. */
struct released {
    struct released_run {
        size_t first, pages;
        uint64_t stamp_ms;
    } runs[RELEASED_MAX];
    size_t added;
    size_t filed;
};

/* Runs by their number in the row, the oldest first. What the first line says is looked at without the lock, to see whether it
 * pays to take it. */
struct kept_row {
    struct lock lock;
    uint32_t n;
    uint32_t pages;            /* of all of them */
    uint32_t present;          /* bit k: one has k + 1 pages; bit 31: or more */
    uint32_t requests, served; /* hints: of the last few dozen, how many got a kept run */
    uint32_t closed;           /* hint: so many frees more are turned away */
    int32_t more_runs; /* by tags than span.runs counts: a cut makes one more, a merge one less */
    uint8_t lengths[KEPT_RUNS_MAX];
    uint32_t firsts[KEPT_RUNS_MAX] LINE_ALIGNED;
    uint32_t stamps_ms[KEPT_RUNS_MAX]; /* low 32 bits */
} LINE_ALIGNED;
_Static_assert((uint64_t)CHUNK_PAGES *CHUNK_COUNT <= UINT32_MAX, "a page fits into a row");
_Static_assert(KEPT_BYTES_EACH / KIB(4) <= 32, "a length has a bit");

extern struct kept_row kept_rows[KEPT_ROWS] HIDDEN;
extern struct released released HIDDEN;
extern struct span_state span HIDDEN;
/* Not in the structure, whose lock begins with a rank: among zeros it takes no place in the library's file. */
extern uint64_t *span_tags[CHUNK_COUNT] HIDDEN;

/* Where the tags of chunk c are found. The first chunk is all that a small program has: it needs no page of the table. */
static inline uint64_t **tag_chunk(size_t c)
{
    return c == 0 ? &span.first_tags : &span_tags[c];
}

static inline size_t page_of(uintptr_t address)
{
    return (address - window.base) >> page_shift;
}

static inline uintptr_t address_of(size_t page)
{
    return window.base + (page << page_shift);
}

/* The first page at or after `page` whose address is a multiple of align_pages pages: addresses count, for the window
 * itself is aligned to 1 GiB only. */
static inline size_t page_aligned(size_t page, size_t align_pages)
{
    size_t base_pages = window.base >> page_shift;
    return align_up(base_pages + page, align_pages) - base_pages;
}

static inline size_t pages_for(size_t bytes)
{
    return (bytes + ((size_t)1 << page_shift) - 1) >> page_shift;
}

static inline uint64_t tag_at(size_t page)
{
    const uint64_t *chunk = atomic_load_relaxed(tag_chunk(page / CHUNK_PAGES));
    return chunk == NULL ? 0 : atomic_load_relaxed(&chunk[page % CHUNK_PAGES]);
}

static inline enum run_kind tag_kind(uint64_t tag)
{
    return (enum run_kind)(tag & TAG_KIND_MASK);
}

static inline bool kind_is_free(enum run_kind kind)
{
    return kind >= RUN_DIRTY;
}

static inline struct run *tag_run(uint64_t tag)
{
    return (struct run *)(tag & ~(uint64_t)TAG_KIND_MASK);
}

/* Of a large block's tag: it was freed, and its run is kept (span/kept.h). */
#define TAG_KEPT ((uint64_t)1 << 63)
/* The same, and a thread has it in its pocket (span/pocket.h); and it has been there for a while. */
#define TAG_POCKET ((uint64_t)1 << 62)
#define TAG_OLD    ((uint64_t)1 << 61)

static inline size_t tag_pages(uint64_t tag)
{
    return (tag & ~(TAG_KEPT | TAG_POCKET | TAG_OLD)) >> TAG_KIND_BITS;
}

/* What a run is to those who look: a kept one is no block. */
static inline enum run_kind tag_shows(uint64_t tag)
{
    bool is_kept = tag_kind(tag) == RUN_LARGE && (tag & (TAG_KEPT | TAG_POCKET)) != 0;
    return is_kept ? RUN_RELEASED : tag_kind(tag);
}

static inline uint64_t tag_of_use(size_t pages, enum run_kind kind)
{
    return (uint64_t)pages << TAG_KIND_BITS | kind;
}

static inline bool tag_change(size_t page, uint64_t from, uint64_t to)
{
    return atomic_cas_acquire(&(*tag_chunk(page / CHUNK_PAGES))[page % CHUNK_PAGES], from, to);
}

void tag_set(size_t page, uint64_t tag);
/* Adds TAG_POCKET to the tag of a large block that nobody else frees. */
void tag_pocket(size_t page, uint64_t tag);
/* Gives back the run that begins there if `tag` is still its own. Takes the span lock. */
bool run_give_back(size_t first, uint64_t tag, uint64_t stamp_ms);
/* Adds TAG_KEPT to the tag of a large block of so many pages; false if it is none any more. No lock. */
bool tag_keep(size_t first, size_t pages);
/* Takes the tag of a run in use away before anybody else frees it; false if somebody did. */
bool tag_claim(size_t first, uint64_t tag);
/* Marks [first, first + pages) as one run in use. */
void tag_in_use(size_t first, size_t pages, enum run_kind kind);
void tag_nothing(size_t first, size_t pages, enum run_kind was);

/* Makes sure that the next few free runs find a record even if no memory is to be had then, and that the tags
 * of pages below `end` exist. */
bool span_prepare_records(size_t end);

/* Adds free pages and merges them with free neighbours of their kind. Never fails: without a record they are held. */
void free_run_add(size_t first, size_t pages, enum run_kind kind, uint64_t stamp_ms);
/* A run is free and dirty from now on; it is filed later: by the RELEASED_MAX-th release after this one, or when all are
 * settled. Filing reads and writes cold lines (neighbours, tree, queue), longer than all the rest of a free takes. */
void free_run_release(size_t first, size_t pages, uint64_t stamp_ms);
/* Files all of them: before anything looks for free runs. */
void free_runs_settle(void);
/* Takes a free run out of its tree and queue; its tags are cleared, its record goes back. Copies it out first. */
struct run free_run_take(struct run *r);
/* Takes [first, first + pages), fewer than all, out of dirty run r; what is left keeps its age and its place in the queue. */
void free_run_cut(struct run *r, size_t first, size_t pages);
/* Takes [first, first + pages) out of free run r; the rest stays free. */
void free_run_carve(struct run *r, size_t first, size_t pages);

/* Maps the void pages [first, first + pages). */
bool map_void(size_t first, size_t pages);
/* Moves the frontier so that [*first, *first + pages) aligned to align_pages lies below it, mapped and zero. */
bool frontier_take(size_t pages, size_t align_pages, size_t *first);
/* The same for exactly the pages at the frontier: never beyond what somebody else mapped. */
bool frontier_extend(size_t pages);

#endif
