/* Looking at an arena without changing it. */
#include "heaps/arena_internal.h"

/* Numbers of the invariants in arena.h. */
enum { I_CURSOR = 1, I_FIRST, I_FREED, I_LAST, I_CHUNKS, I_CLEAR };

static int visit_part(uintptr_t from, uintptr_t to, enum ration_block_state state,
                      ration_walk_fn *visit, void *context)
{
    if (from == to)
        return 0;
    bool is_block = state != RATION_BLOCK_TABLE;
    struct ration_block part = {
        (void *)from,   to - from, is_block ? (void *)from : NULL, is_block ? to - from : 0,
        RATION_UNKNOWN, state};
    return visit(&part, context);
}

static int walk_chunk(const struct ration_arena *arena, const arena_chunk *c, bool is_used,
                      ration_walk_fn *visit, void *context)
{
    int stop = visit_part((uintptr_t)c, c->blocks, RATION_BLOCK_TABLE, visit, context);
    uintptr_t end = is_used ? used_end(arena, c) : c->blocks;
    uintptr_t at = c->blocks;
    while (stop == 0 && at < end) {
        size_t index = index_of(arena, c, at);
        uintptr_t next = at + block_bytes(arena, c, index);
        stop = visit_part(at, next,
                          bit_is_set(c->freed, index) ? RATION_BLOCK_FREE : RATION_BLOCK_LIVE,
                          visit, context);
        at = next;
    }
    if (stop == 0)
        stop = visit_part(end, c->end, RATION_BLOCK_FREE, visit, context);
    return stop != 0
               ? stop
               : visit_part(c->end, (uintptr_t)c + c->bytes, RATION_BLOCK_TABLE, visit, context);
}

static bool is_used_chunk(const struct ration_arena *arena, const arena_chunk *wanted)
{
    const arena_chunk *c = arena->first;
    while (c != wanted && c != arena->current)
        c = c->next;
    return c == wanted;
}

/* The chunk with the lowest address above `after`. */
static const arena_chunk *find_next_by_address(const struct ration_arena *arena,
                                               const arena_chunk *after)
{
    const arena_chunk *lowest = NULL;
    for (const arena_chunk *c = arena->first; c != NULL; c = c->next)
        if ((uintptr_t)c > (uintptr_t)after && (lowest == NULL || (uintptr_t)c < (uintptr_t)lowest))
            lowest = c;
    return lowest;
}

int ration_arena_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct ration_arena *arena = arena_of(heap);
    int stop = 0;
    const arena_chunk *c = find_next_by_address(arena, NULL);
    for (; c != NULL && stop == 0; c = find_next_by_address(arena, c))
        stop = walk_chunk(arena, c, is_used_chunk(arena, c), visit, context);
    return stop;
}

/* --- checking and counting --- */

static int check_used_chunk(const struct ration_arena *arena, const arena_chunk *c,
                            struct ration_finding *finding)
{
    uintptr_t used = used_end(arena, c);
    if (used < c->blocks || used > c->end || ((used - c->blocks) & (grain_of(arena) - 1)) != 0)
        return finding_set(finding, I_CURSOR, used,
                           "the cursor is outside its chunk or not at a grain");
    size_t n = index_of(arena, c, used);
    if (n == 0)
        return 0;
    if (!bit_is_set(c->starts, 0))
        return finding_set(finding, I_FIRST, c->blocks, "a used chunk does not begin with a block");
    for (size_t i = 0; i < n; i++)
        if (bit_is_set(c->freed, i) && !bit_is_set(c->starts, i))
            return finding_set(finding, I_FREED, address_of(arena, c, i),
                               "a grain inside a block is marked as freed");
    size_t last = find_set_below(c->starts, n - 1);
    if (c == arena->current && bit_is_set(c->freed, last) && is_after_mark(arena, c, last))
        return finding_set(finding, I_LAST, address_of(arena, c, last),
                           "the last block before the cursor is freed");
    return 0;
}

static int check_clear_bits(const struct ration_arena *arena, struct ration_finding *finding)
{
    const arena_chunk *c = arena->current;
    bool is_sound = arena->limit >= arena->cursor && arena->limit <= c->end;
    size_t from = index_of(arena, c, arena->cursor);
    size_t to = is_sound ? index_of(arena, c, arena->limit) : from;
    if (is_sound && find_set(c->starts, from, to) == to && find_set(c->freed, from, to) == to)
        return 0;
    return finding_set(finding, I_CLEAR, arena->limit,
                       "the limit is outside its chunk, or a bit between cursor and limit is set");
}

static int check_chunks(const struct ration_arena *arena, struct ration_finding *finding)
{
    size_t bytes = 0;
    bool current_is_listed = arena->current == NULL;
    for (const arena_chunk *c = arena->first; c != NULL; c = c->next) {
        bytes += c->bytes;
        current_is_listed = current_is_listed || c == arena->current;
        const arena_chunk *above = find_next_by_address(arena, c);
        if (above != NULL && (uintptr_t)c + c->bytes > (uintptr_t)above)
            return finding_set(finding, I_CHUNKS, (uintptr_t)above, "two chunks overlap");
    }
    if (!current_is_listed)
        return finding_set(finding, I_CURSOR, (uintptr_t)arena->current,
                           "the current chunk is not in the chain");
    if (bytes != arena->stats.heap_bytes)
        return finding_set(finding, I_CHUNKS, (uintptr_t)arena->first,
                           "the chunks do not add up to the heap's bytes");
    return 0;
}

void ration_arena_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_arena *arena = arena_of(heap);
    if (check_chunks(arena, finding))
        return;
    for (const arena_chunk *c = arena->first; c != NULL && arena->current != NULL; c = c->next) {
        if (check_used_chunk(arena, c, finding))
            return;
        if (c == arena->current) {
            check_clear_bits(arena, finding);
            return;
        }
    }
}

static int count_part(const struct ration_block *block, void *context)
{
    struct ration_heap_stats *stats = context;
    if (block->state == RATION_BLOCK_LIVE) {
        stats->live_blocks++;
        stats->live_usable_bytes += block->bytes;
    } else if (block->state == RATION_BLOCK_FREE) {
        stats->free_blocks++;
        stats->free_bytes += block->bytes;
        stats->largest_free_bytes = max_size(stats->largest_free_bytes, block->bytes);
    }
    return 0;
}

void ration_arena_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_arena *arena = arena_of(heap);
    *stats = arena->stats;
    stats->live_usable_peak = max_size(stats->live_usable_peak, arena_used(arena));
    uint64_t n_tried = stats->n_allocs + stats->n_failures;
    stats->alloc_steps.all += n_tried;
    if (n_tried != 0 && arena->steps_noted_at != n_tried)
        stats->alloc_steps.last = 1;
    ration_arena_walk(heap, count_part, stats);
    stats->live_requested_bytes = RATION_UNKNOWN;
    for (const arena_chunk *c = arena->current; c != NULL; c = c->next) {
        uintptr_t from = c == arena->current ? arena->cursor : c->blocks;
        stats->largest_request_bytes = max_size(stats->largest_request_bytes, c->end - from);
    }
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}
