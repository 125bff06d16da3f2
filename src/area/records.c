#include "area/records.h"

#include "base/bits.h"

unsigned char records_first_block[FIRST_BLOCK_BYTES] LINE_ALIGNED;

struct records_state records = {.lock = LOCK_INIT(RANK_TABLE)};

void records_place(uintptr_t start, size_t limit_bytes, bool reserved)
{
    records.area = (struct area){.start = start, .limit_bytes = limit_bytes, .reserved = reserved};
}

static void *take_locked(size_t bytes)
{
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

size_t records_used_bytes(void)
{
    lock_take(&records.lock);
    size_t n = records.first_used + records.area_used;
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
