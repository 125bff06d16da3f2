/* Calls a function that may throw a C++ exception, and swallows the exception: what `try { f(); } catch (...) {}` does, for
 * a library that has no C++ in it. */
#ifndef RATION_OVERRIDE_GUARDED_CALL_H
#define RATION_OVERRIDE_GUARDED_CALL_H

#include "base/compiler.h"

/* Finds what the C++ library must do; before each guarded_call. */
void guarded_call_prepare(void) HIDDEN;

/* 0: f returned. 1: it threw. */
int guarded_call(void (*f)(void)) HIDDEN;

#endif
