#include "heaps/internal.h"
#include <sys/mman.h>
#include <unistd.h>

static size_t whole_pages(size_t bytes)
{
    return align_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
}

/* More alignment than a page: map that much more and cut both ends off. */
static void *take(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t extra = alignment > page ? alignment - page : 0;
    if (bytes > HEAP_SIZE_MAX - extra - page)
        return NULL;
    bytes = whole_pages(bytes);
    void *memory = mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    uintptr_t start = align_up((uintptr_t)memory, max_size(alignment, page));
    size_t before = start - (uintptr_t)memory;
    if (before != 0)
        munmap(memory, before);
    if (extra != before)
        munmap((void *)(start + bytes), extra - before);
    return (void *)start;
}

static void give(void *context, void *memory, size_t bytes)
{
    (void)context;
    munmap(memory, whole_pages(bytes));
}

static int protect(void *context, void *memory, size_t bytes, bool accessible)
{
    (void)context;
    return mprotect(memory, bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE);
}

const struct ration_source *ration_source_system(void)
{
    static const struct ration_source source = {.take = take, .give = give, .protect = protect};
    return &source;
}
