/*
 * The engine after ptmalloc2, the malloc of glibc, without its per-thread cache: fast bins,
 * unsorted bin, small bins, large bins, top chunk, mappings for large requests. One arena.
 *
 * A chunk begins with the size of the chunk before it (valid only while that one is free) and its
 * own size, whose low bits tell whether the one before is in use and whether it is a mapping. A
 * live chunk costs 8 bytes, because its data runs into the next chunk's first word.
 *
 * Bins: 1 unsorted; 2 to 63 small, one for each multiple of 16 below 1024; 64 to 126 large, each
 * sorted from the largest to the smallest, with a second pair of links from one size to the next.
 * Fast bins are separate: single links, last in first out, never merged until a large request.
 *
 * Numbers are those of 64-bit glibc 2.36. Source: the design notes of Doug Lea, "A Memory
 * Allocator" (1996/2000), and the manual of glibc.
 */
#ifndef RATION_LAB_PTMALLOC_H
#define RATION_LAB_PTMALLOC_H

#include "engine.h"

enum {
    chunk_header = 16,
    least_chunk = 32,
    max_fast = 128, /* bytes of the largest fast chunk */
    n_fast = 8,
    n_bins = 128,
    unsorted_bin = 1,
    least_large = 1024,
    top_pad = 128 * 1024,
    fast_list = n_bins,              /* events number the fast bins from here */
    consolidation_bytes = 64 * 1024, /* a free of so much merges the fast bins too */
    most_unsorted = 10000,           /* chunks looked at in one request */
};

#define MAX_MAP_THRESHOLD ((size_t)32 << 20)

struct chunk {
    size_t previous_bytes; /* of the chunk before, if that is free */
    size_t bytes_and_flags;
    struct chunk *next; /* in a bin; valid only while free */
    struct chunk *previous;
    struct chunk *next_size; /* large bins: first chunk of the next smaller size, around */
    struct chunk *previous_size;
};

enum { previous_in_use = 1, is_mapped = 2, all_flags = 15 };

struct ptmalloc {
    struct engine engine;
    struct chunk bins[n_bins]; /* heads of circular lists */
    struct chunk *fast[n_fast];
    size_t n_fast_chunks;
    struct chunk *top;
    struct chunk *last_remainder;
    size_t map_threshold;
    size_t trim_threshold;
};

static inline size_t chunk_bytes(const struct chunk *chunk)
{
    return chunk->bytes_and_flags & ~(size_t)all_flags;
}

static inline struct chunk *chunk_at(const void *from, size_t offset)
{
    return (struct chunk *)((char *)(uintptr_t)from + offset);
}

static inline struct chunk *chunk_after(const struct chunk *chunk)
{
    return chunk_at(chunk, chunk_bytes(chunk));
}

static inline bool chunk_is_live(const struct chunk *chunk)
{
    return (chunk_after(chunk)->bytes_and_flags & previous_in_use) != 0;
}

/* Events name a chunk as a walk does: from its own size on, 8 bytes behind its address, because
 * the first word still belongs to the chunk before. */
static inline void pt_event(struct ptmalloc *pt, enum ration_event_kind kind, unsigned list,
                            const void *chunk, const void *other, size_t bytes)
{
    engine_event(&pt->engine, kind, list, chunk != NULL ? (const char *)chunk + 8 : NULL,
                 other != NULL ? (const char *)other + 8 : NULL, bytes);
}

static inline void pt_examine(struct ptmalloc *pt, const struct chunk *chunk)
{
    pt->engine.steps++;
    pt_event(pt, RATION_EVENT_EXAMINE, 0, chunk, NULL, chunk_bytes(chunk));
}

/* Index of the bin for a free chunk of `bytes`. */
unsigned bin_for(size_t bytes);

/* Enter and leave bins; the links of large bins stay sorted. */
void bin_insert(struct ptmalloc *pt, unsigned bin, struct chunk *chunk);
void bin_remove(struct ptmalloc *pt, struct chunk *chunk);

/* The unsorted bin is first in, first out. */
void bin_insert_unsorted(struct ptmalloc *pt, struct chunk *chunk);

#endif
