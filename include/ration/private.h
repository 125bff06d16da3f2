/* The private heap: memory of its own from the system, with a name and a limit, ended as a whole.
 *
 * For a part of a program whose memory shall be counted, bounded and thrown away apart from the
 * rest: a plug-in, a script, a document, a test. Blocks of any size; any thread may allocate and
 * any thread may free. At the limit an allocation returns NULL and the rest of the process goes on.
 *
 * The heap reserves a range of addresses when it starts (no memory yet) and makes its beginning
 * usable as it grows. Inside, a fit heap (fit.h: segregated fits, immediate coalescing, 8 bytes a
 * block) serves under one lock. Two private heaps share nothing.
 *
 * States of the range: USABLE up to the end of the fit heap, rounded up to pages; RESERVED behind.
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1 to I11  those of the fit heap (fit.h);
 *   I12 the fit heap lies in the usable part of the range, and that part within the limit.
 *
 * Threads: any number at once. walk, check and stats hold the lock: a walk's visitor must not use
 * the same heap at all. destroy needs quiet. After fork() a child may use a private heap only if no
 * other thread was inside it at that moment.
 *
 * Bounds: those of the fit heap with segregated fits, and the wait for the lock. Steps are counted.
 *
 * Needs an operating system with mmap and futex (Linux). */
#ifndef RATION_PRIVATE_H
#define RATION_PRIVATE_H

#include <ration/fit.h>
#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ration_private_options {
    const char *name;
    size_t limit_bytes; /* most memory in use, tags included, rounded up to pages; 0: as much as one
                           heap can have, RATION_FIT_MAX_BYTES or what the system grants */
    size_t grow_bytes;  /* memory is made usable in multiples of this; 0: 1 MiB */
    uint64_t secret;    /* as in fit.h */
};

/* Everything but `heap` is private. */
struct ration_private {
    struct ration_heap heap;
    struct ration_fit fit;
    struct ration_misuse caught; /* found under the lock, reported behind it */
    uintptr_t start;             /* of the range */
    size_t reserved_bytes;       /* of the range; the limit, in whole pages */
    size_t usable_bytes;         /* whole pages */
    size_t used_bytes;           /* what the fit heap has */
    uint32_t lock;
};

/* Starts a heap. Returns &own->heap, or NULL if the system grants no range or not the first
 * page. `options` NULL means a zeroed struct. */
struct ration_heap *ration_private_init(struct ration_private *own,
                                        const struct ration_private_options *options);

/* Gives the memory of free blocks back to the system, in whole pages; the addresses stay. Returns
 * the bytes given back. Any thread. */
size_t ration_private_trim(struct ration_private *own);

#ifdef __cplusplus
}
#endif

#endif
