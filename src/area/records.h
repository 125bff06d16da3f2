/* Memory for the allocator's own records: slab records, run records, caches, tables.
 *
 * It is taken from a small block in the library's own data first, so that a small program needs no mapping for it, then
 * from an area far from all user data. Zero when handed out; never given back: who needs reuse keeps a free list of one
 * kind, so a stale pointer to a record always points to a record of that kind. Aligned to 64 bytes. Thread-safe. */
#ifndef RATION_AREA_RECORDS_H
#define RATION_AREA_RECORDS_H

#include "area/area.h"
#include "os/lock.h"

enum {
    FIRST_BLOCK_BYTES = 96 << 10,
    RECORDS_TABLE_BYTES = 16 << 10, /* a request of so much is a table */
    /* Left before the first table, so that a small program's next records lie on one page with its first ones. */
    RECORDS_ROOM_BYTES = 512,
};

/* Written under the lock; who only looks at where records lie may read it without. */
struct records_state {
    struct lock lock;
    size_t first_used; /* bytes of the first block, the room included */
    size_t room_start; /* in the first block */
    size_t room_bytes; /* that are left of it */
    bool room_made;
    size_t area_used; /* bytes of the area */
    struct area area;
};
extern struct records_state records HIDDEN;
extern unsigned char records_first_block[FIRST_BLOCK_BYTES] HIDDEN;

/* Null if out of memory. */
void *records_take(size_t bytes);

/* Writes, without a change, to the page behind the one on which the first block begins: nearly every program that allocates
 * at all uses it, and one that measures its own requests then finds it there. */
void records_touch(void);

/* Where records come from once the first block is used up; called when the window opens. */
void records_place(uintptr_t start, size_t limit_bytes, bool reserved);

size_t records_used_bytes(void);

void records_fork_child(void);
/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void records_fork_prepare(bool nested);
bool records_lock_is_mine(void);
void records_fork_parent(void);

#endif
