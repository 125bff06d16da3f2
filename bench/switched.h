/* Was this thread taken off its CPU? Told exactly, by a load and a store, without a system call.
 *
 * The C library registers a "restartable sequence" area for each thread (rseq(2), Linux 4.18, glibc
 * 2.35). When the kernel resumes a thread that it had taken off, and the area names a sequence in which
 * the thread is not, it clears that name. So we name one that nobody is ever in, and look later
 * whether the name is still there.
 *
 * Both ways off a CPU count: preempted, and waiting in a system call. Where there is no such area
 * switch_known() is false, and nothing is ever told. */
#ifndef RATION_BENCH_SWITCHED_H
#define RATION_BENCH_SWITCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The C library's: where the area lies, counted from the thread pointer, and its size; absent or 0
 * without one. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

#if defined(__x86_64__)
enum { SWITCH_SIGNATURE = 0x53053053 };
#elif defined(__aarch64__)
#define SWITCH_SIGNATURE 0xd428bc00u
#else
#define SWITCH_SIGNATURE 0u
#endif

struct switch_area { /* struct rseq of the kernel */
    uint32_t cpu_start, cpu;
    uint64_t sequence;
};

struct switch_sequence { /* struct rseq_cs of the kernel */
    uint32_t version, flags;
    uint64_t start, length, on_abort;
} __attribute__((aligned(32)));

/* The kernel wants its signature in front of the place to go to on an abort. It never goes there. */
static const uint32_t switch_never_code[2] = {SWITCH_SIGNATURE, 0};
static struct switch_sequence switch_never;

static inline volatile struct switch_area *switch_area(void)
{
    return (volatile struct switch_area *)(void *)((char *)__builtin_thread_pointer() +
                                                   __rseq_offset);
}

static inline bool switch_known(void)
{
    return SWITCH_SIGNATURE != 0 && &__rseq_size != NULL && __rseq_size != 0;
}

/* Once, before any other. */
static inline void switch_prepare(void)
{
    switch_never.start = (uintptr_t)&switch_never_code[0];
    switch_never.length = 1;
    switch_never.on_abort = (uintptr_t)&switch_never_code[1];
}

/* From here on. */
static inline void switch_watch(bool known)
{
    if (known) {
        switch_area()->sequence = (uintptr_t)&switch_never;
    }
}

/* Since switch_watch(). */
static inline bool switch_happened(bool known)
{
    return known && switch_area()->sequence == 0;
}

#endif
