/* Heaps whose blocks come from plain malloc, so that other tools see each of them. What the heap
 * itself would know is kept apart in a table of this file: an open-addressed hash of addresses.
 * Nothing lies beside the blocks, so a sanitizer's red zones stay where they are. */
#include "heaps/passthrough.h"
#include "base/atomics.h"

enum { REMOVED = 1, FIRST_ENTRIES = 64 };

enum { MODE_UNREAD, MODE_OFF, MODE_ON };
static uint32_t mode;

int ration_heaps_passthrough(bool on)
{
    struct libc_calls libc = ration_libc();
    if (on && (libc.posix_memalign == NULL || libc.free == NULL))
        return -1;
    atomic_store_release(&mode, on ? MODE_ON : MODE_OFF); /* pairs with is_on */
    return 0;
}

static bool is_on(void)
{
    uint32_t now = atomic_load_acquire(&mode); /* pairs with ration_heaps_passthrough */
    if (now == MODE_UNREAD) {
        bool wanted = ration_libc_option_is("pools", "passthrough");
        if (!wanted || ration_heaps_passthrough(true) != 0)
            ration_heaps_passthrough(false);
        now = atomic_load_acquire(&mode);
    }
    return now == MODE_ON;
}

static void *take_plain(size_t alignment, size_t bytes)
{
    void *block = NULL;
    if (ration_libc().posix_memalign(&block, max_size(alignment, sizeof(void *)), bytes) != 0)
        return NULL;
    return block;
}

static void give_plain(void *block)
{
    ration_libc().free(block);
}

static void lock(struct ration_passthrough *through)
{
    while (atomic_exchange_acquire(&through->lock, 1U) != 0) /* pairs with unlock */
        cpu_relax();
}

static void unlock(struct ration_passthrough *through)
{
    atomic_store_release(&through->lock, 0U);
}

/* --- the table --- */

static size_t find_slot(const struct passthrough_entry *entries, size_t n_entries, uintptr_t block)
{
    size_t at = (size_t)(((uint64_t)block * 0x9e3779b97f4a7c15U) >> 20) & (n_entries - 1);
    while (entries[at].block != block && entries[at].block != 0)
        at = (at + 1) & (n_entries - 1);
    return at;
}

static struct passthrough_entry *find_entry(const struct ration_passthrough *through,
                                            const void *block)
{
    size_t at = find_slot(through->entries, through->n_entries, (uintptr_t)block);
    return through->entries[at].block > REMOVED ? &through->entries[at] : NULL;
}

static struct passthrough_entry *make_entries(size_t n)
{
    struct passthrough_entry *entries = take_plain(16, n * sizeof *entries);
    if (entries != NULL)
        memset(entries, 0, n * sizeof *entries);
    return entries;
}

/* Rebuilds the table without removed entries, with room for as many again. Returns 0, or -1. */
static int rebuild(struct ration_passthrough *through)
{
    size_t n = FIRST_ENTRIES;
    while (n < through->stats.live_blocks * 4)
        n *= 2;
    struct passthrough_entry *entries = make_entries(n);
    if (entries == NULL)
        return -1;
    for (size_t i = 0; i < through->n_entries; i++) {
        const struct passthrough_entry *old = &through->entries[i];
        if (old->block > REMOVED)
            entries[find_slot(entries, n, old->block)] = *old;
    }
    give_plain(through->entries);
    through->entries = entries;
    through->n_entries = n;
    through->n_filled = through->stats.live_blocks;
    return 0;
}

static void remove_entry(struct ration_passthrough *through, struct passthrough_entry *entry)
{
    stats_count_dead(&through->stats, entry->size);
    through->requested_bytes -= entry->size;
    entry->block = REMOVED;
}

/* --- the operations --- */

static void *alloc_locked(struct ration_passthrough *through, size_t size, size_t alignment)
{
    bool over_limit =
        size > through->limits.block_bytes ||
        size > through->limits.bytes - min_size(through->limits.bytes, through->requested_bytes) ||
        through->stats.live_blocks >= through->limits.blocks;
    bool is_crowded = (through->n_filled + 1) * 4 > through->n_entries * 3;
    if (over_limit || (is_crowded && rebuild(through) != 0))
        return NULL;
    size = max_size(size, through->limits.least);
    void *block = take_plain(alignment, size);
    if (block == NULL)
        return NULL;
    struct passthrough_entry *entry =
        &through->entries[find_slot(through->entries, through->n_entries, (uintptr_t)block)];
    *entry = (struct passthrough_entry){(uintptr_t)block, size, through->next_serial++};
    through->n_filled++;
    through->requested_bytes += size;
    through->stats.n_allocs++;
    stats_count_live(&through->stats, size);
    return block;
}

static void *through_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_passthrough *through = heap->through;
    lock(through);
    void *block = alloc_locked(through, size, alignment);
    if (block == NULL)
        through->stats.n_failures++;
    unlock(through);
    return block;
}

/* An address that is not ours goes to free as well: reporting it is the other tool's trade. */
static void through_free(struct ration_heap *heap, void *block)
{
    struct ration_passthrough *through = heap->through;
    lock(through);
    struct passthrough_entry *entry = find_entry(through, block);
    if (entry != NULL) {
        remove_entry(through, entry);
        through->stats.n_frees++;
    }
    unlock(through);
    give_plain(block);
}

/* Size of a live block, or SIZE_MAX after a report. */
static size_t find_size(const struct ration_heap *heap, const void *block, const char *operation)
{
    lock(heap->through);
    const struct passthrough_entry *entry = find_entry(heap->through, block);
    size_t size = entry != NULL ? entry->size : SIZE_MAX;
    unlock(heap->through);
    if (size == SIZE_MAX)
        ration_heap_report(heap, RATION_INVALID_FREE, block, operation, "no live block is there",
                           NULL, 0);
    return size;
}

static size_t through_usable_size(const struct ration_heap *heap, const void *block)
{
    size_t size = find_size(heap, block, "usable size");
    return size != SIZE_MAX ? size : 0;
}

/* Only the very same size stays in place: a sanitizer has to see every change of size. */
static void *through_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    return find_size(heap, block, "resize") == size ? block : NULL;
}

static void *through_resize(struct ration_heap *heap, void *block, size_t size)
{
    size_t old_size = find_size(heap, block, "resize");
    if (old_size == SIZE_MAX)
        return NULL;
    void *moved = through_alloc(heap, size, heap->default_alignment);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, min_size(old_size, size));
    through_free(heap, block);
    return moved;
}

static bool through_owns(const struct ration_heap *heap, const void *address)
{
    bool owns = false;
    lock(heap->through);
    for (size_t i = 0; i < heap->through->n_entries && !owns; i++) {
        const struct passthrough_entry *entry = &heap->through->entries[i];
        owns =
            entry->block > REMOVED && (uintptr_t)address - entry->block < max_size(entry->size, 1);
    }
    unlock(heap->through);
    return owns;
}

/* The live entry with the lowest address at or above `from`; NULL at the end. */
static const struct passthrough_entry *find_lowest(const struct ration_passthrough *through,
                                                   uintptr_t from)
{
    const struct passthrough_entry *lowest = NULL;
    for (size_t i = 0; i < through->n_entries; i++) {
        const struct passthrough_entry *entry = &through->entries[i];
        if (entry->block > REMOVED && entry->block >= from &&
            (lowest == NULL || entry->block < lowest->block))
            lowest = entry;
    }
    return lowest;
}

/* Quadratic: for bug hunting only. */
static int through_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    int stop = 0;
    const struct passthrough_entry *entry = find_lowest(heap->through, 0);
    while (entry != NULL && stop == 0) {
        uintptr_t address = entry->block;
        struct ration_block block = {(void *)address, entry->size, (void *)address,
                                     entry->size,     entry->size, RATION_BLOCK_LIVE};
        stop = visit(&block, context);
        entry = find_lowest(heap->through, address + 1);
    }
    return stop;
}

/* I1: the table's counters agree with its entries. */
static void through_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_passthrough *through = heap->through;
    size_t live = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < through->n_entries; i++) {
        if (through->entries[i].block > REMOVED) {
            live++;
            bytes += through->entries[i].size;
        }
    }
    if (live != through->stats.live_blocks || bytes != through->requested_bytes)
        finding_set(finding, 1, (uintptr_t)through,
                    "the table of blocks does not agree with its counters");
}

static void through_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    lock(heap->through);
    *stats = heap->through->stats;
    stats->live_requested_bytes = heap->through->requested_bytes;
    stats->heap_bytes = stats->live_usable_bytes;
    stats->heap_bytes_peak = stats->live_usable_peak;
    unlock(heap->through);
}

static void through_destroy(struct ration_heap *heap)
{
    ration_passthrough_rewind(heap, 0);
    void *adopted = heap->through->adopted;
    give_plain(heap->through->entries);
    give_plain(heap->through);
    heap->through = NULL;
    give_plain(adopted);
}

void ration_passthrough_adopt(struct ration_heap *heap, void *block)
{
    heap->through->adopted = block;
}

uint64_t ration_passthrough_mark(const struct ration_heap *heap)
{
    return heap->through->next_serial;
}

void ration_passthrough_rewind(struct ration_heap *heap, uint64_t mark)
{
    struct ration_passthrough *through = heap->through;
    lock(through);
    for (size_t i = 0; i < through->n_entries; i++) {
        struct passthrough_entry *entry = &through->entries[i];
        if (entry->block > REMOVED && entry->serial >= mark) {
            void *block = (void *)entry->block;
            remove_entry(through, entry);
            give_plain(block);
        }
    }
    unlock(through);
}

static const struct ration_figures through_figures = {
    .are_through = true, .places = FIGURES_OF_STATS(struct ration_passthrough, stats)};

static const struct ration_heap_ops through_ops = {
    .kind = "passthrough",
    .alloc = through_alloc,
    .resize = through_resize,
    .try_resize = through_try_resize,
    .free = through_free,
    .owns = through_owns,
    .usable_size = through_usable_size,
    .walk = through_walk,
    .check = through_check,
    .stats = through_stats,
    .destroy = through_destroy,
    .figures = &through_figures,
};

bool ration_passthrough_begin(struct ration_heap *heap, struct passthrough_limits limits)
{
    if (!is_on())
        return false;
    struct ration_passthrough *through = take_plain(16, sizeof *through);
    if (through == NULL)
        return false;
    *through = (struct ration_passthrough){.limits = limits, .n_entries = FIRST_ENTRIES};
    through->entries = make_entries(FIRST_ENTRIES);
    if (through->entries == NULL) {
        give_plain(through);
        return false;
    }
    heap->through = through;
    heap->ops = &through_ops;
    return true;
}
