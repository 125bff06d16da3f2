/* What happened to an address: the last allocations and frees of it, with call stacks.
 *
 * Recorded while RATION=stacks=N or RATION=log is on (N frames, 0: none). The last allocation of an address and its free are
 * kept as long as the memory serves blocks of one size; older events as long as they are among the last 8192 of their thread.
 *
 * Nothing here allocates. To find where a block above 16 KiB begins a lock of the allocator is taken: not for signal handlers.
 * Safe after fork, and from any thread. */
#ifndef RATION_HISTORY_H
#define RATION_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ration_history_kind {
    RATION_HISTORY_ALLOCATED,
    RATION_HISTORY_FREED, /* also by a realloc that moved it or changed its size */
};

struct ration_history_event {
    enum ration_history_kind kind;
    uint32_t thread;          /* the system's number of it */
    uint64_t age_ms;          /* so long ago, give or take 4 ms */
    size_t bytes;             /* asked for; 0 for a free */
    const uintptr_t *callers; /* return addresses, innermost first; they stay */
    size_t n_callers;
};

/* Fills `events` with up to `max` events of the block that holds `address`, the latest first. Returns how many; 0 if nothing
 * is known, or nothing recorded. */
size_t ration_history(const void *address, struct ration_history_event *events, size_t max);

#ifdef __cplusplus
}
#endif
#endif
