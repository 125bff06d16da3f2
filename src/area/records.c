#include "area/records.h"

#include "base/bits.h"
#include "os/os.h"

unsigned char records_first_block[FIRST_BLOCK_BYTES] LINE_ALIGNED;

struct records_state records = {.lock = LOCK_INIT(RANK_TABLE)};

void records_place(uintptr_t start, size_t limit_bytes, bool reserved)
{
    records.area = (struct area){.start = start, .limit_bytes = limit_bytes, .reserved = reserved};
}

/* A table is used from its start, and a small program never gets to its end. */
static void make_room_locked(void)
{
    records.room_made = true;
    records.room_start = records.first_used;
    records.room_bytes = RECORDS_ROOM_BYTES;
    records.first_used += RECORDS_ROOM_BYTES;
}

static void *take_room_locked(size_t bytes)
{
    void *p = records_first_block + records.room_start;
    records.room_start += bytes;
    records.room_bytes -= bytes;
    return p;
}

static void *take_locked(size_t bytes)
{
    if (bytes <= records.room_bytes)
        return take_room_locked(bytes);
    if (bytes >= RECORDS_TABLE_BYTES && !records.room_made &&
        bytes + RECORDS_ROOM_BYTES <= FIRST_BLOCK_BYTES - records.first_used)
        make_room_locked();
    if (bytes <= FIRST_BLOCK_BYTES - records.first_used) {
        void *p = records_first_block + records.first_used;
        records.first_used += bytes;
        return p;
    }
    if (!area_reach(&records.area, records.area_used + bytes))
        return NULL;
    void *p = (void *)(records.area.start + records.area_used);
    records.area_used += bytes;
    return p;
}

void *records_take(size_t bytes)
{
    lock_take(&records.lock);
    void *p = take_locked(align_up(bytes, CACHE_LINE));
    lock_drop(&records.lock);
    return p;
}

void records_touch(void)
{
    uintptr_t page = align_up((uintptr_t)records_first_block + 1, os->page_bytes());
    if (page - (uintptr_t)records_first_block < FIRST_BLOCK_BYTES)
        atomic_cas_acquire((uint8_t *)page, (uint8_t)0, (uint8_t)0);
}

size_t records_used_bytes(void)
{
    lock_take(&records.lock);
    size_t n = records.first_used - records.room_bytes + records.area_used;
    lock_drop(&records.lock);
    return n;
}

bool records_lock_is_mine(void)
{
    return lock_is_mine(&records.lock);
}

void records_fork_prepare(bool nested)
{
    lock_fork_take(&records.lock, nested);
}

void records_fork_parent(void)
{
    lock_fork_parent(&records.lock);
}

void records_fork_child(void)
{
    lock_fork_child(&records.lock);
}
