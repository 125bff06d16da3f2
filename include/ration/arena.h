/* The arena: blocks are cut one behind the other from chunks of memory and end together.
 *
 * For thousands of small allocations with one common end: a request, a frame, a compiler pass. An
 * allocation moves a cursor; reset and rewind move it back, whatever has been allocated since.
 * Beside each chunk's blocks two bitmaps say where blocks begin and which have been freed (2 bits
 * for each grain of 16 bytes), so there are no headers, and misuse is recognised exactly. Freeing
 * the last block moves the cursor back; freeing another only marks it: its memory comes back at
 * rewind or reset.
 *
 * States of a block: LIVE; FREED (reported as RATION_BLOCK_FREE by a walk, though it serves nobody
 * before the next rewind; padding for alignment is such a block too). States of a chunk: FULL
 * (before the current one), CURRENT, EMPTY (behind it, kept for later).
 *
 * Invariants, by the number that ration_heap_check() returns:
 *   I1  the current chunk is in the chain of chunks, the cursor lies in it and is a multiple of the
 * grain; I2  a used chunk's first grain begins a block; I3  only grains that begin a block are
 * marked as freed; I4  the last block before the cursor is live (a freed one is given back at
 * once); I5  chunks do not overlap, and their sizes add up to the heap's bytes; I6  the bits between
 * cursor and limit are clear, and the limit is in the current chunk.
 *
 * Figures: live_usable_peak is the peak of bytes between a chunk's first block and its cursor,
 * freed blocks included; n_frees does not count blocks that a rewind ended. largest_request_bytes
 * is what fits without a new chunk.
 *
 * Threads: one at a time.
 *
 * Bounds: an allocation that needs no new chunk takes 1 step plus one for each kept chunk that is
 * too small for it, and clears one bitmap word per 1024 bytes asked for. Reset takes constant time.
 */
#ifndef RATION_ARENA_H
#define RATION_ARENA_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ration_arena_options {
    const char *name;
    void *buffer; /* first chunk: memory of the caller; NULL: the first chunk comes from the source
                     too */
    size_t buffer_bytes;
    const struct ration_source *source; /* of further chunks; NULL: the buffer is all there is */
    size_t chunk_bytes; /* size of a further chunk, unless a request needs more; 0: 64 KiB */
    size_t limit_bytes; /* most memory in all chunks together; 0: no limit */
    unsigned grain;     /* blocks begin at multiples of this: 16 (or 0), or 8 */
};

struct ration_arena_chunk;

/* An arena. Everything but `heap` is private. */
struct ration_arena {
    struct ration_heap heap;
    struct ration_arena_options options;
    unsigned grain_shift;
    struct ration_arena_chunk *first;
    struct ration_arena_chunk *current;
    uintptr_t cursor; /* next free byte of the current chunk */
    uintptr_t limit;  /* up to here the current chunk's bitmaps are ready */
    struct ration_arena_chunk
        *mark_chunk; /* the newest mark: blocks below it neither move the cursor nor grow */
    uintptr_t mark_cursor;
    uintptr_t used_from;     /* cursor minus this: bytes in use in all chunks */
    uint64_t steps_noted_at; /* allocations, failed ones too, when more than one step was noted */
    struct ration_heap_stats stats;
};

/* A point in the life of an arena. Marks nest: rewinding to one ends those taken after it. A mark
 * that is never rewound to does no harm. All fields are private. */
struct ration_mark {
    struct ration_arena_chunk *chunk;
    uintptr_t cursor;
    size_t used_bytes;
    struct ration_arena_chunk *outer_chunk; /* the newest mark before this one */
    uintptr_t outer_cursor;
    uint64_t serial; /* passthrough: blocks allocated before */
};

/* Starts an arena. Returns &arena->heap, or NULL if there is neither a source nor a buffer with
 * room for a block, or `grain` is neither of the two. Takes nothing from the source yet. */
struct ration_heap *ration_arena_init(struct ration_arena *arena,
                                      const struct ration_arena_options *options);

/* ration_heap_alloc() for an arena, without the way through the handle. */
void *ration_arena_alloc(struct ration_arena *arena, size_t size);

struct ration_mark ration_arena_mark(struct ration_arena *arena);

/* Ends every block allocated since the mark was taken; older blocks stay. All chunks are kept. A
 * mark that is not before the cursor is reported as "corrupt heap". */
void ration_arena_rewind(struct ration_arena *arena, struct ration_mark mark);

/* Ends every block; all chunks are kept for the next ones. */
void ration_arena_reset(struct ration_arena *arena);

/* Gives the chunks behind the current one back to the source. Returns their bytes. */
size_t ration_arena_trim(struct ration_arena *arena);

#ifdef __cplusplus
}
#endif

#endif
