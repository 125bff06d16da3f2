/* The model's stand-in for base/atomics.h: the real one, with a scheduling point before each shared
 * access. The builtins are wrapped, not the named macros, so that the header's own inline functions
 * are covered as well. */
#ifndef RATION_TESTS_MODEL_ATOMICS_H
#define RATION_TESTS_MODEL_ATOMICS_H

#include <stddef.h>

void model_point(void);

#define __atomic_load_n(p, order)        (model_point(), __atomic_load_n(p, order))
#define __atomic_store_n(p, v, order)    (model_point(), __atomic_store_n(p, v, order))
#define __atomic_fetch_add(p, v, order)  (model_point(), __atomic_fetch_add(p, v, order))
#define __atomic_fetch_sub(p, v, order)  (model_point(), __atomic_fetch_sub(p, v, order))
#define __atomic_exchange_n(p, v, order) (model_point(), __atomic_exchange_n(p, v, order))
#define __atomic_compare_exchange_n(p, expected, desired, weak, yes, no)                           \
    (model_point(), __atomic_compare_exchange_n(p, expected, desired, weak, yes, no))

#include_next "base/atomics.h"

#endif
