#include "core/large.h"

#include "base/bits.h"
#include "core/core.h"
#include "core/purge.h"
#include "os/os.h"
#include "span/span.h"

#include <string.h>

/* Moving pages costs a system call and page-table work, as much as copying some dozens of pages. */
#define MOVE_BYTES KIB(128)

/* No process has more addresses: such requests fail before anything is looked up. */
#define ADDRESSES ((size_t)1 << 48)

void *large_alloc(size_t n, size_t align, bool zero)
{
    if (n >= ADDRESSES || align >= ADDRESSES)
        return out_of_memory();
    bool is_zero;
    void *p = span_alloc(max_size(n, 1), align, RUN_LARGE, &is_zero);
    if (p == NULL)
        return out_of_memory();
    if (zero && !is_zero)
        memset(p, 0, n);
    return p;
}

size_t large_bytes(const void *p)
{
    return span_in_use_bytes((uintptr_t)p, RUN_LARGE);
}

bool large_free(void *p)
{
    size_t bytes = span_release((uintptr_t)p, RUN_LARGE);
    if (bytes == 0)
        return false;
    purge_note(bytes);
    return true;
}

void *large_resize(void *p, size_t had, size_t n)
{
    if (n >= ADDRESSES)
        return NULL;
    if (n <= had) {
        span_trim(p, n);
        if (had - n >= os->page_bytes())
            purge_note(had - n);
        return p;
    }
    void *q = span_extend(p, n) ? p : had >= MOVE_BYTES ? span_move(p, n, 1) : NULL;
    purge_growth();
    return q;
}
