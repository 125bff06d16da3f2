#include "api.h"

#include <malloc.h>
#include <stdlib.h>

void free_sized(void *p, size_t n) __attribute__((weak));
void free_aligned_sized(void *p, size_t align, size_t n) __attribute__((weak));

/* By turns through every name that gives an aligned block. */
static void *aligned(size_t align, size_t n)
{
    static __thread unsigned turn;
    void *p = NULL;
    switch (turn++ % 3) {
    case 0:
        return posix_memalign(&p, align < sizeof p ? sizeof p : align, n) == 0 ? p : NULL;
    case 1:
        return memalign(align, n);
    default:
        return aligned_alloc(align, n);
    }
}

static void release_sized(void *p, size_t n, size_t align)
{
    if (align == 0 && free_sized != NULL)
        free_sized(p, n);
    else if (align != 0 && free_aligned_sized != NULL)
        free_aligned_sized(p, align, n);
    else
        free(p);
}

static void trim(void)
{
    malloc_trim(0);
}

static const char *check(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.arena == m.uordblks + m.fordblks || m.hblkhd != 0 ? NULL : "mallinfo2 does not add up";
}

static void start(void) {}

const struct api api = {
    "the C library's names", malloc, calloc, realloc, reallocarray, aligned, free, release_sized,
    malloc_usable_size,      trim,   check,  start};
