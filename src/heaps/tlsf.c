#include "heaps/tlsf_internal.h"

/* The first list of which every block is at least so large. */
static struct list_index list_for(size_t bytes)
{
    if (bytes >= (size_t)1 << LINEAR_ORDER)
        bytes += ((size_t)1 << (highest_bit(bytes) - STEP_SHIFT)) - 1;
    return list_of(bytes);
}

/* An operation in progress, and what it needs of the heap. Tags may alias anything, so that a field
 * of the heap itself would be read again behind each write of one; this copy stays in registers. */
struct work {
    struct ration_tlsf *tlsf;
    struct ration_row row;
    bool is_watched; /* somebody observes */
    uint64_t steps;
};

static ALWAYS_INLINE struct work begin_work(struct ration_tlsf *tlsf)
{
    struct work w = {tlsf, tlsf->row, tlsf->observe != NULL, 0};
    w.row.alignment = TLSF_ALIGNMENT; /* known to the compiler */
    return w;
}

static COLD void tell_observer(const struct ration_tlsf *tlsf, enum ration_event_kind kind,
                               uintptr_t block, uintptr_t other, size_t bytes)
{
    unsigned list = bytes != 0 && bytes < RATION_TLSF_MAX_BYTES ? list_number(list_of(bytes)) : 0;
    struct ration_event event = {kind, list, (void *)block, (void *)other, bytes};
    tlsf->observe(tlsf->observe_context, &event);
}

static ALWAYS_INLINE void tell(const struct work *w, enum ration_event_kind kind, uintptr_t block,
                               uintptr_t other, size_t bytes)
{
    if (UNLIKELY(w->is_watched))
        tell_observer(w->tlsf, kind, block, other, bytes);
}

/* --- lists --- */

static ALWAYS_INLINE void insert_free(struct work *w, uintptr_t tag, size_t size)
{
    struct list_index list = list_of(size);
    uint32_t *first = &w->tlsf->first[list.level][list.step];
    uint32_t link = row_link(&w->row, tag);
    uint32_t after = *first;
    w->steps++;
    *tag_next_link(tag) = after;
    *tag_prev_link(tag) = 0;
    *first = link;
    if (after != 0) {
        *tag_prev_link(row_tag(&w->row, after)) = link;
    } else {
        w->tlsf->first_level |= 1U << list.level;
        w->tlsf->second_level[list.level] |= 1U << list.step;
    }
    tell(w, RATION_EVENT_INSERT, tag, 0, size);
}

/* Takes the first block off its list. */
static ALWAYS_INLINE void remove_first(struct work *w, struct list_index list, uintptr_t tag)
{
    uint32_t after = *tag_next_link(tag);
    tell(w, RATION_EVENT_REMOVE, tag, 0, tag_size(tag));
    w->tlsf->first[list.level][list.step] = after;
    if (after != 0) {
        *tag_prev_link(row_tag(&w->row, after)) = 0;
        return;
    }
    w->tlsf->second_level[list.level] &= ~(1U << list.step);
    if (w->tlsf->second_level[list.level] == 0)
        w->tlsf->first_level &= ~(1U << list.level);
}

static ALWAYS_INLINE void remove_free(struct work *w, uintptr_t tag)
{
    uint32_t before = *tag_prev_link(tag);
    if (before == 0) {
        remove_first(w, list_of(tag_size(tag)), tag);
        return;
    }
    uint32_t after = *tag_next_link(tag);
    tell(w, RATION_EVENT_REMOVE, tag, 0, tag_size(tag));
    *tag_next_link(row_tag(&w->row, before)) = after;
    if (after != 0)
        *tag_prev_link(row_tag(&w->row, after)) = before;
}

static COLD void report_written(const struct ration_tlsf *tlsf, uintptr_t tag,
                                const char *operation)
{
    ration_heap_report(
        &tlsf->heap, RATION_USE_AFTER_FREE, tag_payload(tag), operation,
        "the links in a free block were overwritten: the program wrote to it after freeing it",
        tag_payload(tag), 0);
}

/* Whether the links around a free block, whose tag is sound, agree with it. */
static inline bool links_are_sound(const struct work *w, uintptr_t tag, const char *operation)
{
    const struct ration_row *row = &w->row;
    uint32_t link = row_link(row, tag);
    uint32_t before = *tag_prev_link(tag);
    uint32_t after = *tag_next_link(tag);
    bool sound;
    if (before != 0) {
        sound = row_link_is_inside(row, before) && *tag_next_link(row_tag(row, before)) == link;
    } else {
        struct list_index list = list_of(tag_size(tag));
        sound = w->tlsf->first[list.level][list.step] == link;
    }
    if (after != 0)
        sound &= row_link_is_inside(row, after) && *tag_prev_link(row_tag(row, after)) == link;
    if (UNLIKELY(!sound))
        report_written(w->tlsf, tag, operation);
    return sound;
}

/* The same for the first block of a list. */
static ALWAYS_INLINE bool first_is_sound(const struct work *w, uintptr_t tag)
{
    const struct ration_row *row = &w->row;
    uint32_t after = *tag_next_link(tag);
    bool sound = tag_is_sound(row, tag) && !tag_is_live(tag) && *tag_prev_link(tag) == 0 &&
                 (after == 0 || (row_link_is_inside(row, after) &&
                                 *tag_prev_link(row_tag(row, after)) == row_link(row, tag)));
    if (UNLIKELY(!sound))
        report_written(w->tlsf, tag, "alloc");
    return sound;
}

/* Moves `list` up to the first list that is not empty, with two bit scans. Returns its first block,
 * 0 if all are empty. */
static ALWAYS_INLINE uintptr_t find_block(struct work *w, struct list_index *list)
{
    if (UNLIKELY(list->level >= RATION_TLSF_LEVELS))
        return 0;
    uint32_t steps = w->tlsf->second_level[list->level] & (~0U << list->step);
    w->steps += 2;
    if (steps == 0) {
        uint32_t levels = w->tlsf->first_level & (uint32_t)(~(uint64_t)0 << (list->level + 1));
        if (levels == 0)
            return 0;
        list->level = lowest_bit(levels);
        w->steps += 2;
        steps = w->tlsf->second_level[list->level];
    }
    list->step = lowest_bit(steps);
    uintptr_t tag = row_tag(&w->row, w->tlsf->first[list->level][list->step]);
    tell(w, RATION_EVENT_CLASS, 0, 0, tag_size(tag));
    return tag;
}

/* --- allocation --- */

/* Makes the free block, which is in no list any more, live: `gap` bytes from its front and `bytes`
 * long, or as long as what is left if that is too short for a block. Returns the live block. */
static ALWAYS_INLINE uintptr_t take_block(struct work *w, uintptr_t tag, size_t gap, size_t bytes)
{
    const struct ration_row *row = &w->row;
    size_t size = tag_size(tag);
    uint64_t prev_flags = tag_flags(tag);
    uintptr_t live = tag + gap;
    uintptr_t rest = live + bytes;
    size_t rest_bytes = size - gap - bytes;
    if (rest_bytes >= TAG_MIN_BLOCK) {
        row_put_free(row, rest, rest_bytes, TAG_PREV_LIVE);
        w->tlsf->stats.n_splits++;
        tell(w, RATION_EVENT_SPLIT, tag, rest, size);
        insert_free(w, rest, rest_bytes);
    } else {
        bytes += rest_bytes;
    }
    row_put_live(row, live, bytes, gap == 0 ? prev_flags : 0);
    if (UNLIKELY(gap != 0)) {
        row_put_free(row, tag, gap, prev_flags);
        w->tlsf->stats.n_splits++;
        tell(w, RATION_EVENT_SPLIT, tag, live, size);
        insert_free(w, tag, gap);
    }
    return live;
}

static ALWAYS_INLINE uintptr_t alloc_block(struct work *w, size_t size, size_t alignment)
{
    if (UNLIKELY(size > RATION_TLSF_MAX_BYTES || alignment > RATION_TLSF_MAX_BYTES))
        return 0;
    size_t bytes = align_up(max_size(size, 1) + TAG_BYTES, TLSF_ALIGNMENT);
    bool aligns = alignment > TLSF_ALIGNMENT;
    tell(w, RATION_EVENT_REQUEST, 0, 0, bytes);
    /* A block with room for the largest possible gap: whatever its address, nothing is searched. */
    struct list_index list = list_for(UNLIKELY(aligns) ? bytes + alignment : bytes);
    uintptr_t tag = find_block(w, &list);
    if (UNLIKELY(tag == 0 || !first_is_sound(w, tag))) {
        tell(w, RATION_EVENT_FAIL, 0, 0, bytes);
        return 0;
    }
    remove_first(w, list, tag);
    tag = take_block(w, tag, UNLIKELY(aligns) ? tag_front_gap(tag, alignment) : 0, bytes);
    w->tlsf->stats.n_allocs++;
    stats_count_live(&w->tlsf->stats, tag_usable(tag));
    tell(w, RATION_EVENT_TAKE, tag, 0, tag_size(tag));
    return tag;
}

static void *tlsf_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    struct work w = begin_work(tlsf);
    uintptr_t tag = alloc_block(&w, size, alignment);
    steps_record(&tlsf->stats.alloc_steps, w.steps);
    if (UNLIKELY(tag == 0)) {
        tlsf->stats.n_failures++;
        return NULL;
    }
    return tag_payload(tag);
}

/* --- free --- */

/* The tag of a live block, or 0 after a report. */
static ALWAYS_INLINE uintptr_t resolve(const struct work *w, const void *block,
                                       const char *operation)
{
    uintptr_t tag = row_find(&w->row, block);
    if (UNLIKELY(tag == 0))
        ration_row_report(&w->tlsf->row, &w->tlsf->heap, block, operation);
    return tag;
}

static ALWAYS_INLINE void note_merge(struct work *w, uintptr_t tag, uintptr_t upper, size_t size)
{
    w->tlsf->stats.n_merges++;
    tell(w, RATION_EVENT_MERGE, tag, upper, size);
}

/* Frees what lies at `tag`, which is in no list, together with its free neighbours. */
static ALWAYS_INLINE void merge_and_insert(struct work *w, uintptr_t tag, size_t size)
{
    uintptr_t next = tag + size;
    w->steps += 2; /* both neighbours are looked at */
    if (!tag_is_live(next)) {
        size += tag_size(next);
        w->steps++;
        remove_free(w, next);
        note_merge(w, tag, next, size);
    }
    if (!tag_prev_is_live(tag)) {
        uintptr_t prev = tag_prev(tag);
        size += tag_size(prev);
        w->steps++;
        remove_free(w, prev);
        note_merge(w, prev, tag, size);
        tag = prev;
    }
    row_put_free(&w->row, tag, size, tag_flags(tag));
    insert_free(w, tag, size);
}

/* The tags of both were looked at when the block was resolved. */
static ALWAYS_INLINE bool neighbours_are_sound(const struct work *w, uintptr_t tag,
                                               const char *operation)
{
    uintptr_t next = tag_next(tag);
    return (tag_is_live(next) || links_are_sound(w, next, operation)) &&
           (tag_prev_is_live(tag) || links_are_sound(w, tag_prev(tag), operation));
}

static ALWAYS_INLINE void free_block(struct work *w, uintptr_t tag)
{
    size_t size = tag_size(tag);
    tell(w, RATION_EVENT_RELEASE, tag, 0, size);
    w->tlsf->stats.n_frees++;
    stats_count_dead(&w->tlsf->stats, size - TAG_BYTES);
    if (!tag_prev_is_live(tag)) /* stays readable as free inside the larger block */
        tag_put(&w->row, tag, size, tag_flags(tag) & ~TAG_LIVE);
    merge_and_insert(w, tag, size);
}

static void tlsf_free(struct ration_heap *heap, void *block)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    struct work w = begin_work(tlsf);
    uintptr_t tag = resolve(&w, block, "free");
    if (UNLIKELY(tag == 0 || !neighbours_are_sound(&w, tag, "free")))
        return;
    free_block(&w, tag);
    steps_record(&tlsf->stats.free_steps, w.steps);
}

/* --- resize --- */

static void set_live_size(struct work *w, uintptr_t tag, size_t size)
{
    stats_count_dead(&w->tlsf->stats, tag_usable(tag));
    row_put_live(&w->row, tag, size, tag_flags(tag));
    stats_count_live(&w->tlsf->stats, tag_usable(tag));
}

static void shrink_block(struct work *w, uintptr_t tag, size_t bytes)
{
    size_t size = tag_size(tag);
    if (size - bytes < TAG_MIN_BLOCK)
        return;
    uintptr_t rest = tag + bytes;
    row_put_free(&w->row, rest, size - bytes, TAG_PREV_LIVE);
    set_live_size(w, tag, bytes);
    w->tlsf->stats.n_splits++;
    tell(w, RATION_EVENT_SPLIT, tag, rest, size);
    merge_and_insert(w, rest, size - bytes);
}

static int resize_in_place(struct work *w, uintptr_t tag, size_t bytes)
{
    size_t size = tag_size(tag);
    uintptr_t next = tag_next(tag);
    w->steps++;
    if (bytes > size) {
        if (tag_is_live(next) || size + tag_size(next) < bytes)
            return -1;
        size_t both = size + tag_size(next);
        remove_free(w, next);
        note_merge(w, tag, next, both);
        set_live_size(w, tag, both);
    }
    shrink_block(w, tag, bytes);
    if (tag_size(tag) != size)
        tell(w, RATION_EVENT_RESIZE, tag, 0, tag_size(tag));
    return 0;
}

static uintptr_t resolve_for_resize(struct work *w, void *block, size_t size)
{
    uintptr_t tag = resolve(w, block, "resize");
    return tag != 0 && size <= RATION_TLSF_MAX_BYTES && neighbours_are_sound(w, tag, "resize") ? tag
                                                                                               : 0;
}

static void *tlsf_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    struct work w = begin_work(tlsf);
    uintptr_t tag = resolve_for_resize(&w, block, size);
    if (tag == 0)
        return NULL;
    int failed = resize_in_place(&w, tag, row_block_bytes(&w.row, size));
    steps_record(&tlsf->stats.resize_steps, w.steps);
    return failed ? NULL : block;
}

static uintptr_t move_block(struct work *w, uintptr_t tag, size_t size)
{
    uintptr_t moved = alloc_block(w, size, TLSF_ALIGNMENT);
    if (moved == 0) {
        w->tlsf->stats.n_failures++;
        return 0;
    }
    memcpy(tag_payload(moved), tag_payload(tag), min_size(tag_usable(tag), tag_usable(moved)));
    free_block(w, tag);
    return moved;
}

static void *tlsf_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_tlsf *tlsf = tlsf_of(heap);
    struct work w = begin_work(tlsf);
    uintptr_t tag = resolve_for_resize(&w, block, size);
    if (tag == 0)
        return NULL;
    if (resize_in_place(&w, tag, row_block_bytes(&w.row, size)) != 0)
        tag = move_block(&w, tag, size);
    steps_record(&tlsf->stats.resize_steps, w.steps);
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
    struct work w = begin_work(tlsf_of(heap));
    uintptr_t tag = resolve(&w, block, "usable size");
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

static const struct ration_figures tlsf_figures = {.places =
                                                       FIGURES_OF_STATS(struct ration_tlsf, stats)};

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
    .figures = &tlsf_figures,
};

struct ration_heap *ration_tlsf_init(struct ration_tlsf *tlsf, void *buffer, size_t bytes,
                                     const struct ration_tlsf_options *options)
{
    struct ration_tlsf_options o = {0};
    if (options != NULL)
        o = *options;
    *tlsf = (struct ration_tlsf){0};
    tlsf->row.alignment = TLSF_ALIGNMENT;
    tlsf->row.secret = o.secret;
    size_t limit = bytes;
    bytes = ration_row_trim(&buffer, bytes, tlsf->row.alignment, RATION_TLSF_MAX_BYTES);
    if (bytes < tlsf->row.alignment + TAG_MIN_BLOCK)
        return NULL;
    ration_row_lay(&tlsf->row, buffer, bytes);
    ration_heap_init(&tlsf->heap, &tlsf_ops, o.name, tlsf->row.alignment);
    struct work w = begin_work(tlsf);
    insert_free(&w, row_first(&tlsf->row), tag_size(row_first(&tlsf->row)));
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
