#include "heaps/tlsf_internal.h"

/* The first list of which every block is at least so large. */
static struct list_index list_for(size_t bytes)
{
    if (bytes >= (size_t)1 << LINEAR_ORDER)
        bytes += ((size_t)1 << (highest_bit(bytes) - STEP_SHIFT)) - 1;
    return list_of(bytes);
}

static void tell(const struct ration_tlsf *tlsf, enum ration_event_kind kind, uintptr_t block,
                 uintptr_t other, size_t bytes)
{
    if (UNLIKELY(tlsf->observe != NULL)) {
        unsigned list =
            bytes != 0 && bytes < RATION_TLSF_MAX_BYTES ? list_number(list_of(bytes)) : 0;
        struct ration_event event = {kind, list, (void *)block, (void *)other, bytes};
        tlsf->observe(tlsf->observe_context, &event);
    }
}

/* --- lists --- */

static void insert_free(struct ration_tlsf *tlsf, uintptr_t tag)
{
    struct list_index list = list_of(tag_size(tag));
    uint32_t *first = &tlsf->first[list.level][list.step];
    tlsf->steps++;
    tlsf->stats.free_blocks++;
    tlsf->stats.free_bytes += tag_size(tag);
    *tag_prev_link(tag) = 0;
    *tag_next_link(tag) = *first;
    if (*first != 0)
        *tag_prev_link(row_tag(&tlsf->row, *first)) = row_link(&tlsf->row, tag);
    *first = row_link(&tlsf->row, tag);
    tlsf->first_level |= 1U << list.level;
    tlsf->second_level[list.level] |= 1U << list.step;
    tell(tlsf, RATION_EVENT_INSERT, tag, 0, tag_size(tag));
}

static void remove_free(struct ration_tlsf *tlsf, uintptr_t tag)
{
    struct list_index list = list_of(tag_size(tag));
    uint32_t before = *tag_prev_link(tag);
    uint32_t after = *tag_next_link(tag);
    tlsf->stats.free_blocks--;
    tlsf->stats.free_bytes -= tag_size(tag);
    tell(tlsf, RATION_EVENT_REMOVE, tag, 0, tag_size(tag));
    if (after != 0)
        *tag_prev_link(row_tag(&tlsf->row, after)) = before;
    if (before != 0) {
        *tag_next_link(row_tag(&tlsf->row, before)) = after;
        return;
    }
    tlsf->first[list.level][list.step] = after;
    if (after == 0) {
        tlsf->second_level[list.level] &= ~(1U << list.step);
        if (tlsf->second_level[list.level] == 0)
            tlsf->first_level &= ~(1U << list.level);
    }
}

static bool links_are_sound(const struct ration_tlsf *tlsf, uintptr_t tag, const char *operation)
{
    const struct ration_row *row = &tlsf->row;
    bool sound = tag_is_sound(row, tag) && !tag_is_live(tag);
    uint32_t link = row_link(row, tag);
    uint32_t before = *tag_prev_link(tag);
    uint32_t after = *tag_next_link(tag);
    if (sound && before != 0) {
        sound = row_link_is_inside(row, before) && *tag_next_link(row_tag(row, before)) == link;
    } else if (sound) {
        struct list_index list = list_of(tag_size(tag));
        sound = tlsf->first[list.level][list.step] == link;
    }
    if (sound && after != 0)
        sound = row_link_is_inside(row, after) && *tag_prev_link(row_tag(row, after)) == link;
    if (UNLIKELY(!sound))
        ration_heap_report(
            &tlsf->heap, RATION_USE_AFTER_FREE, tag_payload(tag), operation,
            "the links in a free block were overwritten: the program wrote to it after freeing it",
            tag_payload(tag), 0);
    return sound;
}

/* The first block of the first list from `list` upward that is not empty; 0 if all are. Two bit
 * scans. */
static uintptr_t find_block(struct ration_tlsf *tlsf, struct list_index list)
{
    if (list.level >= RATION_TLSF_LEVELS)
        return 0;
    tlsf->steps++;
    uint32_t steps = tlsf->second_level[list.level] & (~0U << list.step);
    if (steps == 0) {
        tlsf->steps++;
        uint32_t levels = tlsf->first_level & (uint32_t)(~(uint64_t)0 << (list.level + 1));
        if (levels == 0)
            return 0;
        list.level = lowest_bit(levels);
        tlsf->steps++;
        steps = tlsf->second_level[list.level];
    }
    tlsf->steps++;
    uintptr_t tag = row_tag(&tlsf->row, tlsf->first[list.level][lowest_bit(steps)]);
    tell(tlsf, RATION_EVENT_CLASS, 0, 0, tag_size(tag));
    return tag;
}

/* --- allocation --- */

/* Makes the free block, which is in no list any more, live: `gap` bytes from its front and `bytes`
 * long. */
static uintptr_t take_block(struct ration_tlsf *tlsf, uintptr_t tag, size_t gap, size_t bytes)
{
    const struct ration_row *row = &tlsf->row;
    size_t size = tag_size(tag);
    uint64_t prev_flags = tag_flags(tag);
    uintptr_t live = tag + gap;
    uintptr_t rest = live + bytes;
    size_t rest_bytes = size - gap - bytes;
    if (rest_bytes >= TAG_MIN_BLOCK) {
        row_put_free(row, rest, rest_bytes, TAG_PREV_LIVE);
        tlsf->stats.n_splits++;
        tell(tlsf, RATION_EVENT_SPLIT, tag, rest, size);
        insert_free(tlsf, rest);
    } else {
        bytes += rest_bytes;
    }
    row_put_live(row, live, bytes, gap == 0 ? prev_flags : 0);
    if (gap != 0) {
        row_put_free(row, tag, gap, prev_flags);
        tlsf->stats.n_splits++;
        tell(tlsf, RATION_EVENT_SPLIT, tag, live, size);
        insert_free(tlsf, tag);
    }
    return live;
}

static uintptr_t alloc_block(struct ration_tlsf *tlsf, size_t size, size_t alignment)
{
    if (size > RATION_TLSF_MAX_BYTES || alignment > RATION_TLSF_MAX_BYTES)
        return 0;
    size_t bytes = row_block_bytes(&tlsf->row, size);
    bool aligns = alignment > tlsf->row.alignment;
    tell(tlsf, RATION_EVENT_REQUEST, 0, 0, bytes);
    /* A block with room for the largest possible gap: whatever its address, nothing is searched. */
    uintptr_t tag = find_block(tlsf, list_for(aligns ? bytes + alignment : bytes));
    if (tag == 0 || !links_are_sound(tlsf, tag, "alloc")) {
        tell(tlsf, RATION_EVENT_FAIL, 0, 0, bytes);
        return 0;
    }
    remove_free(tlsf, tag);
    tag = take_block(tlsf, tag, aligns ? tag_front_gap(tag, alignment) : 0, bytes);
    tlsf->stats.n_allocs++;
    stats_count_live(&tlsf->stats, tag_usable(tag));
    tell(tlsf, RATION_EVENT_TAKE, tag, 0, tag_size(tag));
    return tag;
}

static void *tlsf_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    tlsf->steps = 0;
    uintptr_t tag = alloc_block(tlsf, size, alignment);
    steps_record(&tlsf->stats.alloc_steps, tlsf->steps);
    if (tag == 0) {
        tlsf->stats.n_failures++;
        return NULL;
    }
    return tag_payload(tag);
}

/* --- free --- */

static void note_merge(struct ration_tlsf *tlsf, uintptr_t tag, uintptr_t upper, size_t size)
{
    tlsf->stats.n_merges++;
    tell(tlsf, RATION_EVENT_MERGE, tag, upper, size);
}

/* Frees what lies at `tag`, which is in no list, together with its free neighbours. */
static void merge_and_insert(struct ration_tlsf *tlsf, uintptr_t tag, size_t size)
{
    uintptr_t next = tag + size;
    tlsf->steps += 2; /* both neighbours are looked at */
    if (!tag_is_live(next)) {
        size += tag_size(next);
        tlsf->steps++;
        remove_free(tlsf, next);
        note_merge(tlsf, tag, next, size);
    }
    if (!tag_prev_is_live(tag)) {
        uintptr_t prev = tag_prev(tag);
        size += tag_size(prev);
        tlsf->steps++;
        remove_free(tlsf, prev);
        note_merge(tlsf, prev, tag, size);
        tag = prev;
    }
    row_put_free(&tlsf->row, tag, size, tag_flags(tag));
    insert_free(tlsf, tag);
}

static bool neighbours_are_sound(const struct ration_tlsf *tlsf, uintptr_t tag,
                                 const char *operation)
{
    uintptr_t next = tag_next(tag);
    return (tag_is_live(next) || links_are_sound(tlsf, next, operation)) &&
           (tag_prev_is_live(tag) || links_are_sound(tlsf, tag_prev(tag), operation));
}

static void free_block(struct ration_tlsf *tlsf, uintptr_t tag)
{
    size_t size = tag_size(tag);
    tell(tlsf, RATION_EVENT_RELEASE, tag, 0, size);
    tlsf->stats.n_frees++;
    stats_count_dead(&tlsf->stats, size - TAG_BYTES);
    tag_put(&tlsf->row, tag, size,
            tag_flags(tag) & ~TAG_LIVE); /* stays readable inside a larger free block */
    merge_and_insert(tlsf, tag, size);
}

static void tlsf_free(struct ration_heap *heap, void *block)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    uintptr_t tag = ration_row_resolve(&tlsf->row, heap, block, "free");
    if (tag == 0 || !neighbours_are_sound(tlsf, tag, "free"))
        return;
    tlsf->steps = 0;
    free_block(tlsf, tag);
    steps_record(&tlsf->stats.free_steps, tlsf->steps);
}

/* --- resize --- */

static void set_live_size(struct ration_tlsf *tlsf, uintptr_t tag, size_t size)
{
    stats_count_dead(&tlsf->stats, tag_usable(tag));
    row_put_live(&tlsf->row, tag, size, tag_flags(tag));
    stats_count_live(&tlsf->stats, tag_usable(tag));
}

static void shrink_block(struct ration_tlsf *tlsf, uintptr_t tag, size_t bytes)
{
    size_t size = tag_size(tag);
    if (size - bytes < TAG_MIN_BLOCK)
        return;
    uintptr_t rest = tag + bytes;
    row_put_free(&tlsf->row, rest, size - bytes, TAG_PREV_LIVE);
    set_live_size(tlsf, tag, bytes);
    tlsf->stats.n_splits++;
    tell(tlsf, RATION_EVENT_SPLIT, tag, rest, size);
    merge_and_insert(tlsf, rest, size - bytes);
}

static int resize_in_place(struct ration_tlsf *tlsf, uintptr_t tag, size_t bytes)
{
    size_t size = tag_size(tag);
    uintptr_t next = tag_next(tag);
    tlsf->steps++;
    if (bytes > size) {
        if (tag_is_live(next) || size + tag_size(next) < bytes)
            return -1;
        size_t both = size + tag_size(next);
        remove_free(tlsf, next);
        note_merge(tlsf, tag, next, both);
        set_live_size(tlsf, tag, both);
    }
    shrink_block(tlsf, tag, bytes);
    if (tag_size(tag) != size)
        tell(tlsf, RATION_EVENT_RESIZE, tag, 0, tag_size(tag));
    return 0;
}

static uintptr_t resolve_for_resize(struct ration_tlsf *tlsf, void *block, size_t size)
{
    uintptr_t tag = ration_row_resolve(&tlsf->row, &tlsf->heap, block, "resize");
    tlsf->steps = 0;
    return tag != 0 && size <= RATION_TLSF_MAX_BYTES && neighbours_are_sound(tlsf, tag, "resize")
               ? tag
               : 0;
}

static void *tlsf_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    uintptr_t tag = resolve_for_resize(tlsf, block, size);
    if (tag == 0)
        return NULL;
    int failed = resize_in_place(tlsf, tag, row_block_bytes(&tlsf->row, size));
    steps_record(&tlsf->stats.resize_steps, tlsf->steps);
    return failed ? NULL : block;
}

static uintptr_t move_block(struct ration_tlsf *tlsf, uintptr_t tag, size_t size)
{
    uintptr_t moved = alloc_block(tlsf, size, tlsf->row.alignment);
    if (moved == 0) {
        tlsf->stats.n_failures++;
        return 0;
    }
    memcpy(tag_payload(moved), tag_payload(tag), min_size(tag_usable(tag), tag_usable(moved)));
    free_block(tlsf, tag);
    return moved;
}

static void *tlsf_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    uintptr_t tag = resolve_for_resize(tlsf, block, size);
    if (tag == 0)
        return NULL;
    if (resize_in_place(tlsf, tag, row_block_bytes(&tlsf->row, size)) != 0)
        tag = move_block(tlsf, tag, size);
    steps_record(&tlsf->stats.resize_steps, tlsf->steps);
    return tag != 0 ? tag_payload(tag) : NULL;
}

/* --- the rest of the interface --- */

static bool tlsf_owns(const struct ration_heap *heap, const void *address)
{
    const struct ration_row *row = &tlsf_of(heap)->row;
    return (uintptr_t)address >= row_first(row) && (uintptr_t)address < row_end_mark(row);
}

static size_t tlsf_usable_size(const struct ration_heap *heap, const void *block)
{
    uintptr_t tag = ration_row_resolve(&tlsf_of(heap)->row, heap, block, "usable size");
    return tag != 0 ? tag_usable(tag) : 0;
}

static int tlsf_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    return ration_row_walk(&tlsf_of(heap)->row, visit, context);
}

static void tlsf_destroy(struct ration_heap *heap)
{
    tlsf_of(heap)->row = (struct ration_row){0};
}

static const struct ration_heap_ops tlsf_ops = {
    .kind = "tlsf",
    .alloc = tlsf_alloc,
    .resize = tlsf_resize,
    .try_resize = tlsf_try_resize,
    .free = tlsf_free,
    .owns = tlsf_owns,
    .usable_size = tlsf_usable_size,
    .walk = tlsf_walk,
    .check = ration_tlsf_check,
    .stats = ration_tlsf_stats,
    .destroy = tlsf_destroy,
};

struct ration_heap *ration_tlsf_init(struct ration_tlsf *tlsf, void *buffer, size_t bytes,
                                     const struct ration_tlsf_options *options)
{
    struct ration_tlsf_options o = {0};
    if (options != NULL)
        o = *options;
    *tlsf = (struct ration_tlsf){0};
    tlsf->row.alignment = 16;
    tlsf->row.secret = o.secret;
    size_t limit = bytes;
    bytes = ration_row_trim(&buffer, bytes, tlsf->row.alignment, RATION_TLSF_MAX_BYTES);
    if (bytes < tlsf->row.alignment + TAG_MIN_BLOCK)
        return NULL;
    ration_row_lay(&tlsf->row, buffer, bytes);
    ration_heap_init(&tlsf->heap, &tlsf_ops, o.name, tlsf->row.alignment);
    insert_free(tlsf, row_first(&tlsf->row));
    tlsf->stats.heap_bytes = bytes;
    tlsf->stats.heap_bytes_peak = bytes;
    ration_tlsf_observe(tlsf, o.observe, o.observe_context);
    ration_passthrough_begin(&tlsf->heap,
                             (struct passthrough_limits){limit, HEAP_SIZE_MAX, SIZE_MAX, 0});
    return &tlsf->heap;
}

void ration_tlsf_observe(struct ration_tlsf *tlsf, ration_observe_fn *observe, void *context)
{
    tlsf->observe = observe;
    tlsf->observe_context = context;
}
