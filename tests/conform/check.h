/* The conformance harness: each case is one function, run in a child of its own, so that a crash or
   a hang is the verdict of that case alone. Prints one line a case:
     ok NAME | absent NAME SYMBOL | FAIL NAME what was expected, what came
   Exit status 0 when no case failed; a symbol that is absent is not a failure here (run decides).
 */
#ifndef CONFORM_CHECK_H
#define CONFORM_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

struct check_case {
    const char *name;
    void (*run)(void);
};

/* Runs all cases, or those named on the command line; returns the exit status of the program. */
int check_main(int argc, char **argv, const struct check_case *cases, size_t n_cases);

/* Ends the running case as failed. Never returns. */
void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/* The address of a symbol of the malloc family; ends the case as absent when nothing provides it.
 */
void *check_symbol(const char *name);

/* Fills and verifies [p, p+n) with a pattern that depends on the seed; for the programs' own use.
 */
void check_fill(void *p, size_t n, unsigned seed);
void check_filled(const void *p, size_t n, unsigned seed, const char *what);

/* Resident memory of this process in bytes, from /proc/self/statm. */
size_t check_resident_bytes(void);

/* Every size worth testing up to the limit: all up to 4200, then the neighbours of each eighth of a
   doubling and of page multiples. The callback gets each once, in rising order. */
void check_each_size(size_t limit, void (*visit)(size_t size, void *context), void *context);

/* Keeps the compiler from knowing what a value is or that a block is unused. */
static inline void *check_hide(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline size_t check_hide_size(size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_fail(__FILE__, __LINE__, __VA_ARGS__);                                           \
    } while (0)

/* A call that must give NULL with this errno; `call` is evaluated once. */
#define CHECK_REFUSED(call, code)                                                                  \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *refused_ = check_hide(call);                                                         \
        int errno_ = errno;                                                                        \
        CHECK(refused_ == NULL, "%s: expected NULL, got %p", #call, refused_);                     \
        CHECK(errno_ == (code), "%s: expected errno %s (%d), got %d", #call, #code, code, errno_); \
    } while (0)

#define CHECK_ALIGNED(p, alignment)                                                                \
    CHECK((uintptr_t)(p) % (alignment) == 0, "expected a multiple of %zu, got %p",                 \
          (size_t)(alignment), (void *)(p))

#define CHECK_CASES(cases) (cases), sizeof(cases) / sizeof((cases)[0])

#ifdef __cplusplus
}
#endif

#endif
