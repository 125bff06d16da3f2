#include "heaps/tag.h"

size_t ration_row_trim(void **buffer, size_t bytes, size_t alignment, size_t max_bytes)
{
    uintptr_t start = align_up((uintptr_t)*buffer, alignment);
    size_t skipped = start - (uintptr_t)*buffer;
    if (*buffer == NULL || bytes < skipped)
        return 0;
    *buffer = (void *)start;
    bytes = align_down(bytes - skipped, alignment);
    return bytes <= max_bytes ? bytes : 0;
}

void ration_row_lay(struct ration_row *row, void *buffer, size_t bytes)
{
    row->start = (uintptr_t)buffer;
    row->end = row->start + bytes;
    uintptr_t tag = row_first(row);
    size_t size = row_end_mark(row) - tag;
    tag_put(row, row_end_mark(row), 0, TAG_LIVE | (size == 0 ? TAG_PREV_LIVE : 0));
    if (size != 0)
        row_put_free(row, tag, size, TAG_PREV_LIVE);
}

/* --- why an address is not a live block --- */

struct misfit {
    enum ration_misuse_kind kind;
    const char *detail;
    uintptr_t block; /* tag of the block concerned, or 0 */
};

/* Walks from the first tag to the block that contains `address`, trusting only sound tags. Cold:
 * linear. */
static COLD struct misfit find_misfit(const struct ration_row *row, uintptr_t address)
{
    uintptr_t tag = row_first(row);
    while (tag < row_end_mark(row)) {
        size_t size = tag_size(tag);
        if (!tag_is_sound(row, tag) || size < TAG_MIN_BLOCK || size > row->end - tag)
            return (struct misfit){RATION_CORRUPT_HEAP,
                                   "the tag in front of a block was overwritten", tag};
        if (address < tag + size)
            break;
        tag += size;
    }
    uint64_t flags = tag_flags(tag);
    if (tag >= row_end_mark(row) || (flags & TAG_FENCE) != 0)
        return (struct misfit){RATION_INVALID_FREE, "no block of this heap is there", 0};
    if ((flags & TAG_LIVE) == 0)
        return (struct misfit){RATION_DOUBLE_FREE,
                               "the address lies in memory that is free already", tag};
    return (struct misfit){RATION_INTERIOR_FREE,
                           "the address lies inside a live block, not at its start", tag};
}

static COLD void report_misfit(const struct ration_row *row, const struct ration_heap *heap,
                               uintptr_t address, const char *operation)
{
    struct misfit misfit = find_misfit(row, address);
    const void *block = misfit.block != 0 ? tag_payload(misfit.block) : NULL;
    bool readable = misfit.block != 0 && misfit.kind != RATION_CORRUPT_HEAP;
    ration_heap_report(heap, misfit.kind, (void *)address, operation, misfit.detail, block,
                       readable ? tag_usable(misfit.block) : 0);
}

/* What is damaged around a live block: behind it, or else in front of it. */
static const char *find_damage_around(const struct ration_row *row, uintptr_t tag,
                                      enum ration_misuse_kind *kind)
{
    uintptr_t next = tag_next(tag);
    if (next > row_end_mark(row) || !tag_is_sound(row, next)) {
        *kind = RATION_OVERFLOW;
        return "the tag right behind the block was overwritten: the program wrote past the block's "
               "end";
    }
    *kind = RATION_USE_AFTER_FREE;
    return "the free block in front of this one was written to";
}

COLD void ration_row_report(const struct ration_row *row, const struct ration_heap *heap,
                            const void *block, const char *operation)
{
    uintptr_t address = (uintptr_t)block;
    uintptr_t tag = address - TAG_BYTES;
    if (tag < row_first(row) || tag >= row_end_mark(row)) {
        ration_heap_report(heap, RATION_INVALID_FREE, block, operation,
                           "the address is not in this heap", NULL, 0);
    } else if ((address & (row->alignment - 1)) != 0) {
        ration_heap_report(heap, RATION_MISALIGNED_FREE, block, operation,
                           "the address is not aligned as every block of this heap is", NULL, 0);
    } else if (!tag_is_sound(row, tag) || (tag_flags(tag) & TAG_FENCE) != 0) {
        report_misfit(row, heap, address, operation);
    } else if (!tag_is_live(tag)) {
        ration_heap_report(heap, RATION_DOUBLE_FREE, block, operation, "the block is free already",
                           block, 0);
    } else {
        enum ration_misuse_kind kind;
        const char *damage = find_damage_around(row, tag, &kind);
        ration_heap_report(heap, kind, kind == RATION_OVERFLOW ? (void *)tag_next(tag) : block,
                           operation, damage, block, tag_usable(tag));
    }
}

/* --- every block in order --- */

static int visit_part(ration_walk_fn *visit, void *context, uintptr_t address, size_t bytes,
                      enum ration_block_state state)
{
    if (bytes == 0)
        return 0;
    struct ration_block part = {.address = (void *)address,
                                .bytes = bytes,
                                .requested_bytes = RATION_UNKNOWN,
                                .state = state};
    return visit(&part, context);
}

/* A fence: our tag, the gap, and the padding in front of the first tag behind it. */
static int visit_fence(const struct ration_row *row, uintptr_t tag, ration_walk_fn *visit,
                       void *context)
{
    size_t padding = row->alignment - TAG_BYTES;
    size_t gap = tag_size(tag) - TAG_BYTES - padding;
    int stop = visit_part(visit, context, tag, TAG_BYTES, RATION_BLOCK_TABLE);
    if (stop == 0)
        stop = visit_part(visit, context, tag + TAG_BYTES, gap, RATION_BLOCK_FOREIGN);
    return stop != 0
               ? stop
               : visit_part(visit, context, tag + TAG_BYTES + gap, padding, RATION_BLOCK_TABLE);
}

static int visit_block(uintptr_t tag, ration_walk_fn *visit, void *context)
{
    struct ration_block block = {.address = (void *)tag,
                                 .bytes = tag_size(tag),
                                 .payload = tag_payload(tag),
                                 .usable_bytes = tag_usable(tag),
                                 .requested_bytes = RATION_UNKNOWN,
                                 .state = tag_is_live(tag) ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE};
    return visit(&block, context);
}

int ration_row_walk(const struct ration_row *row, ration_walk_fn *visit, void *context)
{
    int stop =
        visit_part(visit, context, row->start, row->alignment - TAG_BYTES, RATION_BLOCK_TABLE);
    uintptr_t tag = row_first(row);
    while (stop == 0 && tag < row_end_mark(row)) {
        size_t size = tag_size(tag);
        if (size < TAG_MIN_BLOCK || size > row->end - tag)
            return 0; /* damaged: ration_heap_check() tells where */
        stop = (tag_flags(tag) & TAG_FENCE) ? visit_fence(row, tag, visit, context)
                                            : visit_block(tag, visit, context);
        tag += size;
    }
    return stop != 0 ? stop
                     : visit_part(visit, context, row_end_mark(row), TAG_BYTES, RATION_BLOCK_TABLE);
}

/* --- checking --- */

static void count_block(const struct ration_row *row, uintptr_t tag, struct row_totals *totals)
{
    size_t size = tag_size(tag);
    if (tag_flags(tag) & TAG_FENCE) {
        totals->foreign_bytes += size - row->alignment;
    } else if (tag_is_live(tag)) {
        totals->live_blocks++;
        totals->live_usable += size - TAG_BYTES;
    } else {
        totals->free_blocks++;
        totals->free_bytes += size;
        totals->largest_free = max_size(totals->largest_free, size);
    }
}

struct row_totals ration_row_count(const struct ration_row *row)
{
    struct row_totals totals = {0};
    for (uintptr_t tag = row_first(row); tag < row_end_mark(row) && tag_size(tag) >= TAG_MIN_BLOCK;
         tag = tag_next(tag))
        count_block(row, tag, &totals);
    totals.bytes = row->end - row->start - totals.foreign_bytes;
    return totals;
}

/* One block by itself and against the block before it (0: none). */
static int check_block(const struct ration_row *row, const struct row_numbers *n, uintptr_t prev,
                       uintptr_t tag, struct ration_finding *finding)
{
    if (!tag_is_sound(row, tag))
        return finding_set(finding, n->sound, tag,
                           "a tag's check value does not fit its address and contents");
    bool prev_live = prev == 0 || tag_is_live(prev);
    bool prev_mini = !prev_live && tag_size(prev) == TAG_MIN_BLOCK;
    uint64_t expected = (prev_live ? TAG_PREV_LIVE : 0) | (prev_mini ? TAG_PREV_MINI : 0);
    if ((tag_flags(tag) & TAG_PREV) != expected)
        return finding_set(finding, n->prev, tag, "a tag is wrong about the block before it");
    if (tag == row_end_mark(row))
        return 0;
    size_t size = tag_size(tag);
    if (size % row->alignment != 0 || size < TAG_MIN_BLOCK)
        return finding_set(finding, n->size, tag,
                           "a size is below 16 or not a multiple of the alignment");
    if (size > row_end_mark(row) - tag)
        return finding_set(finding, n->fills, tag, "a block reaches past the end mark");
    if (!tag_is_live(tag) && size > TAG_MIN_BLOCK && *tag_at(tag + size - TAG_BYTES) != size)
        return finding_set(finding, n->footer, tag,
                           "a free block does not repeat its size at its end");
    if (n->merged != 0 && !prev_live && !tag_is_live(tag))
        return finding_set(finding, n->merged, tag, "two free blocks are neighbours");
    return 0;
}

int ration_row_check(const struct ration_row *row, const struct row_numbers *numbers,
                     struct row_totals *totals, struct ration_finding *finding)
{
    *totals = (struct row_totals){0};
    uintptr_t prev = 0;
    uintptr_t tag = row_first(row);
    while (true) {
        if (check_block(row, numbers, prev, tag, finding))
            return 1;
        if (tag == row_end_mark(row))
            break;
        count_block(row, tag, totals);
        prev = tag;
        tag += tag_size(tag);
    }
    if (tag_size(tag) != 0 || !tag_is_live(tag))
        return finding_set(finding, numbers->fills, tag, "the row does not end with the end mark");
    totals->bytes = row->end - row->start - totals->foreign_bytes;
    return 0;
}
