/* operator new and delete, from C: the twenty names that the Itanium C++ ABI gives them on 64-bit Linux.
 *
 * The C++ library is asked for only when memory is out: for the new-handler, and to throw. It may be absent, or loaded
 * late and privately. */
#define _GNU_SOURCE
#include "base/bits.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "os/loader.h"
#include "os/os.h"
#include "override/guarded_call.h"

typedef void (*new_handler)(void);
typedef new_handler (*get_new_handler)(void);

/* std::get_new_handler() and std::__throw_bad_alloc() of a static program; null in libration.so (src/CMakeLists.txt). */
extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

/* Of the C++ library that all see, or of a private copy, loaded by some plug-in. dlopen itself is looked up by name, because
 * the mention of it would make every static link print a warning. */
static void *find_late(const char *symbol)
{
    void *found = loader_name(symbol);
    if (found != NULL)
        return found;
    void *(*open_library)(const char *name, int flags) =
        (void *(*)(const char *, int))loader_name("dlopen");
    if (open_library == NULL)
        return NULL;
    void *library = open_library("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return library != NULL ? dlsym(library, symbol) : NULL;
}

static new_handler current_handler(void)
{
    get_new_handler get = _ZSt15get_new_handlerv;
    if (get == NULL)
        get = (get_new_handler)find_late("_ZSt15get_new_handlerv");
    return get != NULL ? get() : NULL;
}

static _Noreturn void throw_bad_alloc(void)
{
    void (*throw_it)(void) = _ZSt17__throw_bad_allocv;
    if (throw_it == NULL)
        throw_it = (void (*)(void))find_late("_ZSt17__throw_bad_allocv");
    if (throw_it != NULL)
        throw_it();
    static const char message[] =
        "ration: out of memory in operator new, and no C++ library is loaded that "
        "could throw std::bad_alloc\n";
    os->write_error(message, sizeof message - 1);
    os->abort();
    __builtin_unreachable();
}

static void *allocate(size_t n, size_t align)
{
    return align <= GRAIN ? malloc_fast(n) : core_aligned(align, n);
}

/* As the standard says: while a handler is installed, call it and try again. */
static COLD void *new_slow(size_t n, size_t align)
{
    for (;;) {
        void *p = allocate(n, align);
        if (p != NULL)
            return p;
        new_handler handler = current_handler();
        if (handler == NULL)
            throw_bad_alloc();
        handler();
    }
}

static COLD void *new_nothrow_slow(size_t n, size_t align)
{
    for (;;) {
        void *p = allocate(n, align);
        if (p != NULL)
            return p;
        new_handler handler = current_handler();
        if (handler == NULL)
            return NULL;
        guarded_call_prepare();
        if (guarded_call(handler) != 0)
            return NULL;
    }
}

static ALWAYS_INLINE void *new_plain(size_t n)
{
    void *p = malloc_fast(n);
    return LIKELY(p != NULL) ? p : new_slow(n, 1);
}

static ALWAYS_INLINE void *new_plain_nothrow(size_t n)
{
    void *p = malloc_fast(n);
    return LIKELY(p != NULL) ? p : new_nothrow_slow(n, 1);
}

static ALWAYS_INLINE void *new_aligned(size_t n, size_t align)
{
    void *p = is_power_of_two(align) ? core_aligned(align, n) : NULL;
    return LIKELY(p != NULL) ? p : new_slow(n, align);
}

static ALWAYS_INLINE void *new_aligned_nothrow(size_t n, size_t align)
{
    void *p = is_power_of_two(align) ? core_aligned(align, n) : NULL;
    return LIKELY(p != NULL) ? p : new_nothrow_slow(n, align);
}

#define OPERATOR(type, name, parameters, body)                                                     \
    type name parameters;                                                                          \
    EXPORT type name parameters body

/* clang-format off */
OPERATOR(void *, _Znwm, (size_t n), { return new_plain(n); })
OPERATOR(void *, _Znam, (size_t n), { return new_plain(n); })
OPERATOR(void *, _ZnwmRKSt9nothrow_t, (size_t n, const void *t), { (void)t; return new_plain_nothrow(n); })
OPERATOR(void *, _ZnamRKSt9nothrow_t, (size_t n, const void *t), { (void)t; return new_plain_nothrow(n); })
OPERATOR(void *, _ZnwmSt11align_val_t, (size_t n, size_t a), { return new_aligned(n, a); })
OPERATOR(void *, _ZnamSt11align_val_t, (size_t n, size_t a), { return new_aligned(n, a); })
OPERATOR(void *, _ZnwmSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *t), { (void)t; return new_aligned_nothrow(n, a); })
OPERATOR(void *, _ZnamSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *t), { (void)t; return new_aligned_nothrow(n, a); })

OPERATOR(void, _ZdlPv, (void *p), { free_fast(p); })
OPERATOR(void, _ZdaPv, (void *p), { free_fast(p); })
OPERATOR(void, _ZdlPvRKSt9nothrow_t, (void *p, const void *t), { (void)t; free_fast(p); })
OPERATOR(void, _ZdaPvRKSt9nothrow_t, (void *p, const void *t), { (void)t; free_fast(p); })
OPERATOR(void, _ZdlPvSt11align_val_t, (void *p, size_t a), { (void)a; free_fast(p); })
OPERATOR(void, _ZdaPvSt11align_val_t, (void *p, size_t a), { (void)a; free_fast(p); })
OPERATOR(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, const void *t), { (void)a; (void)t; free_fast(p); })
OPERATOR(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t a, const void *t), { (void)a; (void)t; free_fast(p); })
OPERATOR(void, _ZdlPvm, (void *p, size_t n), { free_sized_fast(p, n, "operator delete"); })
OPERATOR(void, _ZdaPvm, (void *p, size_t n), { free_sized_fast(p, n, "operator delete[]"); })
OPERATOR(void, _ZdlPvmSt11align_val_t, (void *p, size_t n, size_t a), { core_free_sized(p, n, a, "operator delete"); })
OPERATOR(void, _ZdaPvmSt11align_val_t, (void *p, size_t n, size_t a), { core_free_sized(p, n, a, "operator delete[]"); })
/* clang-format on */
