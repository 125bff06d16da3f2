/* What the C library knows of the process's threads. */
#ifndef RATION_OS_THREADS_H
#define RATION_OS_THREADS_H

#include "base/compiler.h"

extern char __libc_single_threaded __attribute__((weak));

/* Whether the process has one thread, the caller: then what only threads that use the heap write needs no atomic
 * read-modify-write. The helper that purges is none of these. Before another thread begins, what this one stored is there for it.
 * False where the C library does not tell. */
static ALWAYS_INLINE bool thread_is_alone(void)
{
    return &__libc_single_threaded != NULL && __libc_single_threaded != 0;
}

#endif
