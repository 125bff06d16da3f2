#include "ptmalloc.h"

unsigned bin_for(size_t bytes)
{
    static const struct {
        unsigned shift, most, base;
    } ranges[] = {{6, 48, 48}, {9, 20, 91}, {12, 10, 110}, {15, 4, 119}, {18, 2, 124}};
    if (bytes < least_large)
        return (unsigned)(bytes >> 4);
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (bytes >> ranges[i].shift <= ranges[i].most)
            return ranges[i].base + (unsigned)(bytes >> ranges[i].shift);
    return 126;
}

static void link_before(struct chunk *place, struct chunk *chunk)
{
    chunk->next = place;
    chunk->previous = place->previous;
    place->previous->next = chunk;
    place->previous = chunk;
}

/* Where `chunk` belongs in a bin sorted from large to small: before the returned chunk. Also
 * enters it among the first ones of each size. */
static struct chunk *place_sorted(struct ptmalloc *pt, struct chunk *head, struct chunk *chunk)
{
    const size_t bytes = chunk_bytes(chunk);
    struct chunk *const largest = head->next;
    if (largest == head) {
        chunk->next_size = chunk->previous_size = chunk;
        return head;
    }
    struct chunk *size = largest;
    do {
        pt->engine.steps++;
        if (chunk_bytes(size) == bytes) { /* second of its size: no links of its own */
            chunk->next_size = chunk->previous_size = NULL;
            return size->next;
        }
        if (chunk_bytes(size) < bytes)
            break;
        pt_event(pt, RATION_EVENT_PASS, 0, size, NULL, chunk_bytes(size));
        size = size->next_size;
    } while (size != largest);
    const bool is_smallest = size == largest && chunk_bytes(largest) > bytes;
    chunk->next_size = size;
    chunk->previous_size = size->previous_size;
    size->previous_size->next_size = chunk;
    size->previous_size = chunk;
    return is_smallest ? head : size;
}

void bin_insert(struct ptmalloc *pt, unsigned bin, struct chunk *chunk)
{
    struct chunk *head = &pt->bins[bin];
    struct chunk *place = head->next; /* small bins: at the front */
    if (chunk_bytes(chunk) >= least_large)
        place = place_sorted(pt, head, chunk);
    link_before(place, chunk);
    pt_event(pt, RATION_EVENT_INSERT, bin, chunk, chunk->previous == head ? NULL : chunk->previous,
             chunk_bytes(chunk));
}

void bin_insert_unsorted(struct ptmalloc *pt, struct chunk *chunk)
{
    link_before(pt->bins[unsorted_bin].next, chunk);
    if (chunk_bytes(chunk) >= least_large)
        chunk->next_size = chunk->previous_size = NULL;
    pt_event(pt, RATION_EVENT_INSERT, unsorted_bin, chunk, NULL, chunk_bytes(chunk));
}

/* The first one of a size hands its links to the second one, or takes its size out. */
static void leave_sizes(struct chunk *chunk)
{
    struct chunk *heir = chunk->next;
    if (heir != chunk && chunk_bytes(heir) == chunk_bytes(chunk) && heir->next_size == NULL) {
        const bool was_alone = chunk->next_size == chunk;
        heir->next_size = was_alone ? heir : chunk->next_size;
        heir->previous_size = was_alone ? heir : chunk->previous_size;
        heir->next_size->previous_size = heir;
        heir->previous_size->next_size = heir;
        return;
    }
    chunk->next_size->previous_size = chunk->previous_size;
    chunk->previous_size->next_size = chunk->next_size;
}

void bin_remove(struct ptmalloc *pt, struct chunk *chunk)
{
    chunk->previous->next = chunk->next;
    chunk->next->previous = chunk->previous;
    if (chunk_bytes(chunk) >= least_large && chunk->next_size != NULL)
        leave_sizes(chunk);
    pt_event(pt, RATION_EVENT_REMOVE, 0, chunk, NULL, chunk_bytes(chunk));
}
