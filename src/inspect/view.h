/* A view: the heap of this process, or of another that runs the same file, as somebody sees it who
 * only reads.
 *
 * No lock is taken. That works because records of slabs, runs and caches are never unmapped and
 * never change their kind, a slot's state is one byte, and a tag is one word: whatever is read is
 * some past truth about something that exists. What was read in parts may not fit together; every
 * reader checks what it uses as an address, a length or an index.
 *
 * The other process is read with process_vm_readv, which does not stop it. Its variables lie where
 * ours lie, shifted by the distance of the two load addresses. */
#ifndef RATION_INSPECT_VIEW_H
#define RATION_INSPECT_VIEW_H

#include "cache/cache.h"
#include "span/span.h"

enum view_status { VIEW_OK, VIEW_NO_PROCESS, VIEW_DENIED, VIEW_NOT_LOADED, VIEW_UNREADABLE };

struct view {
    int pid; /* 0: this process */
    int pagemap_fd;
    intptr_t shift; /* from a variable of this process to the same one of that process */

    /* Read when the view was opened. */
    unsigned page_shift; /* 0: nothing was ever allocated */
    uintptr_t base;      /* of the window */
    size_t unit_count;
    struct slab **map;
    size_t frontier_pages;
    size_t mapped_pages;
    struct cache *caches;
    struct pages_account account;
    uint32_t slab_records_made[CLASS_COUNT];
};

enum view_status view_open(struct view *v, int pid);
void view_close(struct view *v);

/* Copies `bytes` from an address of the process looked at. False if it has nothing there. */
bool view_read(const struct view *v, void *to, const void *from, size_t bytes);

/* present[i] tells whether page i from `start` on is in memory. False if the system does not say. */
bool view_resident(const struct view *v, uintptr_t start, size_t pages, unsigned char *present);

/* A run of the window. RUN_NONE: nothing that is known. */
struct view_run {
    enum run_kind kind;
    size_t first; /* page */
    size_t pages;
};

/* Goes through the runs in address order. */
enum { TAGS_AT_ONCE = 64 };
struct view_cursor {
    const struct view *v;
    size_t page;       /* the next run begins here */
    size_t tags_first; /* page of tags[0]; SIZE_MAX: none were read yet */
    uint64_t tags[TAGS_AT_ONCE];
};

void view_begin(struct view_cursor *c, const struct view *v, size_t page);
/* False behind the last run. */
bool view_next(struct view_cursor *c, struct view_run *run);

/* A copy of a slab's record, states included. */
union slab_copy {
    struct slab slab;
    unsigned char bytes[sizeof(struct slab) + SLOTS_MAX];
} __attribute__((aligned(64)));

/* The slab whose run begins at `page`. False if there is none (any more). */
bool view_slab(const struct view *v, size_t page, union slab_copy *copy);

/* The free slots of a leased slab's group *group that its lessee took into its mask. 0: none. */
uint64_t view_mask(const struct view *v, const struct slab *copy, unsigned *group);

static inline uintptr_t view_address(const struct view *v, size_t page)
{
    return v->base + (page << v->page_shift);
}

#endif
