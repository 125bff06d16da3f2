/* Compiler words, in one place. */
#ifndef RATION_BASE_COMPILER_H
#define RATION_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT        __attribute__((visibility("default"), used))
#define HIDDEN        __attribute__((visibility("hidden")))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))
#define COLD          __attribute__((cold, noinline))
#define UNUSED        __attribute__((unused))
#define CACHE_LINE    64
#define LINE_ALIGNED  __attribute__((aligned(CACHE_LINE)))

/* One address in fs:/tpidr, found without a call: a preloaded library may, and a dlopen()ed one may as long as it
 * stays tiny (glibc keeps a small surplus of static TLS). */
#define THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Hides from the optimiser where a value came from. */
#define OPAQUE(x) __asm__("" : "+r"(x))

#ifdef RATION_CHECKED
enum { CHECKED_BUILD = 1 };
#else
enum { CHECKED_BUILD = 0 };
#endif

#if defined(__SANITIZE_THREAD__)
#define RATION_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RATION_TSAN 1
#endif
#endif
#ifndef RATION_TSAN
#define RATION_TSAN 0
#endif

#endif
