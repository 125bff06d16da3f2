/* Counting the heap: what malloc_info, mallinfo2, malloc_stats and the ledger at exit print.
 *
 * Taken by walking the records, so the fast paths count nothing. Other threads may go on meanwhile: each number is right
 * for some moment of the walk. Allocates nothing. */
#ifndef RATION_INSPECT_TALLY_H
#define RATION_INSPECT_TALLY_H

#include "sizeclass/sizeclass.h"

struct class_tally {
    size_t slabs;
    size_t slots;
    size_t live; /* slots */
};

struct tally {
    struct class_tally classes[CLASS_COUNT];
    size_t small_live_bytes; /* usable bytes of live small blocks */
    size_t small_free_bytes; /* free slots of slabs, whether their pages are purged or not */
    size_t large_live_bytes;
    size_t large_blocks;
    size_t slab_bytes;
    size_t dirty_bytes; /* free runs that may hold memory */
    size_t clean_bytes; /* free runs that cost no memory */
    size_t void_bytes;  /* free runs that are not mapped */
    size_t mapped_bytes;
    size_t record_bytes;
};

void tally_take(struct tally *t);

/* Calls visit for each live block that starts in [base, base + bytes), in address order. visit must not allocate. */
void tally_visit_blocks(uintptr_t base, size_t bytes,
                        void (*visit)(uintptr_t block, size_t usable, void *arg), void *arg);

/* Writes the ledger as text through `write`. */
void tally_print(const struct tally *t, void (*write)(const char *chars, size_t n));

#endif
