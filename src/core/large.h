/* Large blocks: one run each. A block starts where its run starts; its usable size is the run's length. Some have a fence
 * (core/fence.h), and so may small ones that were sampled: all of them pass through here. */
#ifndef RATION_CORE_LARGE_H
#define RATION_CORE_LARGE_H

#include "base/compiler.h"

/* From the thread's pocket (span/pocket.h), of any contents; null: it has no run just so long. */
void *large_take(size_t n);

/* Into it; false if it does not take p, perhaps as that is no large block. */
bool large_put(void *p);

/* `align` is a power of two. Null and ENOMEM if out of memory. */
void *large_alloc(size_t n, size_t align, bool zero);

/* False if p is not the start of a large block. */
bool large_free(void *p, const char *function);

/* Whether a large block starts at p. *bytes: what the program may use. */
bool large_is_live(const void *p, size_t *bytes);

/* Block p of `had` usable bytes shall have n > SMALL_MAX: in place, or by moving pages. Null: neither could be done. */
void *large_resize(void *p, size_t had, size_t n, const char *function);

#endif
