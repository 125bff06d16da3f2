/* Arithmetic on powers of two and bit scans. All pure. */
#ifndef RATION_BASE_BITS_H
#define RATION_BASE_BITS_H

#include "base/compiler.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)

/* No program on x86-64 or aarch64 has an address at or above it, unless it asks for 5-level page tables. */
#define ADDRESS_END ((uintptr_t)1 << 48)

static ALWAYS_INLINE bool is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* `align` is a power of two. The caller excludes overflow. */
static ALWAYS_INLINE uintptr_t align_up(uintptr_t n, size_t align)
{
    return (n + align - 1) & ~(uintptr_t)(align - 1);
}

static ALWAYS_INLINE uintptr_t align_down(uintptr_t n, size_t align)
{
    return n & ~(uintptr_t)(align - 1);
}

/* Index of the lowest set bit; n != 0. */
static ALWAYS_INLINE unsigned lowest_bit(uint64_t n)
{
    return (unsigned)__builtin_ctzll(n);
}

/* The same as a 64-bit number, without the compiler's widening: for the hot path. */
static ALWAYS_INLINE uint64_t lowest_bit_wide(uint64_t n)
{
#if defined(__x86_64__)
    uint64_t index;
    __asm__("rep bsf %1, %0" : "=r"(index) : "r"(n) : "cc");
    return index;
#else
    return (uint64_t)__builtin_ctzll(n);
#endif
}

/* Index of the highest set bit; n != 0. */
static ALWAYS_INLINE unsigned highest_bit(uint64_t n)
{
    return 63U - (unsigned)__builtin_clzll(n);
}

/* Twelve instructions; the baseline x86-64 has no popcnt, and the builtin would be a call. */
static ALWAYS_INLINE unsigned count_bits(uint64_t n)
{
    n -= n >> 1 & 0x5555555555555555U;
    n = (n & 0x3333333333333333U) + (n >> 2 & 0x3333333333333333U);
    n = (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0fU;
    return (unsigned)(n * 0x0101010101010101U >> 56);
}

static ALWAYS_INLINE size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static ALWAYS_INLINE size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
