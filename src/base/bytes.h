/* Scans over rows of state bytes: which are zero, how many, are all. Rows start at multiples of 16
 * bytes; a load is a plain one even where another thread may be storing a byte, since whole bytes
 * cannot tear. */
#ifndef RATION_BASE_BYTES_H
#define RATION_BASE_BYTES_H

#include "base/atomics.h"

/* The thread sanitizer has to be told of each byte that another thread may be storing; the model has points of its own. */
#ifndef RATION_MODEL
#define RATION_MODEL 0
#endif

#if RATION_TSAN && !RATION_MODEL

static ALWAYS_INLINE uint64_t zero_bytes_16(const uint8_t *bytes)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < 16; i++)
        mask |= (uint64_t)(atomic_load_acquire(&bytes[i]) == 0) << i;
    return mask;
}

#elif defined(__x86_64__)
#include <emmintrin.h>

/* Bit i tells whether bytes[i] is zero, for 16 bytes. */
static ALWAYS_INLINE uint64_t zero_bytes_16(const uint8_t *bytes)
{
    __m128i row = _mm_load_si128((const __m128i *)(const void *)bytes);
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(row, _mm_setzero_si128()));
}

#else

/* The same, eight bytes at a time: a byte's top bit is set where the byte is zero, then the top
 * bits are gathered. */
static ALWAYS_INLINE uint64_t zero_bytes_8(uint64_t row)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7fU;
    uint64_t top = ~(((row & low7) + low7) | row | low7);
    return (top >> 7) * 0x0102040810204080U >> 56;
}

static ALWAYS_INLINE uint64_t zero_bytes_16(const uint8_t *bytes)
{
    uint64_t row[2];
    __builtin_memcpy(row, bytes, sizeof row);
    return zero_bytes_8(row[0]) | zero_bytes_8(row[1]) << 8;
}
#endif

/* Bit i tells whether bytes[i] is zero, for n bytes: 16, 32 or 64. */
static ALWAYS_INLINE uint64_t zero_bytes(const uint8_t *bytes, unsigned n)
{
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < n; i += 16)
        mask |= zero_bytes_16(bytes + i) << i;
    return mask;
}

/* The number of zero bytes among n, a multiple of 16. */
static inline unsigned count_zero_bytes(const uint8_t *bytes, unsigned n)
{
    unsigned count = 0;
#if defined(__x86_64__) && (!RATION_TSAN || RATION_MODEL)
    const __m128i one = _mm_set1_epi8(1);
    __m128i sums = _mm_setzero_si128();
    for (unsigned i = 0; i < n; i += 16) {
        __m128i row = _mm_load_si128((const __m128i *)(const void *)(bytes + i));
        __m128i zero = _mm_and_si128(_mm_cmpeq_epi8(row, _mm_setzero_si128()), one);
        sums = _mm_add_epi64(sums, _mm_sad_epu8(zero, _mm_setzero_si128()));
    }
    count = (unsigned)(_mm_cvtsi128_si64(sums) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums)));
#else
    for (unsigned i = 0; i < n; i += 16)
        count += (unsigned)__builtin_popcountll(zero_bytes_16(bytes + i));
#endif
    return count;
}

static inline bool all_zero_bytes(const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (atomic_load_relaxed(&bytes[i]) != 0)
            return false;
    }
    return true;
}

#endif
