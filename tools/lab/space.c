#include "space.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int space_open(struct space *space, size_t limit_bytes)
{
    *space = (struct space){.limit_bytes = limit_bytes};
    if (brk_open(&space->brk, limit_bytes) != 0)
        return -1;
    if (brk_open(&space->maps, limit_bytes) != 0) {
        brk_close(&space->brk);
        return -1;
    }
    return 0;
}

void space_close(struct space *space)
{
    brk_close(&space->brk);
    brk_close(&space->maps);
    free(space->mappings);
    space->mappings = NULL;
}

static void note_peak(struct space *space)
{
    if (space_bytes(space) > space->peak_bytes)
        space->peak_bytes = space_bytes(space);
}

void *space_move_break(struct space *space, intptr_t increment)
{
    if (increment > 0 &&
        (size_t)increment > space->limit_bytes - brk_bytes(&space->brk) - space->mapped_bytes)
        return (void *)-1;
    void *before = brk_move(&space->brk, increment);
    if (increment != 0 && before != (void *)-1)
        space->n_system_calls++;
    note_peak(space);
    return before;
}

/* Index of the first mapping behind whose predecessor there is a gap of `bytes`. */
static size_t find_gap(const struct space *space, size_t bytes, size_t *offset)
{
    size_t free_from = 0;
    for (size_t i = 0; i < space->n_mappings; i++) {
        if (space->mappings[i].offset - free_from >= bytes) {
            *offset = free_from;
            return i;
        }
        free_from = space->mappings[i].offset + space->mappings[i].bytes;
    }
    *offset = free_from;
    return space->n_mappings;
}

static size_t round_to_pages(size_t bytes)
{
    return bytes == 0 ? space_page_bytes
                      : (bytes + space_page_bytes - 1) & ~(size_t)(space_page_bytes - 1);
}

/* A new mapping; the caller counts it. NULL: there is no room. */
static void *place_mapping(struct space *space, size_t rounded)
{
    size_t offset;
    const size_t index = find_gap(space, rounded, &offset);
    if (offset + rounded > space->limit_bytes)
        return NULL;
    if (space->n_mappings == space->mappings_capacity) {
        space->mappings_capacity = space->mappings_capacity > 0 ? 2 * space->mappings_capacity : 64;
        space->mappings =
            lab_resize(space->mappings, space->mappings_capacity, sizeof *space->mappings);
    }
    memmove(&space->mappings[index + 1], &space->mappings[index],
            (space->n_mappings - index) * sizeof *space->mappings);
    space->mappings[index] = (struct space_mapping){.offset = offset, .bytes = rounded};
    space->n_mappings++;
    return space->maps.start + offset;
}

static bool has_room_for(const struct space *space, size_t more)
{
    return more <= space->limit_bytes - brk_bytes(&space->brk) - space->mapped_bytes;
}

void *space_map(struct space *space, size_t bytes)
{
    if (bytes > space->limit_bytes)
        return NULL;
    const size_t rounded = round_to_pages(bytes);
    void *address = has_room_for(space, rounded) ? place_mapping(space, rounded) : NULL;
    if (address == NULL)
        return NULL;
    space->mapped_bytes += rounded;
    space->n_system_calls++;
    note_peak(space);
    return address;
}

static size_t find_mapping(const struct space *space, const void *address)
{
    const size_t offset = (size_t)((const char *)address - space->maps.start);
    size_t low = 0, high = space->n_mappings;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (space->mappings[middle].offset + space->mappings[middle].bytes <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The caller counts it. */
static void remove_mapping(struct space *space, size_t index)
{
    const struct space_mapping gone = space->mappings[index];
    madvise(space->maps.start + gone.offset, gone.bytes, MADV_DONTNEED);
    space->n_mappings--;
    memmove(&space->mappings[index], &space->mappings[index + 1],
            (space->n_mappings - index) * sizeof *space->mappings);
}

static size_t room_at(const struct space *space, size_t index)
{
    const size_t next =
        index + 1 < space->n_mappings ? space->mappings[index + 1].offset : space->limit_bytes;
    return next - space->mappings[index].offset;
}

void *space_remap(struct space *space, void *address, size_t bytes)
{
    if (bytes > space->limit_bytes)
        return NULL;
    struct space_mapping *mapping = &space->mappings[find_mapping(space, address)];
    const size_t old = mapping->bytes, rounded = round_to_pages(bytes);
    if (rounded > old && !has_room_for(space, rounded - old))
        return NULL;
    void *moved = address;
    if (rounded <= room_at(space, (size_t)(mapping - space->mappings))) {
        if (rounded < old)
            madvise((char *)address + rounded, old - rounded, MADV_DONTNEED);
        mapping->bytes = rounded;
    } else if ((moved = place_mapping(space, rounded)) != NULL) {
        memcpy(moved, address, old);
        remove_mapping(space, find_mapping(space, address));
    } else {
        return NULL;
    }
    space->mapped_bytes += rounded - old;
    space->n_system_calls++;
    note_peak(space);
    return moved;
}

void space_unmap(struct space *space, void *address)
{
    const size_t index = find_mapping(space, address);
    space->mapped_bytes -= space->mappings[index].bytes;
    space->n_system_calls++;
    remove_mapping(space, index);
}

void space_charge_table(struct space *space, intptr_t bytes)
{
    space->table_bytes = (size_t)((intptr_t)space->table_bytes + bytes);
    note_peak(space);
}

bool space_holds(const struct space *space, const void *address, size_t bytes)
{
    const char *from = address;
    if (from >= space->brk.start && from <= space->brk.end)
        return bytes <= (size_t)(space->brk.end - from);
    if (from < space->maps.start || from >= space->maps.start + space->maps.limit_bytes)
        return false;
    const size_t index = find_mapping(space, address);
    if (index == space->n_mappings)
        return false;
    const char *start = space->maps.start + space->mappings[index].offset;
    return from >= start && bytes <= (size_t)(start + space->mappings[index].bytes - from);
}
