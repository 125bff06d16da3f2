/* An area: a contiguous range for the allocator's own tables, mapped from its start upward as they grow, never given
 * back. The range itself is not reserved (see window.h). Callers hold a lock of theirs around area_reach. */
#ifndef RATION_AREA_AREA_H
#define RATION_AREA_AREA_H

#include "base/compiler.h"

struct area {
    uintptr_t start;
    size_t limit_bytes;  /* the range ends here */
    size_t mapped_bytes; /* of it, this much is mapped; <= limit_bytes */
    bool reserved;
};

/* Makes the first `bytes` of the area usable (zero when new). False if out of memory: nothing has changed. */
bool area_reach(struct area *a, size_t bytes);

#endif
