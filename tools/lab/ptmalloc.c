#include "ptmalloc.h"
#include <string.h>

static struct ptmalloc *ptmalloc_of(const struct ration_heap *heap)
{
    return (struct ptmalloc *)(uintptr_t)heap;
}

static void *payload_of(struct chunk *chunk)
{
    return (char *)chunk + chunk_header;
}

static struct chunk *chunk_of(const void *payload)
{
    return (struct chunk *)((char *)(uintptr_t)payload - chunk_header);
}

static size_t usable_bytes(const struct chunk *chunk)
{
    const bool mapped = (chunk->bytes_and_flags & is_mapped) != 0;
    return chunk_bytes(chunk) - (mapped ? chunk_header : chunk_header / 2);
}

/* What the counters say of a live chunk: the whole of a mapping, wherever its payload begins. */
static size_t counted_bytes(const struct chunk *chunk)
{
    const bool mapped = (chunk->bytes_and_flags & is_mapped) != 0;
    return usable_bytes(chunk) + (mapped ? chunk->previous_bytes : 0);
}

static size_t chunk_for_request(size_t size)
{
    const size_t bytes = align_up(size + 8, 16);
    return bytes < least_chunk ? least_chunk : bytes;
}

/* `chunk` is free from now on: the chunk after it learns that. */
static void mark_free(struct chunk *chunk)
{
    struct chunk *after = chunk_after(chunk);
    after->previous_bytes = chunk_bytes(chunk);
    after->bytes_and_flags &= ~(size_t)previous_in_use;
}

static struct chunk *mark_live(struct ptmalloc *pt, struct chunk *chunk)
{
    if (chunk != pt->top)
        chunk_after(chunk)->bytes_and_flags |= previous_in_use;
    pt_event(pt, RATION_EVENT_TAKE, 0, chunk, NULL, chunk_bytes(chunk));
    return chunk;
}

/* Cut `chunk`, which is in no bin, to `bytes`; returns the rest, which is in none either. */
static struct chunk *cut(struct ptmalloc *pt, struct chunk *chunk, size_t bytes)
{
    const size_t whole = chunk_bytes(chunk);
    struct chunk *rest = chunk_at(chunk, bytes);
    pt_event(pt, RATION_EVENT_SPLIT, 0, chunk, rest, whole);
    pt->engine.stats.n_splits++;
    chunk->bytes_and_flags = bytes | (chunk->bytes_and_flags & previous_in_use);
    rest->bytes_and_flags = (whole - bytes) | previous_in_use;
    return rest;
}

/* Serve from `chunk`, already out of its bin; the rest goes to the unsorted bin. */
static struct chunk *serve(struct ptmalloc *pt, struct chunk *chunk, size_t bytes)
{
    if (chunk_bytes(chunk) < bytes + least_chunk)
        return mark_live(pt, chunk);
    struct chunk *rest = cut(pt, chunk, bytes);
    mark_free(rest);
    bin_insert_unsorted(pt, rest);
    if (bytes < least_large)
        pt->last_remainder = rest;
    return mark_live(pt, chunk);
}

/* Merge a chunk that is in no bin with its free neighbours and with the top. Returns the merged
 * chunk, in no bin (it may be the top). */
static struct chunk *merge(struct ptmalloc *pt, struct chunk *chunk)
{
    struct chunk *after = chunk_after(chunk);
    if ((chunk->bytes_and_flags & previous_in_use) == 0) {
        struct chunk *before = (struct chunk *)((char *)chunk - chunk->previous_bytes);
        bin_remove(pt, before);
        before->bytes_and_flags += chunk_bytes(chunk);
        pt_event(pt, RATION_EVENT_MERGE, 0, before, chunk, chunk_bytes(before));
        pt->engine.stats.n_merges++;
        pt->engine.steps++;
        chunk = before;
    }
    if (after != pt->top && chunk_is_live(after))
        return chunk;
    if (after != pt->top)
        bin_remove(pt, after);
    chunk->bytes_and_flags += chunk_bytes(after);
    pt_event(pt, RATION_EVENT_MERGE, 0, chunk, after, chunk_bytes(chunk));
    pt->engine.stats.n_merges++;
    pt->engine.steps++;
    if (after == pt->top)
        pt->top = chunk;
    return chunk;
}

static void give_to_unsorted(struct ptmalloc *pt, struct chunk *chunk)
{
    chunk = merge(pt, chunk);
    if (chunk == pt->top)
        return;
    mark_free(chunk);
    bin_insert_unsorted(pt, chunk);
}

/* Empty the fast bins: their chunks merge at last. */
static void consolidate(struct ptmalloc *pt)
{
    pt_event(pt, RATION_EVENT_COALESCE, 0, NULL, NULL, 0);
    for (unsigned i = 0; i < n_fast; i++) {
        while (pt->fast[i] != NULL) {
            struct chunk *chunk = pt->fast[i];
            pt->fast[i] = chunk->next;
            pt->engine.steps++;
            pt_event(pt, RATION_EVENT_REMOVE, 0, chunk, NULL, chunk_bytes(chunk));
            give_to_unsorted(pt, chunk);
        }
    }
    pt->n_fast_chunks = 0;
}

static struct chunk *take_fast(struct ptmalloc *pt, size_t bytes)
{
    const size_t index = bytes / 16 - 2;
    engine_turn(&pt->engine, fast_list + (unsigned)index);
    struct chunk *chunk = pt->fast[index];
    if (chunk == NULL)
        return NULL;
    pt->fast[index] = chunk->next;
    pt->n_fast_chunks--;
    pt_event(pt, RATION_EVENT_REMOVE, 0, chunk, NULL, bytes);
    pt_event(pt, RATION_EVENT_TAKE, 0, chunk, NULL, bytes);
    return chunk;
}

static struct chunk *take_small(struct ptmalloc *pt, size_t bytes)
{
    struct chunk *head = &pt->bins[bin_for(bytes)];
    engine_turn(&pt->engine, bin_for(bytes));
    struct chunk *chunk = head->previous; /* the oldest */
    if (chunk == head)
        return NULL;
    bin_remove(pt, chunk);
    return mark_live(pt, chunk);
}

/* Each unsorted chunk gets one chance to serve; those that do not fit exactly are sorted in. */
static struct chunk *take_unsorted(struct ptmalloc *pt, size_t bytes)
{
    struct chunk *head = &pt->bins[unsorted_bin];
    for (int looked = 0; head->previous != head && looked < most_unsorted; looked++) {
        struct chunk *chunk = head->previous;
        const bool is_only = chunk->previous == head;
        pt_examine(pt, chunk);
        bin_remove(pt, chunk);
        if (bytes < least_large && is_only && chunk == pt->last_remainder &&
            chunk_bytes(chunk) > bytes + least_chunk)
            return serve(pt, chunk, bytes);
        if (chunk_bytes(chunk) == bytes)
            return mark_live(pt, chunk);
        bin_insert(pt, bin_for(chunk_bytes(chunk)), chunk);
    }
    return NULL;
}

/* The smallest chunk of a sorted bin that is large enough: sizes are tried from the small end. */
static struct chunk *search_large(struct ptmalloc *pt, struct chunk *head, size_t bytes)
{
    struct chunk *largest = head->next;
    if (largest == head || chunk_bytes(largest) < bytes)
        return NULL;
    struct chunk *chunk = largest->previous_size;
    pt_examine(pt, chunk);
    while (chunk_bytes(chunk) < bytes) {
        chunk = chunk->previous_size;
        pt_examine(pt, chunk);
    }
    /* The second one of a size is cheaper to take out: it has no links from size to size. */
    struct chunk *second = chunk->next;
    return second != head && chunk_bytes(second) == chunk_bytes(chunk) ? second : chunk;
}

static struct chunk *take_binned(struct ptmalloc *pt, size_t bytes)
{
    unsigned bin = bin_for(bytes);
    if (bytes >= least_large) {
        engine_turn(&pt->engine, bin);
        struct chunk *chunk = search_large(pt, &pt->bins[bin], bytes);
        if (chunk != NULL) {
            bin_remove(pt, chunk);
            return serve(pt, chunk, bytes);
        }
    }
    for (bin++; bin < n_bins - 1; bin++) {
        struct chunk *head = &pt->bins[bin];
        if (head->previous == head) /* the original finds these by a bitmap: no step */
            continue;
        engine_turn(&pt->engine, bin);
        struct chunk *chunk = head->previous;
        pt_examine(pt, chunk);
        bin_remove(pt, chunk);
        return serve(pt, chunk, bytes);
    }
    return NULL;
}

static struct chunk *take_top(struct ptmalloc *pt, size_t bytes)
{
    struct chunk *chunk = pt->top;
    if (chunk == NULL || chunk_bytes(chunk) < bytes + least_chunk)
        return NULL;
    pt_examine(pt, chunk);
    pt->top = cut(pt, chunk, bytes);
    return mark_live(pt, chunk);
}

static struct chunk *take_mapping(struct ptmalloc *pt, size_t bytes)
{
    const size_t mapped = align_up(bytes + 8, space_page_bytes);
    struct chunk *chunk = mapped > bytes ? space_map(pt->engine.space, mapped) : NULL;
    if (chunk == NULL)
        return NULL;
    chunk->bytes_and_flags = mapped | is_mapped;
    pt_event(pt, RATION_EVENT_GROW, 0, chunk, NULL, mapped);
    pt_event(pt, RATION_EVENT_TAKE, 0, chunk, NULL, mapped);
    return chunk;
}

/* More from the break: the top grows in place, because nobody else moves the break here. */
static int grow_top(struct ptmalloc *pt, size_t bytes)
{
    const size_t old = pt->top != NULL ? chunk_bytes(pt->top) : 0;
    const size_t more = align_up(bytes + top_pad + least_chunk - old, space_page_bytes);
    char *from = space_move_break(pt->engine.space, (intptr_t)more);
    if (from == (char *)-1)
        return -1;
    if (pt->top == NULL) {
        pt->top = (struct chunk *)from;
        pt->top->bytes_and_flags = previous_in_use;
    }
    pt->top->bytes_and_flags += more;
    pt->engine.stats.n_grows++;
    pt_event(pt, RATION_EVENT_GROW, 0, from, NULL, more);
    return 0;
}

static struct chunk *take_from_system(struct ptmalloc *pt, size_t bytes)
{
    if (bytes >= pt->map_threshold)
        return take_mapping(pt, bytes);
    if (grow_top(pt, bytes) != 0)
        return NULL;
    return take_top(pt, bytes);
}

static struct chunk *take(struct ptmalloc *pt, size_t bytes)
{
    struct chunk *chunk = NULL;
    if (bytes <= max_fast && (chunk = take_fast(pt, bytes)) != NULL)
        return chunk;
    if (bytes < least_large)
        chunk = take_small(pt, bytes);
    else if (pt->n_fast_chunks > 0)
        consolidate(pt);
    if (chunk != NULL)
        return chunk;
    for (;;) {
        if ((chunk = take_unsorted(pt, bytes)) != NULL ||
            (chunk = take_binned(pt, bytes)) != NULL || (chunk = take_top(pt, bytes)) != NULL)
            return chunk;
        if (pt->n_fast_chunks == 0)
            return take_from_system(pt, bytes);
        consolidate(pt);
    }
}

static void trim_top(struct ptmalloc *pt)
{
    const size_t spare = chunk_bytes(pt->top) - least_chunk - 1;
    if (spare <= top_pad)
        return;
    const size_t extra = (spare - top_pad) & ~(size_t)(space_page_bytes - 1);
    if (extra == 0)
        return;
    space_move_break(pt->engine.space, -(intptr_t)extra);
    pt->top->bytes_and_flags -= extra;
    pt_event(pt, RATION_EVENT_SHRINK, 0, chunk_after(pt->top), NULL, extra);
}

static void give(struct ptmalloc *pt, struct chunk *chunk)
{
    const size_t bytes = chunk_bytes(chunk);
    if (bytes <= max_fast) {
        chunk->next = pt->fast[bytes / 16 - 2];
        pt->fast[bytes / 16 - 2] = chunk;
        pt->n_fast_chunks++;
        pt_event(pt, RATION_EVENT_INSERT, fast_list + (unsigned)(bytes / 16) - 2, chunk, NULL,
                 bytes);
        return;
    }
    struct chunk *merged = merge(pt, chunk);
    if (merged != pt->top) {
        mark_free(merged);
        bin_insert_unsorted(pt, merged);
    }
    if (chunk_bytes(merged) >= consolidation_bytes) {
        if (pt->n_fast_chunks > 0)
            consolidate(pt);
        if (chunk_bytes(pt->top) >= pt->trim_threshold)
            trim_top(pt);
    }
}

/* The threshold for mappings rises to what was freed, so that a size in steady use stays on the
 * heap; the one for trimming follows. */
static void give_mapping(struct ptmalloc *pt, struct chunk *chunk)
{
    const size_t bytes = chunk_bytes(chunk);
    if (bytes > pt->map_threshold && bytes <= MAX_MAP_THRESHOLD) {
        pt->map_threshold = bytes;
        pt->trim_threshold = 2 * bytes;
    }
    pt_event(pt, RATION_EVENT_SHRINK, 0, chunk, NULL, bytes);
    space_unmap(pt->engine.space, chunk);
}

/* A live chunk gives back everything above `bytes`. */
static void trim_chunk(struct ptmalloc *pt, struct chunk *chunk, size_t bytes)
{
    if (chunk_bytes(chunk) < bytes + least_chunk)
        return;
    struct chunk *rest = cut(pt, chunk, bytes);
    chunk_after(rest)->bytes_and_flags |= previous_in_use;
    give_to_unsorted(pt, rest);
}

/* Aligned: a larger chunk, of which the front and the end are given back. */
static struct chunk *take_aligned(struct ptmalloc *pt, size_t bytes, size_t alignment)
{
    struct chunk *chunk = take(pt, bytes + alignment + least_chunk);
    if (chunk == NULL || (chunk->bytes_and_flags & is_mapped) != 0)
        return chunk;
    const uintptr_t payload = (uintptr_t)payload_of(chunk);
    if ((payload & (alignment - 1)) != 0) {
        const size_t lead = align_up(payload + least_chunk, alignment) - payload;
        struct chunk *aligned = cut(pt, chunk, lead);
        chunk_after(aligned)->bytes_and_flags |= previous_in_use;
        give_to_unsorted(pt, chunk);
        chunk = aligned;
    }
    trim_chunk(pt, chunk, bytes);
    return chunk;
}

/* The header moves to in front of the aligned payload and remembers how far it came. */
static struct chunk *align_in_mapping(struct chunk *chunk, size_t alignment)
{
    const uintptr_t payload = (uintptr_t)payload_of(chunk);
    const size_t lead = align_up(payload, alignment) - payload;
    struct chunk *moved = chunk_at(chunk, lead);
    const size_t bytes = chunk_bytes(chunk) - lead;
    moved->bytes_and_flags = bytes | is_mapped;
    moved->previous_bytes = lead;
    return moved;
}

static void *pt_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ptmalloc *pt = ptmalloc_of(heap);
    struct chunk *chunk = NULL;
    engine_begin(&pt->engine);
    if (size < SIZE_MAX / 4 && alignment < SIZE_MAX / 4) {
        const size_t bytes = chunk_for_request(size);
        pt_event(pt, RATION_EVENT_REQUEST, 0, NULL, NULL, bytes);
        chunk = alignment <= 16 ? take(pt, bytes) : take_aligned(pt, bytes, alignment);
    }
    if (chunk == NULL)
        pt_event(pt, RATION_EVENT_FAIL, 0, NULL, NULL, size);
    if (chunk != NULL && (chunk->bytes_and_flags & is_mapped) != 0)
        chunk = align_in_mapping(chunk, alignment);
    engine_end_alloc(&pt->engine, chunk != NULL ? counted_bytes(chunk) : 0, chunk != NULL);
    return chunk != NULL ? payload_of(chunk) : NULL;
}

static void pt_free(struct ration_heap *heap, void *payload)
{
    struct ptmalloc *pt = ptmalloc_of(heap);
    struct chunk *chunk = chunk_of(payload);
    const size_t usable = counted_bytes(chunk);
    engine_begin(&pt->engine);
    pt_event(pt, RATION_EVENT_RELEASE, 0, chunk, NULL, chunk_bytes(chunk));
    if ((chunk->bytes_and_flags & is_mapped) != 0)
        give_mapping(pt, chunk);
    else
        give(pt, chunk);
    engine_end_free(&pt->engine, usable);
}

static size_t pt_usable(const struct ration_heap *heap, const void *payload)
{
    (void)heap;
    return usable_bytes(chunk_of(payload));
}

/* Into the top or a free neighbour; false when neither has the room. */
static bool grow_chunk(struct ptmalloc *pt, struct chunk *chunk, size_t bytes)
{
    struct chunk *after = chunk_after(chunk);
    size_t together = chunk_bytes(chunk) + chunk_bytes(after);
    if (after == pt->top) {
        /* A request that would come out of the grown top right behind this chunk extends it. */
        if (together < bytes + least_chunk &&
            (bytes >= pt->map_threshold || grow_top(pt, bytes - chunk_bytes(chunk)) != 0))
            return false;
        together = chunk_bytes(chunk) + chunk_bytes(after);
        struct chunk *rest = chunk_at(chunk, bytes);
        chunk->bytes_and_flags = bytes | (chunk->bytes_and_flags & previous_in_use);
        rest->bytes_and_flags = (together - bytes) | previous_in_use;
        pt->top = rest;
        return true;
    }
    if (chunk_is_live(after) || together < bytes)
        return false;
    bin_remove(pt, after);
    chunk->bytes_and_flags += chunk_bytes(after);
    chunk_after(chunk)->bytes_and_flags |= previous_in_use;
    pt->engine.stats.n_merges++;
    trim_chunk(pt, chunk, bytes);
    return true;
}

static void *pt_try_resize(struct ration_heap *heap, void *payload, size_t size)
{
    struct ptmalloc *pt = ptmalloc_of(heap);
    struct chunk *chunk = chunk_of(payload);
    const size_t before = usable_bytes(chunk);
    if (size >= SIZE_MAX / 4)
        return NULL;
    if ((chunk->bytes_and_flags & is_mapped) != 0)
        return size <= before ? payload : NULL;
    const size_t bytes = chunk_for_request(size);
    engine_begin(&pt->engine);
    if (bytes <= chunk_bytes(chunk))
        trim_chunk(pt, chunk, bytes);
    else if (!grow_chunk(pt, chunk, bytes))
        return NULL;
    pt->engine.stats.live_usable_bytes += usable_bytes(chunk) - before;
    pt_event(pt, RATION_EVENT_RESIZE, 0, chunk, NULL, chunk_bytes(chunk));
    return payload;
}

static int walk_chunks(const struct ptmalloc *pt, const struct address_set *fast,
                       ration_walk_fn *visit, void *context)
{
    if (pt->top == NULL)
        return 0;
    int ended = 0;
    for (struct chunk *chunk = (struct chunk *)pt->engine.space->brk.start;
         chunk != pt->top && ended == 0; chunk = chunk_after(chunk)) {
        const bool is_free = !chunk_is_live(chunk) || address_set_has(fast, chunk);
        /* The data of a live chunk runs 8 bytes into the next one; the part seen here is moved
         * down by as much, so that parts do not overlap. */
        ended = engine_visit(visit, context, (char *)chunk + 8, chunk_bytes(chunk), 8,
                             is_free ? RATION_BLOCK_FREE : RATION_BLOCK_LIVE);
    }
    if (ended == 0)
        ended = engine_visit(visit, context, (char *)pt->top + 8, chunk_bytes(pt->top) - 8, 8,
                             RATION_BLOCK_FREE);
    return ended;
}

static int pt_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct ptmalloc *pt = ptmalloc_of(heap);
    struct address_set fast = {0};
    for (unsigned i = 0; i < n_fast; i++)
        for (struct chunk *chunk = pt->fast[i]; chunk != NULL; chunk = chunk->next)
            address_set_add(&fast, chunk);
    address_set_sort(&fast);
    int ended = walk_chunks(pt, &fast, visit, context);
    address_set_drop(&fast);
    const struct space *space = pt->engine.space;
    for (size_t i = 0; i < space->n_mappings && ended == 0; i++)
        ended = engine_visit(visit, context, space->maps.start + space->mappings[i].offset,
                             space->mappings[i].bytes, chunk_header, RATION_BLOCK_LIVE);
    return ended;
}

static int pt_open(struct lab_heap *lab, const struct lab_choices *choices,
                   ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "ptmalloc",
                                               .alloc = pt_alloc,
                                               .resize = engine_resize,
                                               .try_resize = pt_try_resize,
                                               .free = pt_free,
                                               .owns = engine_owns,
                                               .usable_size = pt_usable,
                                               .walk = pt_walk,
                                               .check = engine_check,
                                               .stats = engine_stats,
                                               .destroy = engine_destroy};
    (void)choices;
    (void)message;
    struct ptmalloc *pt = engine_open(lab, sizeof *pt, &ops, 16, observe, context);
    for (unsigned i = 0; i < n_bins; i++)
        pt->bins[i].next = pt->bins[i].previous = &pt->bins[i];
    pt->map_threshold = pt->trim_threshold = (size_t)128 * 1024;
    return 0;
}

const struct lab_strategy strategy_ptmalloc = {
    .name = "ptmalloc",
    .what = "bins of glibc's malloc without its thread cache: fast, unsorted, small, large, top",
    .in_all = true,
    .header_bytes = 8,
    .least_block = 32,
    .open = pt_open,
};
