#include "sizeclass/sizeclass.h"

/* Constant expressions, so that the tables are read-only data shared by every process. */
#define FINE 16 /* classes of one grain's distance */
#define STEP(c)                                                                                    \
    ((uint64_t)32 << (((c)-FINE) / 8 % 64)) /* 64: for a compiler that looks at c < FINE too */
#define SIZE(c)   ((c) < FINE ? GRAIN * ((uint64_t)(c) + 1) : STEP(c) * (9 + ((c)-FINE) % 8))
#define LENGTH(c) ((uint64_t)UNIT_BYTES * CLASS_UNITS(c))
#define SLOTS(c)  (LENGTH(c) / SIZE(c))
#define TWO_32    ((uint64_t)1 << 32)
#define RECIP(c)  ((TWO_32 + SIZE(c) - 1) / SIZE(c))
#define EXCESS(c) (SIZE(c) * RECIP(c) - TWO_32)
#define CLASS(c)                                                                                   \
    {                                                                                              \
        SIZE(c), SLOTS(c), RECIP(c), (SLOTS(c) - 1) * EXCESS(c) + 1                                \
    }
#define CLASS4(c)  CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS16(c) CLASS4(c), CLASS4((c) + 4), CLASS4((c) + 8), CLASS4((c) + 12)

_Static_assert(SIZE(WIDE_FIRST - 1) == NARROW_MAX, "the two say the same");

const struct size_class size_classes[CLASS_COUNT] = {CLASS16(0U), CLASS16(16U), CLASS16(32U),
                                                     CLASS16(48U)};

/* Above 256 bytes: the octave of n - 1 and the three bits below its highest. */
#define LAST(g)   (16U * (g)-1)
#define OCTAVE(g) (31U - (unsigned)__builtin_clz(LAST(g)))
#define COARSE(g) (FINE + 8U * (OCTAVE(g) - 8U) + ((LAST(g) >> (OCTAVE(g) - 3U)) & 7U))
#define OF(g)     (CLASS_STRIDE * ((g) == 0 ? 0 : (g) <= FINE ? (g)-1 : COARSE(g)))
#define OF4(g)    OF(g), OF((g) + 1), OF((g) + 2), OF((g) + 3)
#define OF16(g)   OF4(g), OF4((g) + 4), OF4((g) + 8), OF4((g) + 12)
#define OF64(g)   OF16(g), OF16((g) + 16), OF16((g) + 32), OF16((g) + 48)
#define OF256(g)  OF64(g), OF64((g) + 64), OF64((g) + 128), OF64((g) + 192)

const uint16_t row_of_grains[SMALL_GRAINS + 1] = {OF256(0U), OF256(256U), OF256(512U), OF256(768U),
                                                  OF(1024U)};

unsigned class_of_aligned(size_t n, size_t align)
{
    if (n > SMALL_MAX || align > SMALL_MAX)
        return CLASS_COUNT;
    unsigned c = class_of(max_size(n, align));
    while (c < CLASS_COUNT && (size_classes[c].size & (align - 1)) != 0)
        c++;
    return c;
}
