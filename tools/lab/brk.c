#include "brk.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page_bytes = 4096, wide_bytes = 1 << 30 };

int brk_open(struct brk *brk, size_t limit_bytes)
{
    const size_t alignment = limit_bytes >= wide_bytes ? wide_bytes : page_bytes;
    const size_t bytes = limit_bytes + 2 * alignment;
    void *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return -1;
    char *start = (char *)(((uintptr_t)mapping + alignment - 1) & ~(uintptr_t)(alignment - 1));
    *brk = (struct brk){.start = start,
                        .end = start,
                        .limit_bytes = limit_bytes,
                        .mapping = mapping,
                        .mapping_bytes = bytes};
    return 0;
}

void brk_close(struct brk *brk)
{
    if (brk->mapping != NULL)
        munmap(brk->mapping, brk->mapping_bytes);
    *brk = (struct brk){0};
}

/* What a lowered break gave up must read as zero later: whole pages back to the system, the rest
 * of the first one cleared. */
static void drop(char *from, char *to)
{
    char *page = (char *)(((uintptr_t)from + page_bytes - 1) & ~(uintptr_t)(page_bytes - 1));
    if (page > to)
        page = to;
    memset(from, 0, (size_t)(page - from));
    if (to > page)
        madvise(page, (size_t)(to - page), MADV_DONTNEED);
}

void *brk_move(struct brk *brk, intptr_t increment)
{
    char *const before = brk->end;
    if (increment == 0)
        return before;
    const size_t used = brk_bytes(brk);
    const int fits = increment > 0 ? (size_t)increment <= brk->limit_bytes - used
                                   : (size_t) - (increment + 1) < used;
    if (!fits) {
        errno = ENOMEM;
        return (void *)-1;
    }
    brk->end += increment;
    brk->n_calls++;
    if (increment < 0)
        drop(brk->end, before);
    if (brk_bytes(brk) > brk->peak_bytes)
        brk->peak_bytes = brk_bytes(brk);
    return before;
}
