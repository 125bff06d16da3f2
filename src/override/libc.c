/* The names of the C library, POSIX, BSD, jemalloc and Android under which programs ask for memory. No logic but the
 * checks of arguments that belong to one name. Compiled with -fno-builtin-malloc and the like, so that the compiler does
 * not turn a malloc and a memset into a call of calloc inside calloc. */
#define _GNU_SOURCE
#include "base/bits.h"
#include "base/fmt.h"
#include "conf/conf.h"
#include "conf/familiar.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/fill.h"
#include "core/life.h"
#include "inspect/glibc_stats.h"
#include "inspect/walk.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIAS(original) EXPORT __attribute__((alias(#original)))
#define WEAK_EXPORT     EXPORT __attribute__((weak))

/* What headers of this C library do not declare. */
struct at_least {
    void *ptr;
    size_t size;
};
void cfree(void *p);
void free_sized(void *p, size_t n);
void free_aligned_sized(void *p, size_t align, size_t n);
struct at_least alloc_at_least(size_t n);
struct at_least aligned_alloc_at_least(size_t align, size_t n);
void *reallocf(void *p, size_t n);
void *recallocarray(void *p, size_t old_count, size_t count, size_t size);
void freezero(void *p, size_t n);
int reallocarr(void *place, size_t count, size_t size);
size_t malloc_size(const void *p);
size_t malloc_good_size(size_t n);
void vfree(void *p);
size_t nallocx(size_t n, int flags);
void sdallocx(void *p, size_t n, int flags);
int malloc_iterate(uintptr_t base, size_t bytes, void (*visit)(uintptr_t, size_t, void *),
                   void *arg);
void malloc_disable(void);
void malloc_enable(void);

/* ISO C */

EXPORT void *malloc(size_t n)
{
    return malloc_fast(n);
}

EXPORT void free(void *p)
{
    free_fast(p);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return calloc_fast(count, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    return core_realloc(p, n, "realloc");
}

static void *bad_alignment(void)
{
    errno = EINVAL;
    return NULL;
}

EXPORT void *aligned_alloc(size_t align, size_t n)
{
    return is_power_of_two(align) ? core_aligned(align, n) : bad_alignment();
}

EXPORT void free_sized(void *p, size_t n)
{
    core_free_sized(p, n, 0, "free_sized");
}

EXPORT void free_aligned_sized(void *p, size_t align, size_t n)
{
    core_free_sized(p, n, align, "free_aligned_sized");
}

EXPORT struct at_least alloc_at_least(size_t n)
{
    void *p = malloc_fast(n);
    return (struct at_least){p, core_usable(p, "alloc_at_least")};
}

EXPORT struct at_least aligned_alloc_at_least(size_t align, size_t n)
{
    void *p = aligned_alloc(align, n);
    return (struct at_least){p, core_usable(p, "aligned_alloc_at_least")};
}

/* POSIX */

EXPORT int posix_memalign(void **place, size_t align, size_t n)
{
    if (!is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int saved_errno = errno;
    void *p = core_aligned(align, n);
    errno = saved_errno;
    if (p == NULL)
        return ENOMEM;
    *place = p;
    return 0;
}

/* GNU and System V */

/* As glibc does: an alignment that is no power of two is rounded up to one. */
EXPORT void *memalign(size_t align, size_t n)
{
    if (align > (SIZE_MAX >> 1) + 1)
        return bad_alignment();
    if (!is_power_of_two(align))
        align = align < 2 ? 1 : (size_t)2 << highest_bit(align);
    return core_aligned(align, n);
}

EXPORT void *valloc(size_t n)
{
    return core_aligned(os->page_bytes(), n);
}

EXPORT void *pvalloc(size_t n)
{
    size_t page = os->page_bytes();
    size_t rounded;
    if (__builtin_add_overflow(n, page - 1, &rounded))
        return out_of_memory();
    rounded = align_down(rounded, page);
    return core_aligned(page, rounded != 0 ? rounded : page);
}

EXPORT size_t malloc_usable_size(void *p)
{
    return core_usable(p, "malloc_usable_size");
}

EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return out_of_memory();
    return core_realloc(p, n, "reallocarray");
}

EXPORT int malloc_trim(size_t keep)
{
    (void)keep;
    return core_trim();
}

/* Android's numbers, next to glibc's. */
enum { ANDROID_DECAY_TIME = -100, ANDROID_PURGE = -101, ANDROID_PURGE_ALL = -104 };

static int set_number(const char *key, int value)
{
    struct text digits;
    text_clear(&digits);
    text_add_signed(&digits, value);
    return conf_set(key, strlen(key), digits.chars, digits.used);
}

/* What shapes glibc's heap is taken as a hint that needs no action here. */
EXPORT int mallopt(int parameter, int value)
{
    switch (parameter) {
    case ANDROID_PURGE:
    case ANDROID_PURGE_ALL:
        core_trim();
        return 1;
    case ANDROID_DECAY_TIME:
        return set_number("purge_delay", value * 1000);
    case M_PERTURB: /* too late once threads have begun */
        familiar_perturb(value);
        return fill_begin();
    case M_CHECK_ACTION:
        familiar_check(value);
        return 1;
    case M_TRIM_THRESHOLD:
        familiar_trim_threshold(value);
        return 1;
    case M_MXFAST:
    case M_TOP_PAD:
    case M_MMAP_THRESHOLD:
    case M_MMAP_MAX:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

EXPORT struct mallinfo2 mallinfo2(void)
{
    return stats_mallinfo2();
}

static int clamp_int(size_t n)
{
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = stats_mallinfo2();
    return (struct mallinfo){
        .arena = clamp_int(m.arena),
        .ordblks = clamp_int(m.ordblks),
        .hblks = clamp_int(m.hblks),
        .hblkhd = clamp_int(m.hblkhd),
        .uordblks = clamp_int(m.uordblks),
        .fordblks = clamp_int(m.fordblks),
        .keepcost = clamp_int(m.keepcost),
    };
}

EXPORT void malloc_stats(void)
{
    stats_print();
}

EXPORT int malloc_info(int options, FILE *stream)
{
    return stats_malloc_info(options, stream);
}

/* BSD */

EXPORT void *reallocf(void *p, size_t n)
{
    void *q = core_realloc(p, n, "reallocf");
    if (q == NULL && n != 0)
        free_fast(p);
    return q;
}

/* As explicit_bzero, which each process would look up at its start: the compiler cannot know that nobody reads the zeros. */
static void wipe(void *p, size_t n)
{
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

static void *regrow_zeroed(void *p, size_t old_bytes, size_t bytes)
{
    void *q = calloc_fast(1, bytes);
    if (q == NULL)
        return NULL;
    memcpy(q, p, min_size(old_bytes, bytes));
    wipe(p, old_bytes);
    free_fast(p);
    return q;
}

/* OpenBSD: like reallocarray, but what is new is zero and what is left behind is wiped. */
EXPORT void *recallocarray(void *p, size_t old_count, size_t count, size_t size)
{
    size_t old_bytes;
    size_t bytes;
    if (p == NULL)
        return calloc_fast(count, size);
    if (__builtin_mul_overflow(count, size, &bytes))
        return out_of_memory();
    if (__builtin_mul_overflow(old_count, size, &old_bytes))
        return bad_alignment();
    return regrow_zeroed(p, old_bytes, bytes);
}

EXPORT void freezero(void *p, size_t n)
{
    if (p == NULL)
        return;
    wipe(p, n);
    free_fast(p);
}

/* NetBSD: `place` is the address of the pointer; returns an error number. */
WEAK_EXPORT int reallocarr(void *place, size_t count, size_t size)
{
    int saved_errno = errno;
    void *p;
    size_t n;
    memcpy(&p, place, sizeof p);
    if (__builtin_mul_overflow(count, size, &n))
        return EOVERFLOW;
    void *q = NULL;
    if (n == 0)
        free_fast(p);
    else
        q = core_realloc(p, n, "reallocarr");
    errno = saved_errno;
    if (q == NULL && n != 0)
        return ENOMEM;
    memcpy(place, &q, sizeof q);
    return 0;
}

EXPORT size_t malloc_size(const void *p)
{
    return core_usable(p, "malloc_size");
}

EXPORT size_t malloc_good_size(size_t n)
{
    return core_good_size(n);
}

/* jemalloc: the low six bits of the flags are the logarithm of the alignment. */

static size_t align_of_flags(int flags)
{
    return (size_t)1 << (flags & 63);
}

WEAK_EXPORT size_t nallocx(size_t n, int flags)
{
    return core_good_size_aligned(n, align_of_flags(flags));
}

WEAK_EXPORT void sdallocx(void *p, size_t n, int flags)
{
    core_free_sized(p, n, align_of_flags(flags), "sdallocx");
}

/* Android: all live blocks that start in a range. Between malloc_disable and malloc_enable no other thread's slow path
 * moves; visit must not allocate or free. */

EXPORT int malloc_iterate(uintptr_t base, size_t bytes, void (*visit)(uintptr_t, size_t, void *),
                          void *arg)
{
    walk_blocks(base, bytes, visit, arg);
    return 0;
}

EXPORT void malloc_disable(void)
{
    life_lock();
}

EXPORT void malloc_enable(void)
{
    life_unlock();
}

/* Other names for the same. Some libraries call the C library's internal names; a static link must not pull in its
 * malloc for them. */
ALIAS(free) void cfree(void *p);
ALIAS(free) void vfree(void *p);
ALIAS(malloc) void *__libc_malloc(size_t n);
ALIAS(free) void __libc_free(void *p);
ALIAS(free) void __libc_cfree(void *p);
ALIAS(calloc) void *__libc_calloc(size_t count, size_t size);
ALIAS(realloc) void *__libc_realloc(void *p, size_t n);
ALIAS(memalign) void *__libc_memalign(size_t align, size_t n);
ALIAS(valloc) void *__libc_valloc(size_t n);
ALIAS(pvalloc) void *__libc_pvalloc(size_t n);
ALIAS(reallocarray) void *__libc_reallocarray(void *p, size_t count, size_t size);
ALIAS(mallopt) int __libc_mallopt(int parameter, int value);
ALIAS(mallinfo) struct mallinfo __libc_mallinfo(void);
ALIAS(posix_memalign) int __posix_memalign(void **place, size_t align, size_t n);
