/* The C library's lock on its list of streams, for fork.
 *
 * fork of glibc runs the handlers of pthread_atfork, then takes this lock. A thread in fflush(NULL) holds it and waits for a
 * stream; the stream's holder may be in malloc, and wait for a lock that our handler holds. So our handler takes this lock
 * first: it is recursive. The child's is reset by glibc if there were threads, by us in any case.
 * Where the C library has no such functions, it has no such lock either (musl). */
#ifndef RATION_OS_STREAMS_H
#define RATION_OS_STREAMS_H

#include "base/compiler.h"

extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static inline void streams_fork_prepare(void)
{
    if (_IO_list_lock != NULL)
        _IO_list_lock();
}

static inline void streams_fork_parent(void)
{
    if (_IO_list_unlock != NULL)
        _IO_list_unlock();
}

static inline void streams_fork_child(void)
{
    if (_IO_list_resetlock != NULL)
        _IO_list_resetlock();
}

#endif
