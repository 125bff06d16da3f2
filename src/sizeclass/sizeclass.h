/* Size classes: the slot sizes, and how a slab of each is cut. Pure: no state, no system.
 *
 * 16 to 256 by 16, then eight steps to each doubling up to 16 KiB: 64 classes. Above 128 bytes at most 1/9 of a slot is
 * slack. Slot 0 starts at the slab's aligned start, so every slot of a class is aligned to the largest power of two
 * that divides the class's size, 16 at least.
 *
 * Slot test (after Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019): with
 * reciprocal = ceil(2^32 / size) and excess = size * reciprocal - 2^32, the product x = offset * reciprocal holds the
 * slot's index in its high half, and low32(x) < start_limit = (slots - 1) * excess + 1 is true exactly when `offset` is
 * the start of one of the slots. One multiplication and one comparison reject interior pointers, misaligned pointers
 * and the unused tail of a slab. tests/unit/sizeclass checks it for every class and every offset. */
#ifndef RATION_SIZECLASS_SIZECLASS_H
#define RATION_SIZECLASS_SIZECLASS_H

#include "base/bits.h"

enum {
    CLASS_COUNT = 64,
    LONG_FIRST = 24,   /* the lowest class of slabs of several units: slots above 512 bytes */
    WIDE_FIRST = 40,   /* the lowest class of wide slots */
    GRAIN = 16,        /* every slot size is a multiple of it */
    SMALL_MAX = 16384, /* the largest small block, in bytes */
    NARROW_MAX = 2048, /* the largest slot that is not wide */
    SMALL_GRAINS = SMALL_MAX / GRAIN,
    UNIT_SHIFT = 16,
    UNIT_BYTES = 1 << UNIT_SHIFT,
    SLAB_UNITS_MAX = 4,
};

struct size_class {
    uint32_t size;        /* bytes in a slot */
    uint32_t slots;       /* slots in a slab */
    uint32_t reciprocal;  /* see above */
    uint32_t start_limit; /* see above */
};

extern const struct size_class size_classes[CLASS_COUNT] HIDDEN;
/* Rows of a table by class are a cache line each; what stands here is the offset of the class's
 * row, so that malloc finds it without a shift. */
enum { CLASS_STRIDE = CACHE_LINE };
extern const uint16_t row_of_grains[SMALL_GRAINS + 1] HIDDEN;

/* The offset of the row of class_of(n). */
static ALWAYS_INLINE size_t class_row(size_t n)
{
    return row_of_grains[(n + GRAIN - 1) / GRAIN];
}

/* The class that serves a request of n <= SMALL_MAX bytes; n == 0 is served as 1. */
static ALWAYS_INLINE unsigned class_of(size_t n)
{
    return (unsigned)class_row(n) / CLASS_STRIDE;
}

/* Wide slots are handed out one or a few at a time (slab/shelf.h), the others by lease. */
static inline bool class_is_wide(unsigned c)
{
    return c >= WIDE_FIRST;
}

/* Whether a block of class c may lie in a slot of class k: in its own; or where it needs fresh memory, in one of the next classes
 * of its kind, a quarter longer at most (slab/shelf.h: shelf_take_used, shelf_lease). */
static inline bool class_may_hold(unsigned k, unsigned c)
{
    return k == c || (k > c && class_is_wide(k) == class_is_wide(c) &&
                      size_classes[k].size * 4 <= size_classes[c].size * 5);
}

/* Whether `bytes` are those of a slot that may hold a block of class c. */
static inline bool slot_may_hold(size_t bytes, unsigned c)
{
    if (bytes > SMALL_MAX)
        return false;
    unsigned k = class_of(bytes);
    return size_classes[k].size == bytes && class_may_hold(k, c);
}

/* Units in a slab of class c: so many that a lease finds a good number of free slots (docs/decisions/0018), or of wide ones that
 * it has at least 16. */
#define CLASS_UNITS(c) ((c) < LONG_FIRST ? 1 : (c) < WIDE_FIRST ? 2 : SLAB_UNITS_MAX)
static inline unsigned class_units(unsigned c)
{
    return CLASS_UNITS(c);
}

/* The smallest class that serves n bytes aligned to `align` (a power of two), or CLASS_COUNT if none does. */
unsigned class_of_aligned(size_t n, size_t align);

#endif
