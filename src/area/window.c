#include "area/window.h"

#include "area/area.h"
#include "area/records.h"
#include "os/pages.h"

struct window window = {.base = WINDOW_CLOSED};

static struct area map_area;
static struct slab *first_map[FIRST_UNITS];

/* How addresses are laid out from the start of the range on: the map, the records, a gap that nothing uses, the window. */
enum {
    RECORD_BYTES_PER_UNIT =
        64 + 4096 + 256, /* the largest slab record, and the unit's share of page tags */
    PLACE_TRIES = 8,
};
#define GAP_BYTES    GIB(1)
#define WINDOW_BYTES GIB(1024)
#define SMALL_WINDOW GIB(16)
#define LEAST_WINDOW MIB(16)
#define RANGE_ALIGN  GIB(1)

struct layout {
    size_t units;
    size_t map_bytes;
    size_t record_bytes;
    size_t range_bytes;
};

static struct layout plan_layout(size_t window_bytes, size_t gap_bytes)
{
    struct layout l = {.units = window_bytes / UNIT_BYTES};
    l.map_bytes = align_up(l.units * sizeof(struct slab *), MIB(1));
    l.record_bytes = align_up(l.units * RECORD_BYTES_PER_UNIT + MIB(1), MIB(1));
    l.range_bytes = l.map_bytes + l.record_bytes + gap_bytes + window_bytes;
    return l;
}

static void settle(uintptr_t start, const struct layout *l, bool reserved)
{
    map_area = (struct area){.start = start, .limit_bytes = l->map_bytes, .reserved = reserved};
    records_place(start + l->map_bytes, l->record_bytes, reserved);
    atomic_store_relaxed(&window.base, start + l->range_bytes - l->units * UNIT_BYTES);
    window.unit_limit = l->units;
    window.map = first_map;
    window.reserved = reserved;
}

static void settle_nowhere(void)
{
    map_area = (struct area){.start = 0};
    records_place(0, 0, false);
    window = (struct window){.base = WINDOW_CLOSED};
}

/* Tries random ranges in [low, high). Only the first piece is mapped, so a range is free if that piece is: what else
 * may lie in it is found piece by piece. */
static bool place_unreserved(size_t first_bytes, size_t window_bytes, uintptr_t low, uintptr_t high)
{
    struct layout l = plan_layout(window_bytes, GAP_BYTES);
    for (int i = 0; i < PLACE_TRIES; i++) {
        uint64_t random = 0;
        os->random(&random, sizeof random);
        uintptr_t choices = (high - low - l.range_bytes) / RANGE_ALIGN;
        uintptr_t start = low + random % choices * RANGE_ALIGN;
        uintptr_t base = align_up(start + l.range_bytes - window_bytes, RANGE_ALIGN);
        start = base + window_bytes - l.range_bytes;
        if (pages_map(PAGES_OPEN, (void *)base, first_bytes, OS_MAP_EXACT) != NULL) {
            settle(start, &l, false);
            return true;
        }
    }
    return false;
}

static bool place_reserved(size_t first_bytes)
{
    for (size_t bytes = SMALL_WINDOW; bytes >= LEAST_WINDOW; bytes /= 2) {
        struct layout l = plan_layout(bytes, MIB(1));
        void *range = pages_map(PAGES_OPEN, NULL, l.range_bytes + UNIT_BYTES, OS_MAP_RESERVE);
        if (range == NULL)
            continue;
        settle(align_up((uintptr_t)range, UNIT_BYTES), &l, true);
        if (pages_map(PAGES_OPEN, (void *)window.base, first_bytes, OS_MAP_OVER) != NULL)
            return true;
        pages_unmap(PAGES_OPEN, range, l.range_bytes + UNIT_BYTES);
        settle_nowhere();
        return false;
    }
    return false;
}

bool window_open(size_t first_bytes)
{
    /* 47 bits of user addresses: 8 to 80 TiB is far from the program (from 85 TiB on, or below 8), its libraries, its
     * stack and what the kernel chooses for mmap. 39 bits (small arm64 kernels): 64 to 256 GiB. */
    return place_unreserved(first_bytes, WINDOW_BYTES, GIB(8192), GIB(81920)) ||
           place_unreserved(first_bytes, SMALL_WINDOW, GIB(64), GIB(256)) ||
           place_reserved(first_bytes);
}

bool window_map(enum pages_reason why, uintptr_t start, size_t bytes)
{
    enum os_map_how how = window.reserved ? OS_MAP_OVER : OS_MAP_EXACT;
    return pages_map(why, (void *)start, bytes, how) != NULL;
}

static void move_map(void)
{
    struct slab **map = (struct slab **)map_area.start;
    for (size_t u = 0; u < window.unit_count; u++)
        atomic_store_relaxed(&map[u], first_map[u]);
    atomic_store_release(&window.map, map);
}

static bool make_map_reach(size_t units)
{
    if (units <= FIRST_UNITS && window.map == first_map)
        return true;
    if (!area_reach(&map_area, units * sizeof *window.map))
        return false;
    if (window.map == first_map)
        move_map();
    return true;
}

bool window_cover(size_t units, struct slab *no_slab)
{
    if (units > window.unit_limit || !make_map_reach(units))
        return false;
    for (size_t u = window.unit_count; u < units; u++)
        window.map[u] = no_slab;
    if (units > window.unit_count)
        atomic_store_release(&window.unit_count, units);
    return true;
}

void window_enter(size_t unit, unsigned n, struct slab *entry)
{
    for (unsigned i = 0; i < n; i++)
        atomic_store_release(&window.map[unit + i], entry);
}

int window_check(bool (*covers)(const struct slab *s, size_t unit))
{
    if (window.base % UNIT_BYTES != 0 || window.unit_count > window.unit_limit)
        return 1;
    for (size_t u = 0; u < window.unit_count; u++) {
        if (window.map[u] == NULL)
            return 2;
        if (!covers(window.map[u], u))
            return 3;
    }
    return 0;
}
