/* Recording: a listener to events (core/events.h) that keeps of each block who asked for it, and of each address what
 * happened to it. On by RATION=stacks=N, or by RATION=log (then without callers unless stacks=N says so).
 *
 * All that it keeps is in the allocator's own memory, written without locks: sites (callers/sites.h), blocks, rings. */
#ifndef RATION_RECORD_RECORD_H
#define RATION_RECORD_RECORD_H

#include "record/blocks.h"

#include <ration/history.h>

/* True once recording has begun. */
extern bool record_is_on HIDDEN;

/* Begins to record, with up to n_callers callers of each event. False, with nothing begun, if the program has threads
 * already or memory is out; that callers cannot be had is told on stderr. */
bool record_begin(unsigned n_callers);

/* Milliseconds since the time that an event tells. */
uint64_t record_age_ms(uint32_t ms);

/* The bytes that the program asked for at a live block's address, or SIZE_MAX if not recorded. */
size_t record_requested(uintptr_t address);

#endif
