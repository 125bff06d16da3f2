/* The end of a fit heap that grows. All knowledge about sbrk is here: who else may have moved the
 * end, and when. */
#include "heaps/fit_internal.h"

static void *const impossible = (void *)-1;

static void *move_end(const struct ration_fit *fit, intptr_t increment)
{
    return fit->options.grow(fit->options.grow_context, increment);
}

/* Bytes by which to grow when at least `bytes` are needed. */
static size_t round_growth(const struct ration_fit *fit, size_t bytes)
{
    size_t step = max_size(fit->options.grow_bytes, fit->row.alignment);
    step = align_up(step, fit->row.alignment);
    return (bytes + step - 1) / step * step;
}

static bool has_room_for(const struct ration_fit *fit, uintptr_t new_end)
{
    return new_end > fit->row.end && new_end - fit->row.start <= RATION_FIT_MAX_BYTES;
}

/* Bytes that move a foreign end to a multiple of the alignment. */
static size_t padding_at(const struct ration_fit *fit, uintptr_t end)
{
    return align_up(end, fit->row.alignment) - end;
}

/* Takes [start, end) into the row, where start >= row.end: what lies between becomes a fence. The
 * new block, merged with the last one where that is wanted, is in its list afterwards. */
static void adopt(struct ration_fit *fit, uintptr_t start, uintptr_t end)
{
    struct ration_row *row = &fit->row;
    uintptr_t mark = row_end_mark(row);
    uint64_t prev_flags = tag_flags(mark);
    size_t gap = start - row->end;
    row->end = end;
    tag_put(row, row_end_mark(row), 0, TAG_LIVE);
    uintptr_t tag = mark;
    if (gap != 0) {
        tag = mark + gap + row->alignment;
        tag_put(row, mark, tag - mark, TAG_LIVE | TAG_FENCE | (prev_flags & TAG_PREV));
        prev_flags = TAG_PREV_LIVE;
        fit->stats.foreign_bytes += gap;
    }
    size_t size = row_end_mark(row) - tag;
    row_put_free(row, tag, size, prev_flags);
    fit->stats.n_grows++;
    fit->stats.heap_bytes += end - start;
    fit->stats.heap_bytes_peak = max_size(fit->stats.heap_bytes_peak, fit->stats.heap_bytes);
    fit_tell(fit, RATION_EVENT_GROW, 0, start, 0, end - start);
    bool merges = fit->options.coalescing != RATION_FIT_NEVER && !tag_prev_is_live(tag) &&
                  ration_fit_free_is_sound(fit, tag_prev(tag), "grow");
    if (merges)
        ration_fit_merge_and_insert(fit, tag, size);
    else
        ration_fit_insert(fit, tag);
}

/* Adds at least `bytes` bytes at the end. Returns 0, or -1. */
static int extend(struct ration_fit *fit, size_t bytes)
{
    uintptr_t now = (uintptr_t)move_end(fit, 0);
    if (now == (uintptr_t)impossible || now < fit->row.end)
        return -1; /* somebody moved the end below ours: that memory is lost, but nothing of it is
                      handed out again */
    size_t padding = padding_at(fit, now);
    if (now != fit->row.end)
        bytes += fit->row.alignment; /* a tag for the fence's far side and a new end mark */
    size_t rounded = round_growth(fit, bytes);
    bytes = align_up(bytes, fit->row.alignment);
    if (!has_room_for(fit, now + padding + rounded))
        rounded = bytes;
    if (!has_room_for(fit, now + padding + rounded))
        return -1;
    uintptr_t old = (uintptr_t)move_end(fit, (intptr_t)(padding + rounded));
    if (old == (uintptr_t)impossible && rounded != bytes) {
        rounded = bytes;
        old = (uintptr_t)move_end(fit, (intptr_t)(padding + rounded));
    }
    if (old == (uintptr_t)impossible || old < fit->row.end)
        return -1;
    uintptr_t start = align_up(old, fit->row.alignment);
    uintptr_t end = align_down(old + padding + rounded, fit->row.alignment);
    bool moved_meanwhile = old != now;
    if (moved_meanwhile && end < start + fit->row.alignment + TAG_MIN_BLOCK)
        return -1;
    adopt(fit, start, end);
    return 0;
}

/* The free block in front of the end mark, or 0. */
static uintptr_t find_last_free(const struct ration_fit *fit)
{
    uintptr_t mark = row_end_mark(&fit->row);
    return tag_prev_is_live(mark) ? 0 : tag_prev(mark);
}

uintptr_t ration_fit_grow_for(struct ration_fit *fit, const struct fit_request *request)
{
    if (fit->options.grow == NULL)
        return 0;
    bool merges = fit->options.coalescing != RATION_FIT_NEVER;
    size_t wanted =
        request->bytes + (request->alignment > fit->row.alignment ? request->alignment : 0);
    enum { ATTEMPTS = 3 }; /* more than one only if somebody else moves the end at the same time */
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uintptr_t last = find_last_free(fit);
        size_t there = last != 0 && merges ? tag_size(last) : 0;
        bool end_is_ours = (uintptr_t)move_end(fit, 0) == fit->row.end;
        if (extend(fit, end_is_ours && there < wanted ? wanted - there : wanted) != 0)
            return 0;
        last = find_last_free(fit);
        if (last != 0 && fit_serves(fit, last, request))
            return last;
    }
    return 0;
}

int ration_fit_grow_behind(struct ration_fit *fit, uintptr_t tag, size_t bytes)
{
    if (fit->options.grow == NULL || (uintptr_t)move_end(fit, 0) != fit->row.end)
        return -1;
    uintptr_t next = tag_next(tag);
    size_t there = tag_is_live(next) ? 0 : tag_size(next);
    if (there < bytes && extend(fit, max_size(bytes - there, TAG_MIN_BLOCK)) != 0)
        return -1;
    return !tag_is_live(next) && tag_size(next) >= bytes ? 0 : -1;
}

int ration_fit_grow_first(struct ration_fit *fit)
{
    uintptr_t now = (uintptr_t)move_end(fit, 0);
    if (now == (uintptr_t)impossible)
        return -1;
    size_t padding = padding_at(fit, now);
    size_t bytes = fit->row.alignment; /* the end mark, and what aligns the first tag */
    uintptr_t old = (uintptr_t)move_end(fit, (intptr_t)(padding + bytes));
    if (old != now)
        return -1;
    ration_row_lay(&fit->row, (void *)(now + padding), bytes);
    fit->stats.heap_bytes = bytes;
    fit->stats.heap_bytes_peak = bytes;
    return 0;
}

size_t ration_fit_trim(struct ration_fit *fit, size_t keep)
{
    uintptr_t last = find_last_free(fit);
    if (fit->options.grow == NULL || last == 0 || !ration_fit_free_is_sound(fit, last, "trim"))
        return 0;
    size_t size = tag_size(last);
    size_t kept = align_up(keep, fit->row.alignment);
    if (kept != 0)
        kept = max_size(kept, TAG_MIN_BLOCK);
    if (kept >= size || (uintptr_t)move_end(fit, 0) != fit->row.end)
        return 0;
    size_t given = size - kept;
    uint64_t prev_flags = tag_flags(last);
    ration_fit_remove(fit, last); /* first: its links may lie in what is given back */
    if (move_end(fit, -(intptr_t)given) == impossible) {
        ration_fit_insert(fit, last);
        return 0;
    }
    if (fit->rover == row_link(&fit->row, last))
        fit->rover = 0;
    fit->row.end -= given;
    fit->stats.heap_bytes -= given;
    tag_put(&fit->row, row_end_mark(&fit->row), 0, TAG_LIVE | (prev_flags & TAG_PREV));
    if (kept != 0) {
        row_put_free(&fit->row, last, kept, prev_flags);
        ration_fit_insert(fit, last);
    }
    fit_tell(fit, RATION_EVENT_SHRINK, 0, fit->row.end, 0, given);
    return given;
}
