/* What arena.c (the operations) and arena_look.c (looking without changing) share. */
#ifndef RATION_HEAPS_ARENA_INTERNAL_H
#define RATION_HEAPS_ARENA_INTERNAL_H

#include "heaps/internal.h"
#include <ration/arena.h>

enum { WORD_BITS = 64 };

/* A chunk: this record, a bitmap of the grains that begin a block, a bitmap of those whose block
 * was freed, blocks. Bits of grains from the cursor up to the arena's limit are clear; those above
 * have any value, and are cleared when the limit moves. */
struct ration_arena_chunk {
    struct ration_arena_chunk *next;
    size_t bytes; /* of the whole chunk, this record included */
    bool is_callers;
    uintptr_t blocks; /* first grain; aligned to 16 */
    uintptr_t end;
    uintptr_t cursor; /* where the cursor was when the chunk became full; valid while it is FULL */
    uint64_t *starts;
    uint64_t *freed;
};

typedef struct ration_arena_chunk arena_chunk;

static inline struct ration_arena *arena_of(const struct ration_heap *heap)
{
    return (struct ration_arena *)(uintptr_t)heap;
}

/* --- bitmaps --- */

static inline bool bit_is_set(const uint64_t *bits, size_t at)
{
    return (bits[at / WORD_BITS] >> (at % WORD_BITS)) & 1;
}

static inline void set_bit(uint64_t *bits, size_t at)
{
    bits[at / WORD_BITS] |= (uint64_t)1 << (at % WORD_BITS);
}

/* Of the word that holds bit `at`: the bits below it. */
static inline uint64_t bits_below(size_t at)
{
    return ((uint64_t)1 << (at % WORD_BITS)) - 1;
}

/* The lowest set bit in [from, to), or `to`. */
static inline size_t find_set(const uint64_t *bits, size_t from, size_t to)
{
    while (from < to) {
        uint64_t word = bits[from / WORD_BITS] >> (from % WORD_BITS);
        if (word != 0)
            return min_size(from + lowest_bit(word), to);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return to;
}

/* The highest set bit at or below `from`, which exists: bit 0 begins the first block. */
static inline size_t find_set_below(const uint64_t *bits, size_t from)
{
    size_t word = from / WORD_BITS;
    uint64_t found = bits[word] << (WORD_BITS - 1 - from % WORD_BITS);
    if (found != 0)
        return from - (WORD_BITS - 1 - highest_bit(found));
    while (word > 0 && bits[word - 1] == 0)
        word--;
    return word == 0 ? 0 : (word - 1) * WORD_BITS + highest_bit(bits[word - 1]);
}

/* --- blocks and grains --- */

static inline size_t grain_of(const struct ration_arena *arena)
{
    return (size_t)1 << arena->grain_shift;
}

static inline size_t index_of(const struct ration_arena *arena, const arena_chunk *c,
                              uintptr_t address)
{
    return (address - c->blocks) >> arena->grain_shift;
}

static inline uintptr_t address_of(const struct ration_arena *arena, const arena_chunk *c,
                                   size_t index)
{
    return c->blocks + (index << arena->grain_shift);
}

/* Bytes between the first block of each used chunk and its cursor, all together. */
static inline size_t arena_used(const struct ration_arena *arena)
{
    return arena->cursor - arena->used_from;
}

static inline uintptr_t used_end(const struct ration_arena *arena, const arena_chunk *c)
{
    return c == arena->current ? arena->cursor : c->cursor;
}

static inline size_t block_bytes(const struct ration_arena *arena, const arena_chunk *c,
                                 size_t index)
{
    size_t end = index_of(arena, c, used_end(arena, c));
    return (find_set(c->starts, index + 1, end) - index) << arena->grain_shift;
}

/* Whether the block is younger than the newest mark: only then may the cursor move with it, because
 * a rewind to that mark puts the cursor back to where it was. */
static inline bool is_after_mark(const struct ration_arena *arena, const arena_chunk *c,
                                 size_t index)
{
    return c != arena->mark_chunk || address_of(arena, c, index) >= arena->mark_cursor;
}

/* --- arena_look.c --- */

HIDDEN int ration_arena_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context);
HIDDEN void ration_arena_check(const struct ration_heap *heap, struct ration_finding *finding);
HIDDEN void ration_arena_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

#endif
