#include "heaps/arena_internal.h"

enum { DEFAULT_CHUNK_BYTES = 64 * 1024 };

static const struct ration_heap_ops arena_ops;

/* --- chunks --- */

/* Bytes of record and bitmaps for n grains. */
static size_t head_bytes(size_t n_grains)
{
    size_t words = (n_grains + WORD_BITS - 1) / WORD_BITS;
    return align_up(sizeof(arena_chunk) + 2 * words * sizeof(uint64_t), 16);
}

/* Size of a chunk that can hold one block of `bytes`; 0 if that is absurd. */
static size_t chunk_bytes_for(const struct ration_arena *arena, size_t bytes)
{
    if (bytes > HEAP_SIZE_MAX / 2)
        return 0;
    return head_bytes((bytes >> arena->grain_shift) + 1) + align_up(bytes, 16) + 16;
}

/* Makes a chunk of aligned memory. Returns NULL if there is no room for one grain. */
static arena_chunk *lay_chunk(const struct ration_arena *arena, void *memory, size_t bytes,
                              bool is_callers)
{
    size_t n = bytes >> arena->grain_shift; /* an upper bound: the head takes some of it */
    while (n > 0 && (head_bytes(n) >= bytes || (bytes - head_bytes(n)) >> arena->grain_shift < n))
        n = bytes > head_bytes(n) ? (bytes - head_bytes(n)) >> arena->grain_shift : n / 2;
    if (n == 0)
        return NULL;
    arena_chunk *c = memory;
    size_t words = (n + WORD_BITS - 1) / WORD_BITS;
    *c = (arena_chunk){.bytes = bytes, .is_callers = is_callers};
    c->starts = (uint64_t *)(c + 1);
    c->freed = c->starts + words;
    c->blocks = (uintptr_t)memory + head_bytes(n);
    c->end = address_of(arena, c, n);
    c->cursor = c->blocks;
    return c;
}

static bool has_budget(const struct ration_arena *arena, size_t bytes)
{
    return arena->options.limit_bytes == 0 ||
           (arena->stats.heap_bytes <= arena->options.limit_bytes &&
            bytes <= arena->options.limit_bytes - arena->stats.heap_bytes);
}

/* A new chunk for a block of `bytes`, behind the current one; NULL if there is no memory. */
static arena_chunk *take_chunk(struct ration_arena *arena, size_t bytes)
{
    const struct ration_source *source = arena->options.source;
    size_t needed = chunk_bytes_for(arena, bytes);
    size_t size = max_size(needed, arena->options.chunk_bytes);
    if (!has_budget(arena, size))
        size = needed;
    if (source == NULL || needed == 0 || !has_budget(arena, size))
        return NULL;
    void *memory = source->take(source->context, size, 16);
    if (memory == NULL)
        return NULL;
    arena_chunk *c = lay_chunk(arena, memory, size, false);
    c->next = arena->current != NULL ? arena->current->next : NULL;
    if (arena->current != NULL)
        arena->current->next = c;
    else
        arena->first = c;
    arena->stats.n_grows++;
    arena->stats.heap_bytes += size;
    arena->stats.heap_bytes_peak = max_size(arena->stats.heap_bytes_peak, arena->stats.heap_bytes);
    return c;
}

/* The cursor is at its highest for now; whatever moves it back has to say so first. */
static void note_peak(struct ration_arena *arena)
{
    arena->stats.live_usable_peak = max_size(arena->stats.live_usable_peak, arena_used(arena));
}

/* Puts the cursor into the chunk; `used` bytes lie before it in the arena. No bits are clear yet. */
static void set_cursor(struct ration_arena *arena, arena_chunk *c, uintptr_t cursor, size_t used)
{
    arena->current = c;
    arena->cursor = cursor;
    arena->used_from = cursor - used;
    size_t index = index_of(arena, c, cursor);
    size_t behind = align_up(index, WORD_BITS);
    if (behind != index) { /* the rest of a word that is in use */
        c->starts[index / WORD_BITS] &= bits_below(index);
        c->freed[index / WORD_BITS] &= bits_below(index);
    }
    arena->limit = min_size(address_of(arena, c, behind), c->end);
}

/* Moves the cursor to an earlier place in its chunk. */
static void move_cursor_back(struct ration_arena *arena, uintptr_t cursor)
{
    note_peak(arena);
    set_cursor(arena, arena->current, cursor, cursor - arena->used_from);
}

static void make_current(struct ration_arena *arena, arena_chunk *c)
{
    size_t used = 0;
    if (arena->current != NULL) {
        arena->current->cursor = arena->cursor;
        used = arena_used(arena);
    }
    set_cursor(arena, c, c->blocks, used);
}

/* --- allocation --- */

/* Bytes from the cursor to the first address that is so aligned. */
static size_t gap_at(uintptr_t cursor, size_t alignment)
{
    return align_up(cursor, alignment) - cursor;
}

static bool has_room(const arena_chunk *c, uintptr_t cursor, size_t bytes, size_t alignment)
{
    size_t room = c->end - cursor;
    return bytes <= room && gap_at(cursor, alignment) <= room - bytes;
}

/* Clears bits up to `end`, and some more: then blocks below the limit need not think of it. */
static void clear_bits_to(struct ration_arena *arena, uintptr_t end)
{
    enum { WORDS_AHEAD = 4 };
    arena_chunk *c = arena->current;
    size_t from = index_of(arena, c, arena->limit) / WORD_BITS;
    size_t n_words = (index_of(arena, c, c->end) + WORD_BITS - 1) / WORD_BITS;
    size_t to = min_size(index_of(arena, c, end) / WORD_BITS + WORDS_AHEAD, n_words);
    memset(c->starts + from, 0, (to - from) * sizeof *c->starts);
    memset(c->freed + from, 0, (to - from) * sizeof *c->freed);
    arena->limit = min_size(address_of(arena, c, to * WORD_BITS), c->end);
}

/* The block [cursor, cursor + bytes) begins here; it fits the chunk. */
static uintptr_t begin_block(struct ration_arena *arena, size_t bytes)
{
    uintptr_t block = arena->cursor;
    if (bytes > arena->limit - block)
        clear_bits_to(arena, block + bytes);
    set_bit(arena->current->starts, index_of(arena, arena->current, block));
    arena->cursor = block + bytes;
    return block;
}

/* The next chunk in which the block has room. Returns 0, or -1 if there is no memory. */
static int advance(struct ration_arena *arena, size_t bytes, size_t alignment, uint64_t *steps)
{
    arena_chunk *kept = arena->current != NULL ? arena->current->next : NULL;
    while (kept != NULL && !has_room(kept, kept->blocks, bytes, alignment)) {
        ++*steps;
        kept = kept->next;
    }
    bool needs_gap = alignment > 16;
    if (kept == NULL)
        kept = take_chunk(arena, needs_gap ? bytes + alignment : bytes);
    if (kept == NULL)
        return -1;
    while (arena->current != NULL && arena->current->next != kept)
        make_current(arena,
                     arena->current
                         ->next); /* chunks that are passed over stay empty until the next rewind */
    make_current(arena, kept);
    return 0;
}

/* An allocation of more than one step, or that failed. */
static void note_steps(struct ration_arena *arena, uint64_t steps)
{
    struct ration_steps *noted = &arena->stats.alloc_steps;
    noted->all += steps - 1;
    noted->max = steps > noted->max ? steps : noted->max;
    noted->last = steps;
    arena->steps_noted_at = arena->stats.n_allocs + arena->stats.n_failures;
}

static COLD void *alloc_slow(struct ration_arena *arena, size_t bytes, size_t alignment)
{
    uint64_t steps = 1;
    bool failed =
        (arena->current == NULL || !has_room(arena->current, arena->cursor, bytes, alignment)) &&
        advance(arena, bytes, alignment, &steps) != 0;
    void *block = NULL;
    if (failed) {
        arena->stats.n_failures++;
    } else {
        size_t gap = gap_at(arena->cursor, alignment);
        if (gap != 0)
            set_bit(arena->current->freed,
                    index_of(arena, arena->current, begin_block(arena, gap)));
        block = (void *)begin_block(arena, bytes);
        arena->stats.n_allocs++;
    }
    note_steps(arena, steps);
    return block;
}

/* The block's bytes are a multiple of the grain, and so is the cursor. */
static inline void *alloc_from(struct ration_arena *arena, size_t size, size_t alignment)
{
    size_t grain = grain_of(arena);
    size_t bytes = align_up(size + (size == 0), grain);
    uintptr_t block = arena->cursor;
    if (UNLIKELY(bytes > arena->limit - block || (block & (alignment - 1)) != 0))
        return alloc_slow(arena, bytes, max_size(alignment, grain));
    arena_chunk *c = arena->current;
    set_bit(c->starts, index_of(arena, c, block));
    arena->cursor = block + bytes;
    arena->stats.n_allocs++;
    return (void *)block;
}

static void *arena_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    return alloc_from(arena_of(heap), size, alignment);
}

void *ration_arena_alloc(struct ration_arena *arena, size_t size)
{
    if (UNLIKELY(size > HEAP_SIZE_MAX - 16))
        return NULL;
    if (UNLIKELY(arena->heap.frame != NULL))
        return ration_frame_alloc(&arena->heap, grain_of(arena), size, __builtin_return_address(0));
    if (UNLIKELY(arena->heap.ops != &arena_ops)) /* ended, or its blocks are plain malloc's */
        return arena->heap.ops->alloc(&arena->heap, size, grain_of(arena));
    return alloc_from(arena, size, 1);
}

/* --- finding a block again --- */

/* The chunk with blocks at this address: one at or before the current one; NULL if there is none.
 */
static arena_chunk *find_chunk(const struct ration_arena *arena, uintptr_t address)
{
    arena_chunk *c = arena->current;
    if (c != NULL && address >= c->blocks && address < arena->cursor)
        return c;
    for (c = arena->first; c != NULL && c != arena->current; c = c->next)
        if (address >= c->blocks && address < c->cursor)
            return c;
    return NULL;
}

static COLD void report_misfit(const struct ration_arena *arena, const arena_chunk *c,
                               uintptr_t address, const char *operation)
{
    const struct ration_heap *heap = &arena->heap;
    if (c == NULL) {
        ration_heap_report(
            heap, RATION_INVALID_FREE, (void *)address, operation,
            "the address is in no used part of this arena: foreign, or ended by a rewind or reset",
            NULL, 0);
        return;
    }
    if ((address & (grain_of(arena) - 1)) != 0) {
        ration_heap_report(heap, RATION_MISALIGNED_FREE, (void *)address, operation,
                           "the address is not aligned as every block of this heap is", NULL, 0);
        return;
    }
    size_t index = index_of(arena, c, address);
    size_t start = find_set_below(c->starts, index);
    bool is_freed = bit_is_set(c->freed, start);
    enum ration_misuse_kind kind = is_freed ? RATION_DOUBLE_FREE : RATION_INTERIOR_FREE;
    const char *detail = is_freed ? "the block is free already"
                                  : "the address lies inside a live block, not at its start";
    ration_heap_report(heap, kind, (void *)address, operation, detail,
                       (void *)address_of(arena, c, start), block_bytes(arena, c, start));
}

/* The chunk and grain of a live block; a NULL chunk after a report. */
static arena_chunk *resolve(const struct ration_arena *arena, const void *block,
                            const char *operation, size_t *index)
{
    uintptr_t address = (uintptr_t)block;
    arena_chunk *c = find_chunk(arena, address);
    bool is_aligned = (address & (grain_of(arena) - 1)) == 0;
    if (LIKELY(c != NULL && is_aligned)) {
        *index = index_of(arena, c, address);
        if (LIKELY(bit_is_set(c->starts, *index) && !bit_is_set(c->freed, *index)))
            return c;
    }
    report_misfit(arena, c, address, operation);
    return NULL;
}

/* --- free and resize --- */

/* Whether the block ends at the cursor and may move it. */
static bool is_last(const struct ration_arena *arena, const arena_chunk *c, size_t index)
{
    return c == arena->current && is_after_mark(arena, c, index) &&
           address_of(arena, c, index) + block_bytes(arena, c, index) == arena->cursor;
}

/* Moves the cursor back over the freed blocks in front of it. */
static void retract(struct ration_arena *arena)
{
    arena_chunk *c = arena->current;
    size_t index = index_of(arena, c, arena->cursor);
    while (index > 0) {
        size_t last = find_set_below(c->starts, index - 1);
        if (!bit_is_set(c->freed, last) || !is_after_mark(arena, c, last))
            break;
        index = last;
    }
    uintptr_t cursor = address_of(arena, c, index);
    if (cursor != arena->cursor)
        move_cursor_back(arena, cursor);
}

static void free_block(struct ration_arena *arena, arena_chunk *c, size_t index)
{
    arena->stats.n_frees++;
    set_bit(c->freed, index);
    if (is_last(arena, c, index))
        retract(arena);
}

static void arena_free(struct ration_heap *heap, void *block)
{
    struct ration_arena *arena = arena_of(heap);
    size_t index;
    arena_chunk *c = resolve(arena, block, "free", &index);
    if (c != NULL)
        free_block(arena, c, index);
}

/* Makes the block `bytes` long where it is. Returns 0, or -1 if that is impossible. */
static int resize_in_place(struct ration_arena *arena, arena_chunk *c, size_t index, size_t bytes)
{
    size_t old_bytes = block_bytes(arena, c, index);
    uintptr_t block = address_of(arena, c, index);
    if (!is_last(arena, c, index))
        return bytes <= old_bytes ? 0 : -1;
    if (bytes > c->end - block)
        return -1;
    if (bytes < old_bytes) {
        move_cursor_back(arena, block + bytes);
        return 0;
    }
    if (bytes - old_bytes > arena->limit - arena->cursor)
        clear_bits_to(arena, block + bytes);
    arena->cursor = block + bytes;
    return 0;
}

static void *arena_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_arena *arena = arena_of(heap);
    size_t index;
    arena_chunk *c = resolve(arena, block, "resize", &index);
    if (c == NULL)
        return NULL;
    return resize_in_place(arena, c, index, align_up(max_size(size, 1), grain_of(arena))) == 0
               ? block
               : NULL;
}

static void *arena_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_arena *arena = arena_of(heap);
    size_t index;
    arena_chunk *c = resolve(arena, block, "resize", &index);
    if (c == NULL)
        return NULL;
    if (resize_in_place(arena, c, index, align_up(max_size(size, 1), grain_of(arena))) == 0)
        return block;
    size_t old_bytes = block_bytes(arena, c, index);
    void *moved = alloc_from(arena, size, heap->default_alignment);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, min_size(old_bytes, size));
    free_block(arena, c, index);
    return moved;
}

/* --- mark, rewind, reset --- */

struct ration_mark ration_arena_mark(struct ration_arena *arena)
{
    struct ration_mark mark = {arena->current,    arena->cursor,      arena_used(arena),
                               arena->mark_chunk, arena->mark_cursor, 0};
    if (arena->heap.through != NULL)
        mark.serial = ration_passthrough_mark(&arena->heap);
    arena->mark_chunk = arena->current;
    arena->mark_cursor = arena->cursor;
    return mark;
}

void ration_arena_reset(struct ration_arena *arena)
{
    if (arena->heap.through != NULL)
        ration_passthrough_rewind(&arena->heap, 0);
    note_peak(arena);
    if (arena->first != NULL)
        set_cursor(arena, arena->first, arena->first->blocks, 0);
    arena->mark_chunk = NULL;
}

/* Whether the mark lies before the cursor: its chunk is the current one or one before it. */
static bool is_behind_us(const struct ration_arena *arena, const struct ration_mark *mark)
{
    const arena_chunk *c = arena->first;
    while (c != mark->chunk && c != arena->current && c != NULL)
        c = c->next;
    return c != NULL && c == mark->chunk && mark->cursor >= c->blocks &&
           mark->cursor <= used_end(arena, c);
}

void ration_arena_rewind(struct ration_arena *arena, struct ration_mark mark)
{
    if (arena->heap.through != NULL) {
        ration_passthrough_rewind(&arena->heap, mark.serial);
        return;
    }
    if (mark.chunk == NULL) { /* taken when the arena had no chunk yet */
        ration_arena_reset(arena);
        return;
    }
    if (!is_behind_us(arena, &mark)) {
        ration_heap_report(&arena->heap, RATION_CORRUPT_HEAP, (void *)mark.cursor, "rewind",
                           "the mark is not of this arena, or the arena was rewound past it since",
                           NULL, 0);
        return;
    }
    note_peak(arena);
    set_cursor(arena, mark.chunk, mark.cursor, mark.used_bytes);
    arena->mark_chunk = mark.outer_chunk;
    arena->mark_cursor = mark.outer_cursor;
    retract(arena);
}

size_t ration_arena_trim(struct ration_arena *arena)
{
    const struct ration_source *source = arena->options.source;
    arena_chunk **link = arena->current != NULL ? &arena->current->next : &arena->first;
    size_t given = 0;
    while (*link != NULL) {
        arena_chunk *c = *link;
        if (c->is_callers) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        given += c->bytes;
        source->give(source->context, c, c->bytes);
    }
    arena->stats.heap_bytes -= given;
    return given;
}

/* --- the rest of the interface --- */

static bool arena_owns(const struct ration_heap *heap, const void *address)
{
    for (const arena_chunk *c = arena_of(heap)->first; c != NULL; c = c->next)
        if ((uintptr_t)address >= c->blocks && (uintptr_t)address < c->end)
            return true;
    return false;
}

static size_t arena_usable_size(const struct ration_heap *heap, const void *block)
{
    size_t index;
    const arena_chunk *c = resolve(arena_of(heap), block, "usable size", &index);
    return c != NULL ? block_bytes(arena_of(heap), c, index) : 0;
}

static void arena_destroy(struct ration_heap *heap)
{
    struct ration_arena *arena = arena_of(heap);
    arena->current = NULL;
    arena->cursor = arena->limit = 0;
    ration_arena_trim(arena);
    arena->first = NULL;
}

static const struct ration_figures arena_figures = {
    .places = {
        [RATION_FIGURE_HEAP_BYTES] = {offsetof(struct ration_arena, stats.heap_bytes), 0, 0},
        [RATION_FIGURE_LIVE_BYTES] = {offsetof(struct ration_arena, cursor),
                                      offsetof(struct ration_arena, used_from), 0},
        [RATION_FIGURE_ALLOCS] = {offsetof(struct ration_arena, stats.n_allocs), 0, 0},
        [RATION_FIGURE_FREES] = {offsetof(struct ration_arena, stats.n_frees), 0, 0},
        [RATION_FIGURE_FAILURES] = {offsetof(struct ration_arena, stats.n_failures), 0, 0},
    }};

static const struct ration_heap_ops arena_ops = {
    .kind = "arena",
    .alloc = arena_alloc,
    .resize = arena_resize,
    .try_resize = arena_try_resize,
    .free = arena_free,
    .owns = arena_owns,
    .usable_size = arena_usable_size,
    .walk = ration_arena_walk,
    .check = ration_arena_check,
    .stats = ration_arena_stats,
    .destroy = arena_destroy,
    .figures = &arena_figures,
};

static int lay_buffer(struct ration_arena *arena)
{
    uintptr_t start = align_up((uintptr_t)arena->options.buffer, 16);
    size_t skipped = start - (uintptr_t)arena->options.buffer;
    if (arena->options.buffer_bytes < skipped + sizeof(arena_chunk))
        return -1;
    size_t bytes = align_down(arena->options.buffer_bytes - skipped, 16);
    arena->first = lay_chunk(arena, (void *)start, bytes, true);
    if (arena->first == NULL)
        return -1;
    arena->stats.heap_bytes = bytes;
    arena->stats.heap_bytes_peak = bytes;
    make_current(arena, arena->first);
    return 0;
}

struct ration_heap *ration_arena_init(struct ration_arena *arena,
                                      const struct ration_arena_options *options)
{
    *arena = (struct ration_arena){.options = *options};
    struct ration_arena_options *o = &arena->options;
    if ((o->grain != 0 && o->grain != 8 && o->grain != 16) ||
        (o->buffer == NULL && o->source == NULL))
        return NULL;
    arena->grain_shift = o->grain == 8 ? 3 : 4;
    if (o->chunk_bytes == 0)
        o->chunk_bytes = DEFAULT_CHUNK_BYTES;
    o->chunk_bytes =
        align_up(max_size(o->chunk_bytes, chunk_bytes_for(arena, grain_of(arena))), 16);
    if (o->buffer != NULL && lay_buffer(arena) != 0)
        return NULL;
    ration_heap_init(&arena->heap, &arena_ops, o->name, grain_of(arena));
    size_t limit = o->limit_bytes != 0 ? o->limit_bytes
                   : o->source == NULL ? o->buffer_bytes
                                       : HEAP_SIZE_MAX;
    ration_passthrough_begin(&arena->heap,
                             (struct passthrough_limits){limit, HEAP_SIZE_MAX, SIZE_MAX, 0});
    return &arena->heap;
}
