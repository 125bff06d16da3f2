/* What a heap that passes through keeps beside the program's blocks. */
#ifndef RATION_HEAPS_PASSTHROUGH_H
#define RATION_HEAPS_PASSTHROUGH_H

#include "heaps/internal.h"

struct passthrough_entry {
    uintptr_t block; /* 0: empty, 1: removed */
    size_t size;
    uint64_t serial; /* order of allocation */
};

/* One lock around everything: this mode is for finding bugs, shared pools included. */
struct ration_passthrough {
    uint32_t lock;
    struct passthrough_limits limits;
    struct passthrough_entry *entries;
    size_t n_entries; /* a power of two */
    size_t n_filled;  /* live and removed ones */
    uint64_t next_serial;
    void *adopted; /* given back to malloc at the end */
    size_t requested_bytes;
    struct ration_heap_stats stats;
};

#endif
