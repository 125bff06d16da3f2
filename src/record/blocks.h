/* What is recorded of each block: who asked for it, when, for how much, and who freed it last.
 *
 * A side table by address: for each unit of the window in which blocks begin, a row of records, one for each slot of the
 * slab there, or for each page where large blocks begin. Its memory is the allocator's own (area/records.h).
 *
 * States of a record, and who writes it: *live* or *freed*, written by whoever is told of the block's allocation or free
 * (core/events.h, E3: one at a time); *unknown* when its class is not that of the slab, so that it tells of a block of
 * another time. Readers take no lock and may see half of a change: nothing that they read is followed as a pointer.
 *
 * Invariants:
 *  B1  a record whose class is that of the slab at its address tells of the last block that began there and was told.
 *  B2  a live block that was told has its record (unless memory was out), and the record is not freed.
 *  B3  a row has a place for each slot of the slab at its unit; a row that is too short is replaced while no block lives there. */
#ifndef RATION_RECORD_BLOCKS_H
#define RATION_RECORD_BLOCKS_H

#include "slab/slab.h"

/* What was recorded of one block; `freed.thread` is 0 while it lives. */
struct block_facts {
    uintptr_t address; /* where it begins */
    size_t bytes;
    unsigned count; /* events of this address, modulo COUNT_LIMIT */
    struct block_event {
        uint32_t site, thread, ms;
    } made, freed;
};

enum { COUNT_LIMIT = 1 << 10 };

/* After the window is open. False if out of memory. Idempotent. */
bool blocks_begin(void);

/* The block at `address`, live, was made, or is about to be freed. Returns the event's count. */
unsigned blocks_note_made(uintptr_t address, size_t bytes, const struct block_event *event);
unsigned blocks_note_freed(uintptr_t address, const struct block_event *event);
/* It is not freed after all. */
void blocks_note_kept(uintptr_t address);

/* What is known of the block that begins at `address`, live or not. False: nothing. Takes no lock. */
bool blocks_at(uintptr_t address, struct block_facts *facts);

/* The same of the block that holds `address`; may take the span lock. */
bool blocks_find(uintptr_t address, struct block_facts *facts);

#endif
