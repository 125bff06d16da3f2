/* The last events of each thread, for the history of an address that was used again and again.
 *
 * A ring belongs to its thread, which alone writes it; readers take no lock, and may find an event half written: what they
 * read is compared with the address that they look for, and followed nowhere. The ring of a thread that ended keeps its
 * events, and waits for another thread. */
#ifndef RATION_RECORD_RINGS_H
#define RATION_RECORD_RINGS_H

#include "record/blocks.h"

enum { RING_EVENTS = 8192 };

struct ring_event {
    uintptr_t address;
    uint64_t bytes;
    uint32_t site, thread, ms;
    uint16_t count; /* blocks_note_…: orders the events of one address */
    uint16_t is_free;
};

/* Keeps an event of the calling thread; nothing if out of memory, or after rings_thread_ends. */
void rings_keep(const struct ring_event *event);

/* Calls visit for each event that is kept. */
void rings_visit(void (*visit)(const struct ring_event *event, void *arg), void *arg);

void rings_thread_ends(void);

/* In a child after fork: the rings of all other threads wait. */
void rings_fork_child(void);

#endif
