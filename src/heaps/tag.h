/* Boundary tags: one word of 8 bytes in front of each block of a row (struct ration_row).
 *
 *   bit  0      LIVE       the block is live
 *   bit  1      PREV_LIVE  the block before is live (or this is the first)
 *   bit  2      PREV_MINI  the block before is free and 16 bytes long, so it has no room to repeat
 * its size bits 3..35  size / 8, tag included bit  36     FENCE      a gap between two parts of the
 * heap: live for ever, nobody's bits 37..63 check value of all other bits, the tag's address and
 * the row's secret
 *
 * A free block: tag, link to the next in its list, link to the one before (4 bytes each), …, its
 * size in the last 8 bytes if it is longer than 16. The end mark is a live tag of size 0.
 *
 * When a block is given back its tag is rewritten as free before anything else happens to it. A tag
 * that ends up inside a larger free block therefore still says "free" until somebody writes over
 * it: a second free is recognised.
 *
 * A random word passes for a tag with probability 2^-27. */
#ifndef RATION_HEAPS_TAG_H
#define RATION_HEAPS_TAG_H

#include "heaps/internal.h"

enum { TAG_BYTES = 8, TAG_MIN_BLOCK = 16, TAG_CHECK_SHIFT = 37 };

#define TAG_LIVE      ((uint64_t)1)
#define TAG_PREV_LIVE ((uint64_t)2)
#define TAG_PREV_MINI ((uint64_t)4)
#define TAG_PREV      (TAG_PREV_LIVE | TAG_PREV_MINI)
#define TAG_FENCE     ((uint64_t)1 << 36)
#define TAG_SIZE      ((((uint64_t)1 << 36) - 1) & ~(uint64_t)7)
#define TAG_LOW       (((uint64_t)1 << TAG_CHECK_SHIFT) - 1)

/* Memory of a row holds tags one moment and a program's objects the next. */
typedef uint64_t __attribute__((may_alias)) tag_word;
typedef uint32_t __attribute__((may_alias)) tag_link;

static ALWAYS_INLINE tag_word *tag_at(uintptr_t tag)
{
    return (tag_word *)tag;
}

/* One product, of which the upper bits count: they depend on every bit of both. The address is
 * turned so that it does not meet the size. */
static ALWAYS_INLINE uint64_t tag_mix(const struct ration_row *row, uintptr_t tag, uint64_t low)
{
    uint64_t turned = (uint64_t)tag << TAG_CHECK_SHIFT | (uint64_t)tag >> (64 - TAG_CHECK_SHIFT);
    return (low ^ row->secret ^ turned) * 0xd6e8feb86659fd93U;
}

static ALWAYS_INLINE uint64_t tag_seal(const struct ration_row *row, uintptr_t tag, uint64_t low)
{
    return low | (tag_mix(row, tag, low) & ~TAG_LOW);
}

static ALWAYS_INLINE bool tag_is_sound(const struct ration_row *row, uintptr_t tag)
{
    uint64_t word = *tag_at(tag);
    return (tag_mix(row, tag, word & TAG_LOW) ^ word) >> TAG_CHECK_SHIFT == 0;
}

static ALWAYS_INLINE uint64_t tag_flags(uintptr_t tag)
{
    return *tag_at(tag) & (TAG_LIVE | TAG_PREV | TAG_FENCE);
}

static ALWAYS_INLINE size_t tag_size(uintptr_t tag)
{
    return *tag_at(tag) & TAG_SIZE;
}

static ALWAYS_INLINE bool tag_is_live(uintptr_t tag)
{
    return (*tag_at(tag) & TAG_LIVE) != 0;
}

static ALWAYS_INLINE bool tag_prev_is_live(uintptr_t tag)
{
    return (*tag_at(tag) & TAG_PREV_LIVE) != 0;
}

static ALWAYS_INLINE void tag_put(const struct ration_row *row, uintptr_t tag, size_t size,
                                  uint64_t flags)
{
    *tag_at(tag) = tag_seal(row, tag, size | flags);
}

static ALWAYS_INLINE uintptr_t tag_next(uintptr_t tag)
{
    return tag + tag_size(tag);
}

/* Only if the block before is free. */
static ALWAYS_INLINE uintptr_t tag_prev(uintptr_t tag)
{
    if (*tag_at(tag) & TAG_PREV_MINI)
        return tag - TAG_MIN_BLOCK;
    return tag - *tag_at(tag - TAG_BYTES);
}

static ALWAYS_INLINE void *tag_payload(uintptr_t tag)
{
    return (void *)(tag + TAG_BYTES);
}

static ALWAYS_INLINE size_t tag_usable(uintptr_t tag)
{
    return tag_size(tag) - TAG_BYTES;
}

/* Tells the block at `tag` about the one before it. Most often it knows: a check value is not
 * computed for nothing. */
static ALWAYS_INLINE void tag_set_prev(const struct ration_row *row, uintptr_t tag, uint64_t prev)
{
    uint64_t word = *tag_at(tag);
    if ((word & TAG_PREV) != prev)
        *tag_at(tag) = tag_seal(row, tag, (word & TAG_LOW & ~TAG_PREV) | prev);
}

/* Writes the tag of a live block, keeps what it knows of the block before, and tells the block
 * behind. */
static ALWAYS_INLINE void row_put_live(const struct ration_row *row, uintptr_t tag, size_t size,
                                       uint64_t prev_flags)
{
    tag_put(row, tag, size, TAG_LIVE | (prev_flags & TAG_PREV));
    tag_set_prev(row, tag + size, TAG_PREV_LIVE);
}

/* The same for a free block, with its size at its end. */
static ALWAYS_INLINE void row_put_free(const struct ration_row *row, uintptr_t tag, size_t size,
                                       uint64_t prev_flags)
{
    tag_put(row, tag, size, prev_flags & TAG_PREV);
    uintptr_t next = tag + size;
    bool mini = size == TAG_MIN_BLOCK;
    if (!mini)
        *tag_at(next - TAG_BYTES) = size;
    tag_set_prev(row, next, mini ? TAG_PREV_MINI : 0);
}

static ALWAYS_INLINE uintptr_t row_first(const struct ration_row *row)
{
    return row->start + row->alignment - TAG_BYTES;
}

static ALWAYS_INLINE uintptr_t row_end_mark(const struct ration_row *row)
{
    return row->end - TAG_BYTES;
}

/* Block size for a request; `size` is at most HEAP_SIZE_MAX. */
static ALWAYS_INLINE size_t row_block_bytes(const struct ration_row *row, size_t size)
{
    size_t bytes = align_up(size + TAG_BYTES, row->alignment);
    return max_size(bytes, TAG_MIN_BLOCK);
}

/* --- links --- */

static ALWAYS_INLINE uint32_t row_link(const struct ration_row *row, uintptr_t tag)
{
    return (uint32_t)((tag - row->start) / 8) + 1;
}

static ALWAYS_INLINE uintptr_t row_tag(const struct ration_row *row, uint32_t link)
{
    return row->start + (uintptr_t)(link - 1) * 8;
}

static ALWAYS_INLINE tag_link *tag_next_link(uintptr_t tag)
{
    return (tag_link *)(tag + TAG_BYTES);
}

static ALWAYS_INLINE tag_link *tag_prev_link(uintptr_t tag)
{
    return (tag_link *)(tag + TAG_BYTES + 4);
}

/* Whether a link read from a free block can be followed: it may have been written over by the
 * program. */
static ALWAYS_INLINE bool row_link_is_inside(const struct ration_row *row, uint32_t link)
{
    return link != 0 && row_tag(row, link) >= row_first(row) &&
           row_tag(row, link) < row_end_mark(row);
}

/* Bytes to skip at the front of the block so that its payload is aligned and the skipped part can
 * be a block. */
static ALWAYS_INLINE size_t tag_front_gap(uintptr_t tag, size_t alignment)
{
    uintptr_t payload = tag + TAG_BYTES;
    size_t gap = align_up(payload, alignment) - payload;
    return gap != 0 && gap < TAG_MIN_BLOCK ? gap + alignment : gap;
}

/* --- row.c --- */

/* Lays one free block over [start, end); both are multiples of the alignment. The caller lists the
 * block. */
HIDDEN void ration_row_lay(struct ration_row *row, void *buffer, size_t bytes);

/* Trims a buffer to whole multiples of `alignment`; returns 0 if nothing of use is left. */
HIDDEN size_t ration_row_trim(void **buffer, size_t bytes, size_t alignment, size_t max_bytes);

/* Reports why `block` is no live block, or what is damaged around it. */
HIDDEN void ration_row_report(const struct ration_row *row, const struct ration_heap *heap,
                              const void *block, const char *operation);

/* Whether the free block in front of the live one at `tag` can be trusted. */
static ALWAYS_INLINE bool row_prev_is_sound(const struct ration_row *row, uintptr_t tag)
{
    uintptr_t prev = tag_prev(tag);
    return prev >= row_first(row) && prev < tag && tag_is_sound(row, prev) && !tag_is_live(prev) &&
           tag_next(prev) == tag;
}

/* The tag of the live block whose payload is `block`, or 0: see ration_row_report(). Checks the tag,
 * the tag behind it, and the block before it if free: whatever the caller is about to touch. */
static ALWAYS_INLINE uintptr_t row_find(const struct ration_row *row, const void *block)
{
    uintptr_t tag = (uintptr_t)block - TAG_BYTES;
    bool is_block = tag >= row_first(row) && tag < row_end_mark(row) &&
                    ((uintptr_t)block & (row->alignment - 1)) == 0 && tag_is_sound(row, tag) &&
                    (*tag_at(tag) & (TAG_LIVE | TAG_FENCE)) == TAG_LIVE;
    if (UNLIKELY(!is_block))
        return 0;
    uintptr_t next = tag_next(tag);
    bool is_intact = next <= row_end_mark(row) && tag_is_sound(row, next) &&
                     (tag_prev_is_live(tag) || row_prev_is_sound(row, tag));
    return LIKELY(is_intact) ? tag : 0;
}

HIDDEN int ration_row_walk(const struct ration_row *row, ration_walk_fn *visit, void *context);

/* Numbers that the invariants of a kind give to what rows have in common. 0: not checked. */
struct row_numbers {
    unsigned fills, sound, size, prev, footer, merged;
};

/* Totals of one pass over a row. */
struct row_totals {
    size_t live_blocks, live_usable, free_blocks, free_bytes, largest_free, foreign_bytes, bytes;
};

/* Checks what rows have in common; returns 1 after filling `finding`, or 0. */
HIDDEN int ration_row_check(const struct ration_row *row, const struct row_numbers *numbers,
                            struct row_totals *totals, struct ration_finding *finding);

HIDDEN struct row_totals ration_row_count(const struct ration_row *row);

#endif
