#include "heaps/fit_internal.h"

static struct ration_fit *fit_of(const struct ration_heap *heap)
{
    return (struct ration_fit *)(uintptr_t)heap;
}

/* --- cutting a free block to size --- */

static bool is_worth_splitting(const struct ration_fit *fit, size_t rest)
{
    return rest >= TAG_MIN_BLOCK && rest >= fit->min_remainder && !fit->options.no_splitting;
}

/* Next fit goes on where this search ended: at the rest, or behind the block. */
static void move_rover(struct ration_fit *fit, uintptr_t tag, bool was_split)
{
    if (fit->options.policy != RATION_FIT_NEXT)
        return;
    uintptr_t behind = tag_next(tag);
    if (fit_is_implicit(fit))
        fit->rover = behind < row_end_mark(&fit->row) ? row_link(&fit->row, behind) : 0;
    else if (was_split)
        fit->rover = row_link(&fit->row, behind);
}

/* Makes the free block `tag` live and `bytes` long, `gap` bytes from its front. What is left over
 * in front and behind is free again. Returns the tag of the live block. */
static uintptr_t take_block(struct ration_fit *fit, uintptr_t tag, size_t gap, size_t bytes)
{
    const struct ration_row *row = &fit->row;
    size_t size = tag_size(tag);
    uint64_t prev_flags = tag_flags(tag);
    uintptr_t live = tag + gap;
    uintptr_t rest = live + bytes;
    size_t rest_bytes = size - gap - bytes;
    bool split = is_worth_splitting(fit, rest_bytes);
    bool keeps_place = split && gap == 0 && fit_keeps_place(fit);

    if (!keeps_place)
        ration_fit_remove(fit, tag);
    if (split) {
        row_put_free(row, rest, rest_bytes, TAG_PREV_LIVE);
        fit->stats.n_splits++;
        fit_tell(fit, RATION_EVENT_SPLIT, 0, tag, rest, size);
    }
    if (keeps_place)
        ration_fit_replace(fit, tag, rest);
    row_put_live(row, live, split ? bytes : size - gap, gap == 0 ? prev_flags : 0);
    if (gap != 0) {
        row_put_free(row, tag, gap, prev_flags);
        fit->stats.n_splits++;
        fit_tell(fit, RATION_EVENT_SPLIT, 0, tag, live, size);
        ration_fit_insert(fit, tag);
    }
    if (split && !keeps_place)
        ration_fit_insert(fit, rest);
    move_rover(fit, live, split);
    return live;
}

/* --- allocation --- */

static uintptr_t find_block(struct ration_fit *fit, const struct fit_request *request)
{
    uintptr_t tag = ration_fit_search(fit, request);
    if (tag == 0 && fit->options.coalescing == RATION_FIT_DEFERRED && fit->frees_since_pass != 0) {
        ration_fit_coalesce(fit);
        tag = ration_fit_search(fit, request);
    }
    if (tag == 0)
        tag = ration_fit_grow_for(fit, request);
    return tag;
}

static uintptr_t alloc_block(struct ration_fit *fit, size_t size, size_t alignment)
{
    if (size > RATION_FIT_MAX_BYTES || alignment > RATION_FIT_MAX_BYTES)
        return 0;
    struct fit_request request = {row_block_bytes(&fit->row, size),
                                  max_size(alignment, fit->row.alignment)};
    fit_tell(fit, RATION_EVENT_REQUEST, fit_class(fit, request.bytes), 0, 0, request.bytes);
    uintptr_t tag = find_block(fit, &request);
    if (tag == 0 || !ration_fit_free_is_sound(fit, tag, "alloc")) {
        fit_tell(fit, RATION_EVENT_FAIL, 0, 0, 0, request.bytes);
        return 0;
    }
    size_t gap = request.alignment > fit->row.alignment ? tag_front_gap(tag, request.alignment) : 0;
    tag = take_block(fit, tag, gap, request.bytes);
    fit->stats.n_allocs++;
    stats_count_live(&fit->stats, tag_usable(tag));
    fit_tell(fit, RATION_EVENT_TAKE, 0, tag, 0, tag_size(tag));
    return tag;
}

static void *fit_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_fit *fit = fit_of(heap);
    fit->steps = 0;
    uintptr_t tag = alloc_block(fit, size, alignment);
    steps_record(&fit->stats.alloc_steps, fit->steps);
    if (tag == 0) {
        fit->stats.n_failures++;
        return NULL;
    }
    return tag_payload(tag);
}

/* --- free --- */

/* The tag of a live block, or 0 after a report. */
static inline uintptr_t resolve(const struct ration_fit *fit, const void *block,
                                const char *operation)
{
    uintptr_t tag = row_find(&fit->row, block);
    if (UNLIKELY(tag == 0))
        ration_row_report(&fit->row, &fit->heap, block, operation);
    return tag;
}

/* `upper` vanishes into the block before it. */
static void note_merge(struct ration_fit *fit, uintptr_t tag, uintptr_t upper, size_t size)
{
    fit->steps++;
    fit->stats.n_merges++;
    if (fit->rover == row_link(&fit->row, upper))
        fit->rover = fit_is_implicit(fit) ? row_link(&fit->row, tag) : 0;
    fit_tell(fit, RATION_EVENT_MERGE, 0, tag, upper, size);
}

uintptr_t ration_fit_merge_and_insert(struct ration_fit *fit, uintptr_t tag, size_t size)
{
    uintptr_t next = tag + size;
    if (!tag_is_live(next)) {
        size += tag_size(next);
        ration_fit_remove(fit, next);
        note_merge(fit, tag, next, size);
    }
    if (!tag_prev_is_live(tag)) {
        uintptr_t prev = tag_prev(tag);
        size += tag_size(prev);
        ration_fit_remove(fit, prev);
        note_merge(fit, prev, tag, size);
        tag = prev;
    }
    row_put_free(&fit->row, tag, size, tag_flags(tag));
    ration_fit_insert(fit, tag);
    return tag;
}

/* The tags of both were looked at when the block was resolved. */
static bool neighbours_are_sound(const struct ration_fit *fit, uintptr_t tag, const char *operation)
{
    uintptr_t next = tag_next(tag);
    return (tag_is_live(next) || ration_fit_links_are_sound(fit, next, operation)) &&
           (tag_prev_is_live(tag) || ration_fit_links_are_sound(fit, tag_prev(tag), operation));
}

static void free_block(struct ration_fit *fit, uintptr_t tag)
{
    size_t size = tag_size(tag);
    fit_tell(fit, RATION_EVENT_RELEASE, fit_class(fit, size), tag, 0, size);
    fit->stats.n_frees++;
    stats_count_dead(&fit->stats, size - TAG_BYTES);
    if (fit->options.coalescing == RATION_FIT_IMMEDIATE) {
        if (!tag_prev_is_live(tag)) /* stays readable as free inside the larger block */
            tag_put(&fit->row, tag, size, tag_flags(tag) & ~TAG_LIVE);
        ration_fit_merge_and_insert(fit, tag, size);
        return;
    }
    row_put_free(&fit->row, tag, size, tag_flags(tag));
    ration_fit_insert(fit, tag);
    fit->frees_since_pass++;
    bool pass_is_due = fit->options.coalescing == RATION_FIT_DEFERRED &&
                       fit->options.defer_frees != 0 &&
                       fit->frees_since_pass >= fit->options.defer_frees;
    if (pass_is_due)
        ration_fit_coalesce(fit);
}

static void fit_free(struct ration_heap *heap, void *block)
{
    struct ration_fit *fit = fit_of(heap);
    uintptr_t tag = resolve(fit, block, "free");
    if (tag == 0 || !neighbours_are_sound(fit, tag, "free"))
        return;
    fit->steps = 0;
    free_block(fit, tag);
    steps_record(&fit->stats.free_steps, fit->steps);
}

/* Makes one block of the free ones from `tag` on; returns the tag behind them. */
static uintptr_t merge_run(struct ration_fit *fit, uintptr_t tag)
{
    uintptr_t next = tag_next(tag);
    if (tag_is_live(next))
        return next;
    size_t size = tag_size(tag);
    ration_fit_remove(fit, tag);
    while (!tag_is_live(next)) {
        size_t next_size = tag_size(next);
        ration_fit_remove(fit, next);
        size += next_size;
        note_merge(fit, tag, next, size);
        next += next_size;
    }
    row_put_free(&fit->row, tag, size, tag_flags(tag));
    ration_fit_insert(fit, tag);
    return next;
}

void ration_fit_coalesce(struct ration_fit *fit)
{
    fit_tell(fit, RATION_EVENT_COALESCE, 0, 0, 0, 0);
    fit->frees_since_pass = 0;
    uintptr_t tag = row_first(&fit->row);
    while (tag < row_end_mark(&fit->row)) {
        fit->steps++;
        bool is_free = !tag_is_live(tag);
        if (is_free && !ration_fit_free_is_sound(fit, tag, "coalesce"))
            return;
        tag = is_free ? merge_run(fit, tag) : tag_next(tag);
    }
}

/* --- resize --- */

/* Cuts a live block to `bytes` if the rest is worth it. */
static void shrink_block(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    size_t rest_bytes = tag_size(tag) - bytes;
    if (!is_worth_splitting(fit, rest_bytes))
        return;
    const struct ration_row *row = &fit->row;
    uintptr_t rest = tag + bytes;
    stats_count_dead(&fit->stats, tag_usable(tag));
    row_put_free(row, rest, rest_bytes, TAG_PREV_LIVE);
    row_put_live(row, tag, bytes, tag_flags(tag));
    stats_count_live(&fit->stats, tag_usable(tag));
    fit->stats.n_splits++;
    fit_tell(fit, RATION_EVENT_SPLIT, 0, tag, rest, bytes + rest_bytes);
    if (fit->options.coalescing == RATION_FIT_IMMEDIATE)
        ration_fit_merge_and_insert(fit, rest, rest_bytes);
    else
        ration_fit_insert(fit, rest);
}

/* The live block swallows the free one behind it. */
static void absorb_next(struct ration_fit *fit, uintptr_t tag)
{
    uintptr_t next = tag_next(tag);
    size_t size = tag_size(tag) + tag_size(next);
    ration_fit_remove(fit, next);
    note_merge(fit, tag, next, size);
    stats_count_dead(&fit->stats, tag_usable(tag));
    row_put_live(&fit->row, tag, size, tag_flags(tag));
    stats_count_live(&fit->stats, tag_usable(tag));
}

static bool is_growable_into_next(const struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    uintptr_t next = tag_next(tag);
    return fit->options.coalescing != RATION_FIT_NEVER && !tag_is_live(next) &&
           tag_size(tag) + tag_size(next) >= bytes;
}

static bool is_last(const struct ration_fit *fit, uintptr_t tag)
{
    uintptr_t next = tag_next(tag);
    return next == row_end_mark(&fit->row) ||
           (!tag_is_live(next) && tag_next(next) == row_end_mark(&fit->row));
}

/* Makes the live block `bytes` long where it is. Returns 0, or -1 if that is impossible. */
static int resize_in_place(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    size_t size = tag_size(tag);
    if (bytes > size && !is_growable_into_next(fit, tag, bytes)) {
        bool may_grow = fit->options.coalescing != RATION_FIT_NEVER && is_last(fit, tag);
        if (!may_grow || ration_fit_grow_behind(fit, tag, bytes - size) != 0)
            return -1;
    }
    if (bytes > size)
        absorb_next(fit, tag);
    shrink_block(fit, tag, bytes);
    if (tag_size(tag) != size)
        fit_tell(fit, RATION_EVENT_RESIZE, 0, tag, 0, tag_size(tag));
    return 0;
}

/* Like memmove to a lower address, by copies that do not overlap: programs without a C library need
 * provide nothing but memcpy and memset. */
static void copy_down(char *to, const char *from, size_t bytes)
{
    size_t distance = (size_t)(from - to);
    for (size_t done = 0; done < bytes; done += distance)
        memcpy(to + done, from + done, min_size(distance, bytes - done));
}

/* The live block moves down to `to`, which lies in the free block before it or is that block; what is
 * below `to` stays free. Returns the new tag. */
static uintptr_t slide_to(struct ration_fit *fit, uintptr_t tag, uintptr_t to)
{
    const struct ration_row *row = &fit->row;
    uintptr_t prev = tag_prev(tag);
    uint64_t prev_flags = tag_flags(prev);
    size_t kept = tag_usable(tag);
    size_t size = tag + tag_size(tag) - to;
    ration_fit_remove(fit, prev);
    if (to != prev) {
        fit->stats.n_splits++;
        fit_tell(fit, RATION_EVENT_SPLIT, 0, prev, to, tag - prev);
    }
    note_merge(fit, to, tag, size);
    stats_count_dead(&fit->stats, kept);
    tag_put(row, tag, tag_size(tag),
            tag_flags(tag) & ~TAG_LIVE); /* nobody may take it for a block any more */
    copy_down(tag_payload(to), tag_payload(tag), kept);
    row_put_live(row, to, size, to == prev ? prev_flags : 0);
    if (to != prev) {
        row_put_free(row, prev, to - prev, prev_flags);
        ration_fit_insert(fit, prev);
    }
    stats_count_live(&fit->stats, tag_usable(to));
    return to;
}

static uintptr_t end_slide(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    shrink_block(fit, tag, bytes);
    fit_tell(fit, RATION_EVENT_RESIZE, 0, tag, 0, tag_size(tag));
    return tag;
}

/* The block moves down into the free one before it. Returns the new tag, or 0 if that gains too
 * little. */
static uintptr_t slide_down(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    if (fit->options.coalescing == RATION_FIT_NEVER || tag_prev_is_live(tag))
        return 0;
    uintptr_t prev = tag_prev(tag);
    size_t room = tag_size(prev) + tag_size(tag);
    bool takes_next = room < bytes && !tag_is_live(tag_next(tag));
    if (room + (takes_next ? tag_size(tag_next(tag)) : 0) < bytes)
        return 0;
    if (takes_next)
        absorb_next(fit, tag);
    return end_slide(fit, slide_to(fit, tag, prev), bytes);
}

/* Before the heap grows behind its last block, that block moves down into the hole before it, if
 * what is gained pays for the copy. A part of the hole stays: the small blocks that come and go
 * beside a growing one need not lie behind it, where they would stop it. A heap that grows by what
 * it needs also gives back what is left behind the block, for the same reason. Returns the new tag,
 * or 0. */
static uintptr_t slide_before_growing(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    enum { KEPT_SHARE = 16, LEAST_KEPT = 64, LEAST_GAIN_SHARE = 8 };
    if (fit->options.grow == NULL || fit->options.coalescing == RATION_FIT_NEVER ||
        bytes <= tag_size(tag) || tag_prev_is_live(tag) || !is_last(fit, tag))
        return 0;
    size_t size = tag_size(tag);
    size_t behind = tag_is_live(tag_next(tag)) ? 0 : tag_size(tag_next(tag));
    size_t hole = tag_size(tag_prev(tag));
    size_t kept = align_up(max_size(hole / KEPT_SHARE, LEAST_KEPT), fit->row.alignment);
    size_t missing = bytes - min_size(bytes, size + behind);
    if (missing == 0 || hole < kept + missing || hole - kept < size / LEAST_GAIN_SHARE)
        return 0;
    if (behind != 0)
        absorb_next(fit, tag);
    tag = end_slide(fit, slide_to(fit, tag, tag_prev(tag) + kept), bytes);
    if (fit->options.grow_bytes == 0)
        ration_fit_trim(fit, 0);
    return tag;
}

static uintptr_t move_block(struct ration_fit *fit, uintptr_t tag, size_t size)
{
    uintptr_t moved = alloc_block(fit, size, fit->row.alignment);
    if (moved == 0)
        return 0;
    memcpy(tag_payload(moved), tag_payload(tag), min_size(tag_usable(tag), tag_usable(moved)));
    free_block(fit, tag);
    return moved;
}

static uintptr_t resolve_for_resize(struct ration_fit *fit, void *block, size_t size,
                                    const char *operation)
{
    uintptr_t tag = resolve(fit, block, operation);
    fit->steps = 0;
    return tag != 0 && size <= RATION_FIT_MAX_BYTES && neighbours_are_sound(fit, tag, operation)
               ? tag
               : 0;
}

static void *fit_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_fit *fit = fit_of(heap);
    uintptr_t tag = resolve_for_resize(fit, block, size, "resize");
    if (tag == 0 || resize_in_place(fit, tag, row_block_bytes(&fit->row, size)) != 0)
        return NULL;
    steps_record(&fit->stats.resize_steps, fit->steps);
    return block;
}

static void *fit_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_fit *fit = fit_of(heap);
    uintptr_t tag = resolve_for_resize(fit, block, size, "resize");
    if (tag == 0)
        return NULL;
    size_t bytes = row_block_bytes(&fit->row, size);
    uintptr_t result = slide_before_growing(fit, tag, bytes);
    if (result == 0)
        result = resize_in_place(fit, tag, bytes) == 0 ? tag : slide_down(fit, tag, bytes);
    if (result == 0)
        result = move_block(fit, tag, size);
    steps_record(&fit->stats.resize_steps, fit->steps);
    if (result == 0)
        fit->stats.n_failures++;
    return result != 0 ? tag_payload(result) : NULL;
}

/* --- the rest of the interface --- */

static bool fit_owns(const struct ration_heap *heap, const void *address)
{
    const struct ration_row *row = &fit_of(heap)->row;
    return (uintptr_t)address >= row_first(row) && (uintptr_t)address < row_end_mark(row);
}

static size_t fit_usable_size(const struct ration_heap *heap, const void *block)
{
    uintptr_t tag = resolve(fit_of(heap), block, "usable size");
    return tag != 0 ? tag_usable(tag) : 0;
}

static int fit_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    return ration_row_walk(&fit_of(heap)->row, visit, context);
}

/* The memory is the caller's or stays with sbrk; both give it back in their own way. */
static void fit_destroy(struct ration_heap *heap)
{
    fit_of(heap)->row = (struct ration_row){0};
}

static const struct ration_figures fit_figures = {.places =
                                                      FIGURES_OF_STATS(struct ration_fit, stats)};

static const struct ration_heap_ops fit_ops = {
    .kind = "fit",
    .alloc = fit_alloc,
    .resize = fit_resize,
    .try_resize = fit_try_resize,
    .free = fit_free,
    .owns = fit_owns,
    .usable_size = fit_usable_size,
    .walk = fit_walk,
    .check = ration_fit_check,
    .stats = ration_fit_stats,
    .destroy = fit_destroy,
    .figures = &fit_figures,
};

/* --- the beginning --- */

static bool options_are_valid(const struct ration_fit_options *o)
{
    bool steps_are_valid =
        o->class_steps == 0 || (is_power_of_two(o->class_steps) && o->class_steps <= 8);
    bool order_is_valid = o->order != RATION_FIT_IMPLICIT || o->policy != RATION_FIT_SEGREGATED;
    return (unsigned)o->policy <= RATION_FIT_WORST && (unsigned)o->order <= RATION_FIT_IMPLICIT &&
           (unsigned)o->coalescing <= RATION_FIT_NEVER &&
           (o->alignment == 0 || o->alignment == 8 || o->alignment == 16) && steps_are_valid &&
           order_is_valid;
}

static int lay_first_row(struct ration_fit *fit, void *buffer, size_t bytes)
{
    if (buffer == NULL && fit->options.grow != NULL)
        return ration_fit_grow_first(fit);
    bytes = ration_row_trim(&buffer, bytes, fit->row.alignment, RATION_FIT_MAX_BYTES);
    if (bytes < fit->row.alignment + TAG_MIN_BLOCK)
        return -1;
    ration_row_lay(&fit->row, buffer, bytes);
    ration_fit_insert(fit, row_first(&fit->row));
    fit->stats.heap_bytes = bytes;
    fit->stats.heap_bytes_peak = bytes;
    return 0;
}

struct ration_heap *ration_fit_init(struct ration_fit *fit, void *buffer, size_t bytes,
                                    const struct ration_fit_options *options)
{
    *fit = (struct ration_fit){0};
    if (options != NULL)
        fit->options = *options;
    struct ration_fit_options *o = &fit->options;
    if (!options_are_valid(o))
        return NULL;
    fit->row.alignment = o->alignment != 0 ? o->alignment : 16;
    fit->row.secret = o->secret;
    fit->class_shift = lowest_bit(o->class_steps != 0 ? o->class_steps : 8);
    fit->min_remainder = max_size(o->min_remainder_bytes, TAG_MIN_BLOCK);
    ration_heap_init(&fit->heap, &fit_ops, o->name, fit->row.alignment);
    ration_observe_fn *observe = o->observe; /* laying the first block is no step of the program */
    o->observe = NULL;
    if (lay_first_row(fit, buffer, bytes) != 0)
        return NULL;
    o->observe = observe;
    ration_passthrough_begin(&fit->heap,
                             (struct passthrough_limits){o->grow != NULL ? HEAP_SIZE_MAX : bytes,
                                                         HEAP_SIZE_MAX, SIZE_MAX, 0});
    return &fit->heap;
}
