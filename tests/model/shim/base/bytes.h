/* The model's stand-in for base/bytes.h: each load of a row of states is a scheduling point. */
#ifndef RATION_TESTS_MODEL_BYTES_H
#define RATION_TESTS_MODEL_BYTES_H

#include "base/atomics.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#define _mm_load_si128(p) (model_point(), _mm_load_si128(p))
#endif

#include_next "base/bytes.h"

#endif
