#include "api.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <errno.h>

static void *allocate(size_t n)
{
    return malloc_fast(n);
}

static void *allocate_zero(size_t count, size_t n)
{
    return calloc_fast(count, n);
}

static void *resize(void *p, size_t n)
{
    return core_realloc(p, n, "realloc");
}

static void *resize_array(void *p, size_t count, size_t n)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, n, &bytes))
        return out_of_memory();
    return core_realloc(p, bytes, "reallocarray");
}

static void release(void *p)
{
    free_fast(p);
}

static void release_sized(void *p, size_t n, size_t align)
{
    if (align == 0)
        free_sized_fast(p, n, "free_sized");
    else
        core_free_sized(p, n, align, "free_aligned_sized");
}

static size_t usable(void *p)
{
    return core_usable(p, "malloc_usable_size");
}

static void trim(void)
{
    core_trim();
}

static void start(void)
{
    fake_os_install();
    fake.clock_by_hand = false;
    if (RATION_TSAN) /* it knows memory only where the kernel puts mappings by itself */
        fake.refuse_maps = 1U << OS_MAP_EXACT;
}

const struct api api = {"the core",   allocate,     allocate_zero, resize,
                        resize_array, core_aligned, release,       release_sized,
                        usable,       trim,         heap_broken,   start};
