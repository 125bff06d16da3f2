#include "inspect/ledger.h"

#include "area/records.h"
#include "core/harden.h"
#include "inspect/named.h"
#include "inspect/proc.h"

#include <string.h>

struct taking {
    struct ration_stats *stats;
    const struct view *v;
    bool with_residency;
};

static void add(struct taking *t, enum ration_part part, size_t mapped, size_t resident)
{
    t->stats->parts[part].mapped_bytes += mapped;
    t->stats->parts[part].resident_bytes += resident;
}

/* Which pages from `start` on are in memory. Where nothing is mapped (any more) none is. */
static void look_at_pages(const struct taking *t, uintptr_t start, size_t pages,
                          unsigned char *present)
{
    if (!t->with_residency)
        memset(present, 1, pages);
    else if (!view_resident(t->v, start, pages, present))
        memset(present, 0, pages);
}

static size_t count_resident(const struct taking *t, uintptr_t start, size_t bytes)
{
    enum { PAGES_AT_ONCE = 1024 };
    unsigned char present[PAGES_AT_ONCE];
    unsigned shift = t->v->page_shift;
    size_t pages = bytes >> shift;
    size_t resident = 0;
    if (!t->with_residency)
        return bytes;
    for (size_t i = 0; i < pages; i += PAGES_AT_ONCE) {
        size_t n = min_size(pages - i, PAGES_AT_ONCE);
        look_at_pages(t, start + (i << shift), n, present);
        for (size_t k = 0; k < n; k++)
            resident += present[k];
    }
    return resident << shift;
}

static void add_range(struct taking *t, enum ration_part part, uintptr_t start, size_t bytes)
{
    add(t, part, bytes, count_resident(t, start, bytes));
}

/* A table may share its first and last page with others of the library's own data: only its bytes
 * on them count. */
static void add_table(struct taking *t, uintptr_t start, size_t bytes)
{
    size_t page = (size_t)1 << t->v->page_shift;
    uintptr_t end = start + bytes;
    while (start < end) {
        uintptr_t next = align_down(start, page) + page;
        size_t part = min_size(next, end) - start;
        size_t resident = count_resident(t, align_down(start, page), page);
        add(t, RATION_PART_TABLES, part, resident != 0 ? part : 0);
        start += part;
    }
}

static enum ration_part part_of_slot(const struct slab *s, unsigned slot, unsigned group,
                                     uint64_t mask)
{
    if (s->states[slot] == SLOT_LIVE)
        return RATION_PART_LIVE_SMALL;
    if (s->states[slot] == SLOT_KEPT)
        return RATION_PART_CACHED;
    if (s->states[slot] != SLOT_FREE)
        return RATION_PART_HELD_BACK;
    if (slot / GROUP_SLOTS == group && (mask >> slot % GROUP_SLOTS & 1) != 0)
        return RATION_PART_CACHED;
    return RATION_PART_FREE;
}

/* Resident bytes of a slab, each page to the slots that lie on it. */
static void add_resident_slots(struct taking *t, const struct slab *s, unsigned group,
                               uint64_t mask, const unsigned char *present)
{
    unsigned shift = t->v->page_shift;
    size_t pages = slab_bytes(s) >> shift;
    uint32_t size = size_classes[s->class_index].size;
    struct ration_memory *parts = t->stats->parts;
    for (size_t k = 0; k < pages; k++) {
        size_t at = k << shift;
        size_t end = (k + 1) << shift;
        if (!present[k])
            continue;
        t->stats->classes[s->class_index].resident_bytes += end - at;
        for (unsigned slot = (unsigned)(at / size); slot < s->slots && at < end; slot++) {
            size_t stop = min_size((size_t)(slot + 1) * size, end);
            parts[part_of_slot(s, slot, group, mask)].resident_bytes += stop - at;
            at = stop;
        }
        parts[RATION_PART_TAILS].resident_bytes += end - at;
    }
}

static bool all_present(const unsigned char *present, size_t pages)
{
    for (size_t k = 0; k < pages; k++) {
        if (!present[k])
            return false;
    }
    return true;
}

/* The tails of hardened blocks tell what was asked for; only this process knows how to read them. */
static void add_payload(struct taking *t, const struct slab *s)
{
    struct ration_stats *stats = t->stats;
    size_t size = size_classes[s->class_index].size;
    if (t->v->pid != 0 || harden_level != HARDEN_FULL || !slab_is_guarded(s))
        return;
    for (unsigned i = 0; i < s->slots; i++) {
        size_t bytes;
        if (!harden_is_live(s, (const void *)(s->base + i * size), &bytes))
            continue;
        stats->sized_blocks++;
        stats->payload_bytes += bytes;
        stats->slack_bytes += size - bytes;
    }
}

static void add_slab(struct taking *t, const struct slab *s)
{
    unsigned char present[SLAB_PAGES_MAX];
    size_t pages = slab_bytes(s) >> t->v->page_shift;
    struct ration_class_stats *k = &t->stats->classes[s->class_index];
    size_t counts[RATION_PART_COUNT] = {0};
    unsigned group = 0;
    uint64_t mask = view_mask(t->v, s, &group);
    for (unsigned i = 0; i < s->slots; i++)
        counts[part_of_slot(s, i, group, mask)]++;
    k->slabs++;
    k->slots += s->slots;
    k->live += counts[RATION_PART_LIVE_SMALL];
    k->cached += counts[RATION_PART_CACHED];
    k->held_back += counts[RATION_PART_HELD_BACK];
    t->stats->live_small_blocks += counts[RATION_PART_LIVE_SMALL];
    add_payload(t, s);
    look_at_pages(t, s->base, pages, present);
    bool whole = all_present(present, pages); /* the common case is the cheap one */
    size_t tail = slab_bytes(s) - s->slots * k->slot_bytes;
    for (int part = 0; part < RATION_PART_COUNT; part++) {
        size_t bytes = counts[part] * k->slot_bytes;
        add(t, (enum ration_part)part, bytes, whole ? bytes : 0);
    }
    add(t, RATION_PART_TAILS, tail, whole ? tail : 0);
    if (whole)
        k->resident_bytes += slab_bytes(s);
    else
        add_resident_slots(t, s, group, mask, present);
}

/* A slab's run: all of its slabs; slabs that begin in the middle of a merged run do not exist. */
static void add_slab_run(struct taking *t, const struct view_run *run)
{
    union slab_copy copy;
    uintptr_t start = view_address(t->v, run->first);
    size_t bytes = run->pages << t->v->page_shift;
    size_t covered = 0;
    if (view_slab(t->v, run->first, &copy)) {
        add_slab(t, &copy.slab);
        covered = min_size(slab_bytes(&copy.slab), bytes);
    }
    /* Just begun or about to end. */
    add_range(t, RATION_PART_FREE, start + covered, bytes - covered);
}

static void add_free_run(struct taking *t, size_t bytes)
{
    t->stats->free_runs++;
    t->stats->largest_free_bytes = max_size(t->stats->largest_free_bytes, bytes);
}

static void add_run(struct taking *t, const struct view_run *run)
{
    uintptr_t start = view_address(t->v, run->first);
    size_t bytes = run->pages << t->v->page_shift;
    switch (run->kind) {
    case RUN_SLAB:
        add_slab_run(t, run);
        break;
    case RUN_LARGE:
        t->stats->live_large_blocks++;
        add_range(t, RATION_PART_LIVE_LARGE, start, bytes);
        break;
    case RUN_RELEASED:
    case RUN_DIRTY:
        add_free_run(t, bytes);
        add_range(t, RATION_PART_DIRTY, start, bytes);
        break;
    case RUN_HELD:
        add_range(t, RATION_PART_DIRTY, start, bytes);
        break;
    case RUN_CLEAN:
        add_free_run(t, bytes);
        add_range(t, RATION_PART_CLEAN, start, bytes);
        break;
    case RUN_VOID:
        add_free_run(t, bytes);
        t->stats->unmapped_bytes += bytes;
        break;
    case RUN_NONE:
    case RUN_KIND_COUNT:
        break; /* somebody else's, or unknown for the moment */
    }
}

static void add_runs(struct taking *t)
{
    const struct view *v = t->v;
    struct view_cursor cursor;
    struct view_run run;
    view_begin(&cursor, v, 0);
    while (view_next(&cursor, &run))
        add_run(t, &run);
    add_range(t, RATION_PART_FRESH, view_address(v, v->frontier_pages),
              (v->mapped_pages - v->frontier_pages) << v->page_shift);
}

static void add_tables(struct taking *t)
{
    const struct view *v = t->v;
    struct records_state r;
    const char *state = (const char *)&records + v->shift;
    add_table(t, (uintptr_t)v->map, v->unit_count * sizeof *v->map);
    if (!view_read(v, &r, state, sizeof r))
        return;
    add_table(t, (uintptr_t)records_first_block + (uintptr_t)v->shift, r.first_used);
    add_table(t, r.area.start, min_size(r.area_used, r.area.mapped_bytes));
}

static void add_bin(struct ration_thread_stats *thread, const struct bin *bin, unsigned c)
{
    if (class_is_wide(c)) {
        thread->cached += bin->n_kept;
        thread->cached_bytes += (size_t)bin->n_kept * size_classes[c].size;
        return;
    }
    if (bin->slab == NULL || bin->size == 0)
        return;
    size_t cached = (size_t)__builtin_popcountll(bin->mask);
    thread->leases++;
    thread->cached += cached;
    thread->cached_bytes += cached * bin->size;
}

static void show_thread(struct taking *t, const struct cache *cache)
{
    struct ration_stats *s = t->stats;
    if (s->threads_shown == RATION_THREADS_SHOWN)
        return;
    struct ration_thread_stats *thread = &s->thread_list[s->threads_shown++];
    uint32_t number = 0;
    view_read(t->v, &number, &cache->thread, sizeof number);
    thread->thread = number;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        struct bin bin;
        size_t leases = thread->leases;
        if (view_read(t->v, &bin, &cache->bins[c], sizeof bin))
            add_bin(thread, &bin, c);
        if (thread->leases > leases)
            thread->leased_bytes += (size_t)class_units(c) * UNIT_BYTES;
    }
}

static void add_threads(struct taking *t)
{
    enum { MOST_CACHES = 1 << 20 };
    struct cache *cache = t->v->caches;
    for (int i = 0; cache != NULL && i < MOST_CACHES; i++) {
        bool in_use = false;
        struct cache *next = NULL;
        view_read(t->v, &in_use, &cache->in_use, sizeof in_use);
        view_read(t->v, (void *)&next, (const void *)&cache->next, sizeof next);
        t->stats->threads_peak++;
        t->stats->threads += in_use;
        if (in_use)
            show_thread(t, cache);
        cache = next;
    }
}

static void add_peaks(struct taking *t)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        t->stats->classes[c].slabs_peak =
            max_size(t->v->slab_records_made[c], t->stats->classes[c].slabs);
}

static void add_calls(struct taking *t)
{
    for (int why = 0; why < RATION_REASON_COUNT; why++) {
        const struct pages_calls *c = &t->v->account.by[why];
        t->stats->calls[why] =
            (struct ration_calls){c->calls, c->refused, c->bytes, c->nanoseconds};
    }
}

static void add_process(struct taking *t)
{
    struct ration_stats *s = t->stats;
    int pid = t->v->pid;
    s->rss_bytes = proc_field_bytes(pid, "smaps_rollup", "Rss:");
    if (s->rss_bytes == 0)
        s->rss_bytes = proc_statm_bytes(pid, t->v->page_shift);
    s->rss_peak_bytes = max_size(proc_field_bytes(pid, "status", "VmHWM:"), s->rss_bytes);
}

static bool residency_is_known(const struct view *v)
{
    unsigned char present;
    uintptr_t own = (uintptr_t)records_first_block + (uintptr_t)v->shift;
    return view_resident(v, align_down(own, (size_t)1 << v->page_shift), 1, &present);
}

void ledger_take(struct ration_stats *stats, const struct view *v, bool with_residency)
{
    struct taking t = {.stats = stats, .v = v};
    memset(stats, 0, sizeof *stats);
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        stats->classes[c].slot_bytes = size_classes[c].size;
    if (v->base != 0) {
        t.with_residency = with_residency && residency_is_known(v);
        stats->resident_is_known = t.with_residency;
        stats->window_peak_bytes = v->frontier_pages << v->page_shift;
        add_runs(&t);
        add_tables(&t);
        add_threads(&t);
        add_peaks(&t);
        add_calls(&t);
    }
    if (with_residency) {
        named_read(v, stats);
        add_process(&t);
    }
    for (int part = 0; part < RATION_PART_COUNT; part++)
        stats->own_bytes += stats->parts[part].resident_bytes;
    if (stats->rss_bytes < stats->own_bytes) /* pages came between the two countings */
        stats->rss_bytes = stats->rss_bytes == 0 ? 0 : stats->own_bytes;
    stats->not_own_bytes = stats->rss_bytes == 0 ? 0 : stats->rss_bytes - stats->own_bytes;
}

void ledger_take_own(struct ration_stats *stats, bool with_residency)
{
    struct view v;
    if (view_open(&v, 0) != VIEW_OK)
        v.base = 0; /* just beginning: nothing to see yet */
    if (with_residency)
        v.pagemap_fd = proc_open(0, "pagemap");
    ledger_take(stats, &v, with_residency);
    view_close(&v);
}

size_t ledger_heap_bytes(const struct ration_stats *stats)
{
    size_t bytes = 0;
    for (int part = 0; part < RATION_PART_TABLES; part++)
        bytes += stats->parts[part].mapped_bytes;
    return bytes;
}
