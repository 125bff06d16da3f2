/* libration-frame.a and libration-frame-static.a: put frames (frame.h) over the process's malloc. They define the C library's
 * allocation functions and C++'s operators in the program itself, asks the frame of this thread
 * first, and passes every other call on to the next definition: that of a preloaded libration, or
 * of the C library. With no frame open a call costs one load more.
 *
 * States: UNBOUND until the first call found the next functions; BOUND. dlsym() may itself allocate
 * while it looks: such blocks come from a small buffer here and are never freed. */
#include "base/atomics.h"
#include "base/bits.h"
#include "heaps/frame_next.h"
#include <errno.h>
#include <malloc.h>
#include <ration/frame.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ration_malloc_hooks *hooks; /* null: no frame covers malloc */

static struct frame_next next; /* found once; whoever comes second finds the same */

static char early[8192] __attribute__((aligned(16)));
static size_t early_used;
/* volatile: dlsym() is declared not to call back into this file, which is not true of a malloc. */
static THREAD_LOCAL volatile bool is_binding;

int ration_malloc_hooks_set(const struct ration_malloc_hooks *wanted)
{
    atomic_store_release(&hooks, wanted); /* pairs with current_hooks */
    return 0;
}

static inline const struct ration_malloc_hooks *current_hooks(void)
{
    return atomic_load_acquire(&hooks);
}

/* --- the next definitions --- */

static bool is_early(const void *block)
{
    return (uintptr_t)block - (uintptr_t)early < sizeof early;
}

static void *take_early(size_t size, size_t alignment)
{
    uintptr_t at = align_up((uintptr_t)early + early_used, max_size(alignment, 16));
    size_t end = at - (uintptr_t)early + size;
    if (size > sizeof early || end > sizeof early)
        return NULL;
    early_used = end;
    return (void *)at;
}

static COLD void bind_slow(void)
{
    struct frame_next found = {0};
    is_binding = true;
    frame_next_find(&found);
    is_binding = false;
    if (found.malloc == NULL || found.free == NULL || found.memalign == NULL) {
        static const char message[] =
            "ration: libration-frame.a found no malloc behind its own; it serves programs that are "
            "linked dynamically (libration-frame-static.a brings its own)\n";
        if (write(2, message, sizeof message - 1) >= 0)
            abort();
        abort();
    }
    void *(*last)(size_t) = found.malloc;
    found.malloc = NULL;
    next = found;
    atomic_store_release(&next.malloc, last); /* pairs with is_bound */
}

/* False only while this thread is looking for the next functions. */
static inline bool is_bound(void)
{
    if (LIKELY(atomic_load_acquire(&next.malloc) != NULL)) /* pairs with bind_slow */
        return true;
    if (is_binding)
        return false;
    bind_slow();
    return true;
}

/* --- allocation --- */

static void *ask_frame(size_t size, size_t alignment, const void *caller)
{
    const struct ration_malloc_hooks *now = current_hooks();
    return UNLIKELY(now != NULL) ? now->alloc(size, alignment, caller) : NULL;
}

static inline void *serve(size_t size, const void *caller)
{
    if (UNLIKELY(!is_bound()))
        return take_early(size, 16);
    void *block = ask_frame(size, 16, caller);
    return block != NULL ? block : next.malloc(size);
}

static void *serve_aligned(size_t alignment, size_t size, const void *caller)
{
    if (UNLIKELY(!is_bound()))
        return take_early(size, alignment);
    void *block = is_power_of_two(alignment) ? ask_frame(size, alignment, caller) : NULL;
    return block != NULL ? block : next.memalign(alignment, size);
}

EXPORT void *malloc(size_t size)
{
    return serve(size, __builtin_return_address(0));
}

EXPORT void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (UNLIKELY(!is_bound()))
        return take_early(n * size, 16); /* zero: the buffer is used once */
    void *block = NULL;
    if (!__builtin_mul_overflow(n, size, &bytes))
        block = ask_frame(bytes, 16, __builtin_return_address(0));
    return block != NULL ? memset(block, 0, bytes) : next.calloc(n, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return serve_aligned(alignment, size, __builtin_return_address(0));
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return serve_aligned(alignment, size, __builtin_return_address(0));
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    int saved = errno;
    void *block = serve_aligned(alignment, size, __builtin_return_address(0));
    errno = saved;
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return serve_aligned((size_t)sysconf(_SC_PAGESIZE), size, __builtin_return_address(0));
}

EXPORT void *pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return serve_aligned(page, align_up(max_size(size, 1), page), __builtin_return_address(0));
}

/* --- free and resize --- */

static bool frame_has_freed(void *block)
{
    const struct ration_malloc_hooks *now = current_hooks();
    return is_early(block) || (UNLIKELY(now != NULL) && now->free(block));
}

EXPORT void free(void *block)
{
    if (block != NULL && is_bound() && !frame_has_freed(block))
        next.free(block);
}

EXPORT size_t malloc_usable_size(void *block)
{
    const struct ration_malloc_hooks *now = current_hooks();
    size_t bytes = 0;
    if (block == NULL || is_early(block) || !is_bound() ||
        (now != NULL && now->usable_size(block, &bytes)))
        return bytes;
    return next.usable_size(block);
}

/* A block that is none of the frame's moves to where the frame's allocations come from. */
static void *resize_in_frame(const struct ration_malloc_hooks *now, void *block, size_t size,
                             const void *caller)
{
    void *result;
    if (now->resize(block, size, caller, &result))
        return result;
    result = now->alloc(size, 16, caller);
    if (result == NULL)
        return next.realloc(block, size);
    size_t old_size = next.usable_size(block);
    memcpy(result, block, min_size(old_size, size));
    next.free(block);
    return result;
}

/* How much an early block holds is not kept: as much as is in the buffer behind it. */
static void *resize_early(void *block, size_t size, const void *caller)
{
    void *moved = serve(size, caller);
    size_t behind = (uintptr_t)early + sizeof early - (uintptr_t)block;
    return moved != NULL ? memmove(moved, block, min_size(size, behind)) : NULL;
}

static void *resize(void *block, size_t size, const void *caller)
{
    if (block == NULL)
        return serve(size, caller);
    if (UNLIKELY(!is_bound() || is_early(block)))
        return resize_early(block, size, caller);
    if (size == 0 && frame_has_freed(block))
        return NULL;
    const struct ration_malloc_hooks *now = current_hooks();
    if (UNLIKELY(now != NULL && size != 0))
        return resize_in_frame(now, block, size, caller);
    return next.realloc(block, size);
}

EXPORT void *realloc(void *block, size_t size)
{
    return resize(block, size, __builtin_return_address(0));
}

EXPORT void *reallocarray(void *block, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(block, bytes, __builtin_return_address(0));
}

/* --- C++ --- */

/* The next operator new calls the handler that the program set, or throws. */
static void *new_or_throw(size_t size, size_t alignment, bool throws, const void *caller)
{
    bool is_plain = alignment <= 16;
    void *block = is_plain ? serve(size, caller) : serve_aligned(alignment, size, caller);
    if (LIKELY(block != NULL) || !throws)
        return block;
    if (is_plain)
        return next.operator_new != NULL ? next.operator_new(size) : NULL;
    return next.operator_new_aligned != NULL ? next.operator_new_aligned(size, alignment) : NULL;
}

/* Operators by the names that the ABI gives them (Itanium C++ ABI, 5.1.3): n ew, d elete, w single,
 * a array, m size, St11align_val_t alignment, RKSt9nothrow_t nothrow. */
#define DEFINE_NEW(letters)                                                                        \
    EXPORT void *new_##letters(size_t size) __asm__("_Zn" #letters "m");                           \
    void *new_##letters(size_t size)                                                               \
    {                                                                                              \
        return new_or_throw(size, 16, true, __builtin_return_address(0));                          \
    }                                                                                              \
    EXPORT void *new_quiet_##letters(size_t size,                                                  \
                                     const void *tag) __asm__("_Zn" #letters "mRKSt9nothrow_t");   \
    void *new_quiet_##letters(size_t size, const void *tag)                                        \
    {                                                                                              \
        (void)tag;                                                                                 \
        return new_or_throw(size, 16, false, __builtin_return_address(0));                         \
    }                                                                                              \
    EXPORT void *new_aligned_##letters(size_t size, size_t alignment) __asm__("_Zn" #letters       \
                                                                              "mSt11align_val_t"); \
    void *new_aligned_##letters(size_t size, size_t alignment)                                     \
    {                                                                                              \
        return new_or_throw(size, alignment, true, __builtin_return_address(0));                   \
    }                                                                                              \
    EXPORT void *new_aligned_quiet_##letters(                                                      \
        size_t size, size_t alignment,                                                             \
        const void *tag) __asm__("_Zn" #letters "mSt11align_val_tRKSt9nothrow_t");                 \
    void *new_aligned_quiet_##letters(size_t size, size_t alignment, const void *tag)              \
    {                                                                                              \
        (void)tag;                                                                                 \
        return new_or_throw(size, alignment, false, __builtin_return_address(0));                  \
    }

DEFINE_NEW(w)
DEFINE_NEW(a)

#define DEFINE_DELETE(name, symbol)                                                                \
    EXPORT void name(void *block) __asm__(symbol);                                                 \
    void name(void *block)                                                                         \
    {                                                                                              \
        free(block);                                                                               \
    }

DEFINE_DELETE(delete_one, "_ZdlPv")
DEFINE_DELETE(delete_one_sized, "_ZdlPvm")
DEFINE_DELETE(delete_one_aligned, "_ZdlPvSt11align_val_t")
DEFINE_DELETE(delete_one_both, "_ZdlPvmSt11align_val_t")
DEFINE_DELETE(delete_one_quiet, "_ZdlPvRKSt9nothrow_t")
DEFINE_DELETE(delete_one_aligned_quiet, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
DEFINE_DELETE(delete_array, "_ZdaPv")
DEFINE_DELETE(delete_array_sized, "_ZdaPvm")
DEFINE_DELETE(delete_array_aligned, "_ZdaPvSt11align_val_t")
DEFINE_DELETE(delete_array_both, "_ZdaPvmSt11align_val_t")
DEFINE_DELETE(delete_array_quiet, "_ZdaPvRKSt9nothrow_t")
DEFINE_DELETE(delete_array_aligned_quiet, "_ZdaPvSt11align_val_tRKSt9nothrow_t")
