#include "span/span_internal.h"

#include "os/pages.h"
#include "span/huge.h"

size_t span_grown_pages;
struct span_state span = {.lock = LOCK_INIT(RANK_SPAN)};
uint64_t *span_tags[CHUNK_COUNT];
unsigned page_shift;

enum {
    ALIGN_TRIES = 8, /* runs looked at for an aligned fit before one that surely fits is taken */
    LOOK_BACK_PAGES = 256, /* for the start of a free run */
    PURGE_BATCH = 64,
    DIRTY_SHARE = 3, /* dirty pages that growth leaves alone, as a share of those in use */
    FIRST_MAP_BYTES =
        1 << 20, /* shorter than a huge page, so that the first touch cannot bring one */
};
/* Longer dirty runs are unmapped, which also gives back the commitment. It is no cheaper: both ways cost by the page that
 * was touched, 53 to 90 us a MiB. */
#define UNMAP_BYTES MIB(8)

static bool open_locked(struct slab *no_slab)
{
    if (window_is_open())
        return true;
    page_shift = lowest_bit(os->page_bytes());
    if (!window_open(FIRST_MAP_BYTES))
        return false;
    span.no_slab = no_slab;
    span.mapped = pages_for(FIRST_MAP_BYTES);
    return true;
}

bool span_open(struct slab *no_slab)
{
    lock_take(&span.lock);
    bool ok = open_locked(no_slab);
    lock_drop(&span.lock);
    return ok;
}

static bool fits_aligned(const struct run *r, size_t pages, size_t align_pages, size_t *first)
{
    *first = page_aligned(r->first, align_pages);
    return *first + pages <= r->first + r->pages;
}

static struct run *find_fit(struct run *root, size_t pages, size_t align_pages, size_t *first)
{
    struct run *r = run_tree_best_fit(root, pages);
    for (int i = 0; r != NULL && i < ALIGN_TRIES; i++) {
        if (fits_aligned(r, pages, align_pages, first))
            return r;
        r = run_tree_next(root, r);
    }
    r = run_tree_best_fit(root, pages + align_pages - 1);
    return r != NULL && fits_aligned(r, pages, align_pages, first) ? r : NULL;
}

/* Void pages come back up to the next multiple of 2 MiB, for a heap that shrank and grows again takes them slab by slab:
 * those that nobody asked for are clean then. */
static bool take_void(struct run *r, size_t first, size_t pages)
{
    size_t room = r->first + r->pages - first;
    size_t part = min_size(room, page_aligned(first + pages, pages_for(HUGE_BYTES)) - first);
    if (!map_void(first, part)) {
        part = pages;
        if (!map_void(first, part))
            return false;
    }
    free_run_carve(r, first, part);
    if (part > pages)
        free_run_add(first + pages, part - pages, RUN_CLEAN, 0);
    return true;
}

static bool take_free(enum run_kind kind, size_t pages, size_t align_pages, size_t *first)
{
    struct run *r = find_fit(span.tree[kind], pages, align_pages, first);
    if (r == NULL)
        return false;
    if (kind == RUN_VOID)
        return take_void(r, *first, pages);
    free_run_carve(r, *first, pages);
    return true;
}

/* Huge pages that come unasked would fill a window that is used sparsely; asked once, when the window outgrows its
 * first piece. */
static void consider_huge_pages(size_t pages)
{
    if (span.frontier + pages <= span.mapped || span.mapped != pages_for(FIRST_MAP_BYTES))
        return;
    enum os_huge given = os->huge_pages();
    span.no_huge = given == OS_HUGE_ALWAYS;
    if (given == OS_HUGE_NEVER)
        atomic_store_relaxed(&huge_never, true);
}

static void grow_by(size_t pages)
{
    atomic_store_relaxed(&span_grown_pages, span_grown_pages + pages);
}

/* The dirty run that holds [first, first + pages); null if none does, or it begins too far before. */
static struct run *find_dirty(size_t first, size_t pages)
{
    size_t page = first;
    size_t least = first > LOOK_BACK_PAGES ? first - LOOK_BACK_PAGES : 0;
    while (page > least && tag_at(page) == 0)
        page--;
    uint64_t tag = tag_at(page);
    if (tag_kind(tag) != RUN_DIRTY)
        return NULL;
    struct run *r = tag_run(tag);
    return first + pages <= r->first + r->pages ? r : NULL;
}

static bool take_again(uintptr_t before, size_t pages, size_t *first)
{
    if (before == 0)
        return false;
    *first = page_of(before);
    struct run *r = find_dirty(*first, pages);
    if (r != NULL)
        free_run_carve(r, *first, pages);
    return r != NULL;
}

static bool take_any(size_t pages, size_t align_pages, size_t *first, bool *is_zero)
{
    if (take_free(RUN_DIRTY, pages, align_pages, first))
        return true;
    if (is_zero == NULL)
        return false;
    *is_zero = true;
    grow_by(pages);
    if (take_free(RUN_CLEAN, pages, align_pages, first) ||
        take_free(RUN_VOID, pages, align_pages, first))
        return true;
    consider_huge_pages(pages);
    return frontier_take(pages, align_pages, first);
}

/* is_zero: null if only used pages will do. */
static NOINLINE void *alloc_from(uintptr_t before, size_t bytes, size_t align, enum run_kind use,
                                 bool *is_zero)
{
    size_t pages = pages_for(bytes);
    size_t align_pages = max_size(align >> page_shift, 1);
    size_t first;
    lock_take(&span.lock);
    free_runs_settle();
    span.why = use == RUN_SLAB ? PAGES_SLABS : PAGES_LARGE;
    bool ok = span_prepare_records(0) &&
              (take_again(before, pages, &first) || take_any(pages, align_pages, &first, is_zero));
    if (ok)
        tag_in_use(first, pages, use);
    lock_drop(&span.lock);
    return ok ? (void *)address_of(first) : NULL;
}

void *span_alloc_again(uintptr_t before, size_t bytes, size_t align, enum run_kind use,
                       bool *is_zero)
{
    *is_zero = false;
    return alloc_from(before, bytes, align, use, is_zero);
}

void *span_alloc(size_t bytes, size_t align, enum run_kind use, bool *is_zero)
{
    return span_alloc_again(0, bytes, align, use, is_zero);
}

void *span_alloc_used(size_t bytes, size_t align, enum run_kind use)
{
    return alloc_from(0, bytes, align, use, NULL);
}

void span_enter_slab(uintptr_t start, unsigned units, struct slab *entry)
{
    lock_take(&span.lock);
    window_enter(window_unit(start), units, entry);
    lock_drop(&span.lock);
}

/* The tag of the run in use that begins there, read once; 0: none of that kind does. */
static uint64_t tag_of_run_at(uintptr_t address, enum run_kind use)
{
    size_t page = page_of(address);
    if (!window_is_open() || page >= atomic_load_acquire(&span.frontier) ||
        address_of(page) != address)
        return 0;
    uint64_t tag = tag_at(page);
    return tag_shows(tag) == use ? tag : 0;
}

size_t span_release(uintptr_t address, enum run_kind use)
{
    uint64_t now = os->now_ms();
    size_t pages = 0;
    lock_take(&span.lock);
    size_t first = page_of(address);
    uint64_t tag = tag_of_run_at(address, use);
    if (tag != 0 && tag_claim(first, tag)) { /* kept_put and pocket_put have no span lock */
        pages = tag_pages(tag);
        tag_nothing(first, pages, use);
        free_run_release(first, pages, now);
    }
    lock_drop(&span.lock);
    return pages << page_shift;
}

bool run_give_back(size_t first, uint64_t tag, uint64_t stamp_ms)
{
    lock_take(&span.lock);
    bool mine = tag_claim(first, tag);
    if (mine) {
        tag_nothing(first, tag_pages(tag), RUN_LARGE);
        free_run_release(first, tag_pages(tag), stamp_ms);
    }
    lock_drop(&span.lock);
    return mine;
}

/* Takes up to `pages` pages that follow page `end`, whatever kind of free they are. Returns how many. */
static size_t take_following(size_t end, size_t pages)
{
    if (end == span.frontier)
        return frontier_extend(pages) ? pages : 0;
    uint64_t tag = tag_at(end);
    if (!kind_is_free(tag_kind(tag)))
        return 0;
    struct run *r = tag_run(tag);
    size_t part = min_size(r->pages, pages);
    if (r->kind == RUN_VOID && !map_void(end, part))
        return 0;
    free_run_carve(r, end, part);
    return part;
}

bool span_extend(void *start, size_t new_bytes)
{
    uint64_t now = os->now_ms();
    size_t want = pages_for(new_bytes);
    lock_take(&span.lock);
    free_runs_settle();
    span.why = PAGES_LARGE;
    size_t first = page_of((uintptr_t)start);
    uint64_t tag = tag_at(first);
    enum run_kind use = tag_kind(tag);
    size_t had = tag_pages(tag);
    size_t pages = had;
    bool prepared = span_prepare_records(0);
    while (prepared && pages < want) {
        size_t part = take_following(first + pages, want - pages);
        if (part == 0)
            break;
        pages += part;
    }
    if (pages < want && pages > had)
        free_run_add(first + had, pages - had, RUN_DIRTY, now);
    if (pages >= want) {
        grow_by(pages - had);
        tag_nothing(first, had, use);
        tag_in_use(first, pages, use);
    }
    lock_drop(&span.lock);
    return pages >= want;
}

void span_trim(void *start, size_t new_bytes)
{
    uint64_t now = os->now_ms();
    lock_take(&span.lock);
    size_t first = page_of((uintptr_t)start);
    uint64_t tag = tag_at(first);
    size_t had = tag_pages(tag);
    size_t keep = pages_for(new_bytes);
    if (keep < had && span_prepare_records(0)) {
        tag_nothing(first, had, tag_kind(tag));
        tag_in_use(first, keep, tag_kind(tag));
        free_run_release(first + keep, had - keep, now);
    }
    lock_drop(&span.lock);
}

/* The new place is taken from void or fresh addresses, not from dirty runs: their memory would be dropped by the move. */
static bool take_to_move(size_t pages, size_t align_pages, size_t *first)
{
    return take_free(RUN_VOID, pages, align_pages, first) ||
           take_free(RUN_CLEAN, pages, align_pages, first) ||
           frontier_take(pages, align_pages, first);
}

/* What becomes of the destination of a refused move: kernels before 6.17 may have unmapped it. Unmapped for sure, it is
 * void; where that is refused too, nobody knows, and the addresses stay out of use. */
static void release_destination(size_t first, size_t old_pages, size_t pages, bool is_void)
{
    tag_nothing(first, pages, RUN_LARGE);
    if (is_void)
        free_run_add(first, old_pages, RUN_VOID, 0);
    else
        tag_in_use(first, old_pages, RUN_HELD);
    if (pages > old_pages)
        free_run_add(first + old_pages, pages - old_pages, RUN_CLEAN, 0);
}

void *span_move(void *from, size_t new_bytes, size_t align)
{
    /* A move leaves a hole behind, which the kernel might give to somebody else: in a reservation we map over. */
    if (window.reserved)
        return NULL;
    size_t pages = pages_for(new_bytes);
    size_t first;
    lock_take(&span.lock);
    free_runs_settle();
    span.why = PAGES_LARGE;
    size_t old_first = page_of((uintptr_t)from);
    size_t old_pages = tag_pages(tag_at(old_first));
    size_t align_pages = max_size(align >> page_shift, 1);
    /* A block that grew once will grow again: look for a place with as much free behind it, which stays free. */
    bool roomy = span_prepare_records(0) && take_to_move(2 * pages, align_pages, &first);
    if (!roomy && !take_to_move(pages, align_pages, &first)) {
        lock_drop(&span.lock);
        return NULL;
    }
    grow_by(pages - old_pages);
    tag_in_use(first, pages, RUN_LARGE);
    if (roomy)
        free_run_add(first + pages, pages, RUN_CLEAN, 0);
    lock_drop(&span.lock);

    /* The kernel moves the old pages over the first of the new ones; those behind them are mapped and zero already. */
    bool moved = pages_move(from, old_pages << page_shift, (void *)address_of(first),
                            old_pages << page_shift);
    bool is_void =
        !moved && pages_unmap(PAGES_MOVE, (void *)address_of(first), old_pages << page_shift);
    lock_take(&span.lock);
    if (moved) {
        tag_nothing(old_first, old_pages, RUN_LARGE);
        free_run_add(old_first, old_pages, RUN_VOID, 0);
    } else {
        release_destination(first, old_pages, pages, is_void);
    }
    lock_drop(&span.lock);
    return moved ? (void *)address_of(first) : NULL;
}

size_t span_in_use_bytes(uintptr_t address, enum run_kind use)
{
    return tag_pages(tag_of_run_at(address, use)) << page_shift;
}

static bool is_held_at(size_t page)
{
    return tag_kind(tag_at(page)) == RUN_HELD;
}

void span_cut(void *whole, void *start, size_t bytes)
{
    lock_take(&span.lock);
    size_t first = page_of((uintptr_t)whole);
    size_t end = first + tag_pages(tag_at(first));
    size_t inner = page_of((uintptr_t)start);
    size_t inner_end = inner + pages_for(bytes);
    tag_nothing(first, end - first, RUN_HELD);
    if (inner > first)
        tag_in_use(first, inner - first, RUN_HELD);
    tag_in_use(inner, inner_end - inner, RUN_LARGE);
    if (end > inner_end)
        tag_in_use(inner_end, end - inner_end, RUN_HELD);
    lock_drop(&span.lock);
}

void span_uncut(void *whole, size_t bytes)
{
    lock_take(&span.lock);
    size_t first = page_of((uintptr_t)whole);
    size_t end = first + pages_for(bytes);
    for (size_t page = first; page < end;) {
        size_t pages = tag_pages(tag_at(page));
        tag_nothing(page, pages, is_held_at(page) ? RUN_HELD : RUN_LARGE);
        page += pages;
    }
    tag_in_use(first, end - first, RUN_HELD);
    lock_drop(&span.lock);
}

void span_drop(void *whole, enum run_kind now_is)
{
    uint64_t now = os->now_ms();
    lock_take(&span.lock);
    free_runs_settle(); /* the queue keeps its order */
    size_t first = page_of((uintptr_t)whole);
    size_t pages = tag_pages(tag_at(first));
    tag_nothing(first, pages, RUN_HELD);
    free_run_add(first, pages, now_is, now);
    lock_drop(&span.lock);
}

static bool is_old(const struct run *r, uint64_t now_ms, uint64_t age_ms)
{
    return r != NULL && r->stamp_ms + age_ms <= now_ms;
}

static void hold(struct run *to, struct run *r, struct part part)
{
    *to = (struct run){.first = part.first, .pages = part.pages};
    if (part.pages < r->pages)
        free_run_cut(r, part.first, part.pages);
    else
        free_run_take(r);
    tag_in_use(part.first, part.pages, RUN_HELD);
}

/* From page `first` of a run on: as much as there is room for without splitting a huge page; or one that begins there. */
static struct part part_from(const struct run *r, size_t first, size_t room)
{
    size_t rest = r->first + r->pages - first;
    size_t pages = huge_whole(first, min_size(rest, room));
    return (struct part){first, pages != 0 ? pages : huge_whole(first, min_size(rest, HUGE_PAGES))};
}

/* While a thread waits no huge page is split: a run that begins within one loses the next. */
static struct part choose_part_at_once(const struct run *r, size_t room)
{
    struct part part = part_from(r, r->first, room);
    size_t next = align_up(r->first, HUGE_PAGES);
    return part.pages == 0 && next < r->first + r->pages ? part_from(r, next, room) : part;
}

/* How much of a run goes into a batch of at most max_pages that has `room` left; perhaps nothing. Where such a batch can
 * unmap at all, runs are cut only if they are longer than it, into parts that can be unmapped. */
static struct part choose_part(const struct run *r, size_t room, size_t max_pages)
{
    size_t unmap_pages = pages_for(UNMAP_BYTES);
    if (max_pages < unmap_pages)
        return choose_part_at_once(r, room);
    size_t pages = r->pages <= room   ? r->pages
                   : room < max_pages ? 0
                                      : min_size(room, r->pages - unmap_pages);
    return (struct part){r->first, pages};
}

/* Takes a batch of runs that are old enough out of use, the oldest first. */
static COLD size_t hold_old(struct run *held, uint64_t now_ms, uint64_t age_ms, size_t enough_pages,
                            size_t max_pages)
{
    size_t n = 0;
    size_t pages = 0;
    struct run *r = span.oldest;
    for (int i = 0; i < PURGE_BATCH && pages < enough_pages && is_old(r, now_ms, age_ms); i++) {
        struct run *newer = r->newer;
        struct part part = choose_part(r, max_pages - pages, max_pages);
        if (part.pages != 0) {
            hold(&held[n++], r, part);
            pages += part.pages;
        }
        r = newer;
    }
    return n;
}

static void release_held(const struct run *held, enum run_kind kind, uint64_t stamp_ms)
{
    tag_nothing(held->first, held->pages, RUN_HELD);
    free_run_add(held->first, held->pages, kind, stamp_ms);
}

static struct os_range range_of(const struct run *r)
{
    return (struct os_range){(void *)address_of(r->first), r->pages << page_shift};
}

/* Purges the held runs and tells for each what it is now. */
static void purge_held(const struct run *held, size_t n, enum run_kind *now_is)
{
    struct os_range ranges[PURGE_BATCH];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct os_range r = range_of(&held[i]);
        huge_leave(&r);
        now_is[i] = RUN_DIRTY;
        if (r.bytes >= UNMAP_BYTES && !window.reserved &&
            pages_unmap(PAGES_UNMAP, r.start, r.bytes)) {
            now_is[i] = RUN_VOID;
        } else {
            ranges[count++] = r;
        }
    }
    size_t done = pages_purge(PAGES_CLEAN, ranges, count);
    for (size_t i = 0; i < n && done > 0; i++) {
        if (now_is[i] == RUN_DIRTY) {
            now_is[i] = RUN_CLEAN;
            done--;
        }
    }
}

COLD size_t span_purge(uint64_t now_ms, uint64_t age_ms, size_t enough_pages, size_t max_pages)
{
    struct run held[PURGE_BATCH];
    enum run_kind now_is[PURGE_BATCH];
    lock_take(&span.lock);
    free_runs_settle();
    size_t n = hold_old(held, now_ms, age_ms, enough_pages, max_pages);
    lock_drop(&span.lock);
    if (n == 0)
        return 0;
    purge_held(held, n, now_is);
    size_t pages = 0;
    lock_take(&span.lock);
    for (size_t i = 0; i < n; i++) {
        release_held(&held[i], now_is[i], now_ms);
        if (now_is[i] != RUN_DIRTY)
            pages += held[i].pages;
    }
    lock_drop(&span.lock);
    return pages;
}

size_t span_take_excess(bool all)
{
    lock_take(&span.lock);
    free_runs_settle();
    size_t in_use = span.pages[RUN_SLAB] + span.pages[RUN_LARGE];
    size_t allowed = all ? 0 : max_size(in_use / DIRTY_SHARE, pages_for(MIB(1)));
    size_t dirty = span.pages[RUN_DIRTY];
    size_t excess = dirty > allowed ? min_size(dirty - allowed, span_grown_pages) : 0;
    atomic_store_relaxed(&span_grown_pages, (size_t)0);
    lock_drop(&span.lock);
    return excess;
}

bool span_lock_is_mine(void)
{
    return lock_is_mine(&span.lock);
}

void span_fork_prepare(bool nested)
{
    lock_fork_take(&span.lock, nested);
}

void span_fork_parent(void)
{
    lock_fork_parent(&span.lock);
}

void span_fork_child(void)
{
    lock_fork_child(&span.lock);
}
