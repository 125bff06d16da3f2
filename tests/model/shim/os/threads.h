/* The model's threads are many, and the C library knows of none. */
#ifndef RATION_OS_THREADS_H
#define RATION_OS_THREADS_H

#include "base/compiler.h"

static ALWAYS_INLINE bool thread_is_alone(void)
{
    return false;
}

#endif
