#include "core/fence.h"

#include "area/records.h"
#include "callers/sites.h"
#include "core/fault.h"
#include "core/misuse.h"
#include "os/lock.h"
#include "os/pages.h"
#include "span/span.h"

#include <string.h>

enum {
    BUCKETS_SHIFT = 12,
    RECORDS_PER_TAKE = 16,
    MAPPINGS_PER_GUARD = 2,
    ADDRESS_SHARE = 16, /* of all addresses, as much may wait in the queue */
};
#define HELD_BYTES_MAX GIB(1)
#define UNMAP_BYTES    MIB(8)   /* longer freed blocks are unmapped: no marks, no page tables */
#define MOVE_BYTES     KIB(128) /* longer ones move their pages instead of being copied */

bool fences_are_on;

static struct {
    struct lock lock;
    struct fence *spare;
    struct fence *last_made; /* read without the lock: the list grows at its head */
    struct fence *oldest, *newest;
    size_t held_count, held_bytes, held_limit;
    size_t live;
    size_t mappings; /* hint: spent on guards */
    uint64_t secret;
    bool keeps_callers; /* set once, early */
} fences = {.lock = LOCK_INIT(RANK_FENCE)};
static struct fence
    *buckets[1 << BUCKETS_SHIFT]; /* apart: zeros need no room in the library's file */

void fence_begin(void)
{
    if (fences_are_on)
        return;
    size_t window_bytes = window_is_open() ? window.unit_limit << UNIT_SHIFT : SIZE_MAX;
    size_t addresses = min_size(window_bytes, os->address_space_limit());
    fences.held_limit = min_size(HELD_BYTES_MAX, addresses / ADDRESS_SHARE);
    os->random(&fences.secret, sizeof fences.secret);
    fences_are_on = true;
}

bool fence_keep_callers(void)
{
    if (!sites_begin() || !callers_begin())
        return false;
    fences.keeps_callers = true;
    return true;
}

static uint32_t site_here(void)
{
    uintptr_t callers[FENCE_CALLERS];
    return fences.keeps_callers ? site_of(callers, callers_take(callers, FENCE_CALLERS))
                                : SITE_NONE;
}

/* Records. */

static struct fence **bucket_of(uintptr_t pages)
{
    uint64_t hash = (uint64_t)pages * 0x9e3779b97f4a7c15U;
    return &buckets[hash >> (64 - BUCKETS_SHIFT)];
}

static struct fence *find_pages_locked(uintptr_t pages)
{
    struct fence *f = *bucket_of(pages);
    while (f != NULL && f->pages != pages)
        f = f->next;
    return f;
}

/* A block begins on the first of its pages; one of no bytes may begin behind them. */
static struct fence *find_locked(uintptr_t start)
{
    size_t page = os->page_bytes();
    struct fence *f = find_pages_locked(align_down(start, page));
    if (f == NULL)
        f = find_pages_locked(align_down(start, page) - page);
    return f != NULL && f->start == start ? f : NULL;
}

static void file_locked(struct fence *f)
{
    struct fence **bucket = bucket_of(f->pages);
    f->next = *bucket;
    *bucket = f;
}

static void unfile_locked(const struct fence *f)
{
    struct fence **link = bucket_of(f->pages);
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
}

static struct fence *pop_spare(void)
{
    lock_take(&fences.lock);
    struct fence *f = fences.spare;
    if (f != NULL)
        fences.spare = f->next;
    lock_drop(&fences.lock);
    return f;
}

static void push_spare(struct fence *f)
{
    lock_take(&fences.lock);
    f->state = FENCE_SPARE;
    f->next = fences.spare;
    fences.spare = f;
    lock_drop(&fences.lock);
}

static struct fence *take_record(void)
{
    struct fence *f = pop_spare();
    if (f != NULL)
        return f;
    struct fence *more = records_take(RECORDS_PER_TAKE * sizeof *more);
    for (int i = 0; more != NULL && i < RECORDS_PER_TAKE; i++) {
        lock_take(&fences.lock);
        more[i].made_before = fences.last_made;
        atomic_store_release(&fences.last_made, &more[i]);
        lock_drop(&fences.lock);
        if (i > 0)
            push_spare(&more[i]);
    }
    return more;
}

/* Guards. */

static bool may_map(void)
{
    return atomic_load_relaxed(&fences.mappings) + MAPPINGS_PER_GUARD <=
           (size_t)conf.guard_mappings;
}

static size_t mappings_of(uint8_t how)
{
    return how == OS_GUARD_ACCESS ? MAPPINGS_PER_GUARD : how == OS_GUARD_UNMAP ? 1 : 0;
}

static uint8_t note_guard(enum os_guard how)
{
    atomic_add_relaxed(&fences.mappings, mappings_of((uint8_t)how));
    return (uint8_t)how;
}

static uint8_t guard(uintptr_t start, size_t bytes)
{
    return note_guard(pages_guard((void *)start, bytes, may_map()));
}

static void put_guards(struct fence *f)
{
    size_t page = os->page_bytes();
    f->front = guard(f->pages - page, page);
    f->back = guard(f->pages + f->page_bytes, page);
}

/* Freed pages lose their contents and fault. */
static void hide_pages(struct fence *f)
{
    if (f->page_bytes >= UNMAP_BYTES && !window.reserved && may_map() &&
        pages_unmap(PAGES_GUARD, (void *)f->pages, f->page_bytes))
        f->hidden = note_guard(OS_GUARD_UNMAP);
    else
        f->hidden = guard(f->pages, f->page_bytes);
}

static bool unguard(uintptr_t start, size_t bytes, uint8_t how)
{
    if (how == OS_GUARD_NONE)
        return true;
    return pages_unguard((void *)start, bytes, (enum os_guard)how);
}

/* Makes the whole one kind of memory again. RUN_HELD: that was refused, the addresses are lost. */
static enum run_kind clear_guards(const struct fence *f)
{
    size_t page = os->page_bytes();
    uintptr_t front = f->pages - page;
    if (f->hidden == OS_GUARD_UNMAP)
        return pages_unmap(PAGES_GUARD, (void *)f->whole, f->whole_bytes) ? RUN_VOID : RUN_HELD;
    bool is_done;
    if (f->front == f->hidden && f->back == f->hidden)
        is_done = unguard(front, f->page_bytes + 2 * page, f->hidden);
    else
        is_done = unguard(front, page, f->front) && unguard(f->pages, f->page_bytes, f->hidden) &&
                  unguard(f->pages + f->page_bytes, page, f->back);
    if (!is_done)
        return RUN_HELD;
    bool all_wiped = f->front != OS_GUARD_NONE && f->back != OS_GUARD_NONE &&
                     f->whole_bytes == f->page_bytes + 2 * page;
    return f->hidden != OS_GUARD_NONE && (all_wiped || f->was_zero) ? RUN_CLEAN : RUN_DIRTY;
}

/* The slack. */

static uint8_t slack_byte(uintptr_t start)
{
    return (uint8_t)((((uint64_t)start ^ fences.secret) * 0x9e3779b97f4a7c15U) >> 56);
}

static void write_slack(const struct fence *f)
{
    if (!f->is_exact)
        return;
    uintptr_t end = f->start + f->bytes;
    int c = slack_byte(f->start);
    memset((void *)f->pages, c, f->start - f->pages);
    memset((void *)end, c, f->pages + f->page_bytes - end);
}

static void check_slack(const struct fence *f, const char *function)
{
    const uint8_t *block = (const uint8_t *)f->start;
    uint8_t c = slack_byte(f->start);
    size_t before = f->start - f->pages;
    size_t limit = f->pages + f->page_bytes - f->start;
    for (size_t i = f->bytes; f->is_exact && i < limit; i++) {
        if (block[i] != c) {
            misuse_report_overflow(f->start, f->bytes, i, function);
            return;
        }
    }
    for (size_t i = 1; f->is_exact && i <= before; i++) {
        if (block[-(ptrdiff_t)i] != c) {
            misuse_report_underflow(f->start, i, function);
            return;
        }
    }
}

/* The queue. */

static void let_go_of(struct fence *f)
{
    enum run_kind now_is = clear_guards(f);
    atomic_sub_relaxed(&fences.mappings,
                       mappings_of(f->front) + mappings_of(f->back) + mappings_of(f->hidden));
    if (now_is != RUN_HELD)
        span_drop((void *)f->whole, now_is);
    push_spare(f);
}

static struct fence *take_oldest(size_t max_count, size_t max_bytes)
{
    struct fence *f = NULL;
    lock_take(&fences.lock);
    if (fences.held_count > max_count || (fences.held_bytes > max_bytes && fences.held_count > 1)) {
        f = fences.oldest;
        fences.oldest = f->newer;
        if (fences.oldest == NULL)
            fences.newest = NULL;
        fences.held_count--;
        fences.held_bytes -= f->whole_bytes;
        unfile_locked(f);
    }
    lock_drop(&fences.lock);
    return f;
}

static bool shorten_queue(size_t max_count)
{
    bool any = false;
    struct fence *f;
    while ((f = take_oldest(max_count, fences.held_limit)) != NULL) {
        let_go_of(f);
        any = true;
    }
    return any;
}

static void hold_back(struct fence *f)
{
    lock_take(&fences.lock);
    f->newer = NULL;
    *(fences.newest != NULL ? &fences.newest->newer : &fences.oldest) = f;
    fences.newest = f;
    fences.held_count++;
    fences.held_bytes += f->whole_bytes;
    lock_drop(&fences.lock);
    shorten_queue(FENCE_HELD_MAX);
}

/* Allocation. */

static bool take_whole(struct fence *f, size_t n, size_t align)
{
    size_t page = os->page_bytes();
    f->page_bytes = align_up(max_size(n, 1), page);
    f->whole_bytes = f->page_bytes + 2 * page + (align > page ? align : 0);
    void *whole;
    do {
        whole = span_alloc(f->whole_bytes, page, RUN_HELD, &f->was_zero);
    } while (whole == NULL && shorten_queue(0));
    f->whole = (uintptr_t)whole;
    f->pages = align_up(f->whole + page, max_size(align, page));
    return whole != NULL;
}

static void place_block(struct fence *f, size_t n, size_t align, enum fence_place place)
{
    f->bytes = f->is_exact ? n : f->page_bytes;
    f->start = place == FENCE_AT_START
                   ? f->pages
                   : align_down(f->pages + f->page_bytes - n, max_size(align, GRAIN));
}

static void hand_out(struct fence *f)
{
    f->taken_by = os->thread_id();
    f->taken_ms = os->now_ms();
    f->taken_site = site_here();
    f->hidden = OS_GUARD_NONE;
    lock_take(&fences.lock);
    f->state = FENCE_LIVE;
    fences.live++;
    file_locked(f);
    lock_drop(&fences.lock);
}

void *fence_alloc(size_t n, size_t align, enum fence_place place, bool is_exact, bool zero)
{
    struct fence *f = take_record();
    if (f == NULL)
        return NULL;
    if (!take_whole(f, n, align)) {
        push_spare(f);
        return NULL;
    }
    f->is_exact = is_exact;
    place_block(f, n, align, place);
    span_cut((void *)f->whole, (void *)f->pages, f->page_bytes);
    put_guards(f);
    fault_watch();
    if (zero && !f->was_zero)
        memset((void *)f->pages, 0, f->page_bytes);
    write_slack(f);
    hand_out(f);
    return (void *)f->start;
}

/* From LIVE to FREED, by one thread only. */
static struct fence *claim(const void *p)
{
    lock_take(&fences.lock);
    struct fence *f = find_locked((uintptr_t)p);
    if (f != NULL && f->state == FENCE_LIVE) {
        f->state = FENCE_FREED;
        fences.live--;
    } else {
        f = NULL;
    }
    lock_drop(&fences.lock);
    return f;
}

static void bury(struct fence *f)
{
    f->freed_by = os->thread_id();
    f->freed_ms = os->now_ms();
    f->freed_site = site_here();
    span_uncut((void *)f->whole, f->whole_bytes);
    if (f->hidden == OS_GUARD_NONE)
        hide_pages(f);
    hold_back(f);
}

bool fence_free(void *p, const char *function)
{
    struct fence *f = claim(p);
    if (f == NULL)
        return false;
    check_slack(f, function);
    bury(f);
    return true;
}

bool fence_is_live(const void *p, size_t *bytes)
{
    lock_take(&fences.lock);
    const struct fence *f = find_locked((uintptr_t)p);
    bool is_live = f != NULL && f->state == FENCE_LIVE;
    if (is_live)
        *bytes = f->bytes;
    lock_drop(&fences.lock);
    return is_live;
}

/* Resizing. The caller owns the block: nobody else changes its record. */

static bool fits_pages(const struct fence *f, size_t n)
{
    return f->start == f->pages && align_up(max_size(n, 1), os->page_bytes()) == f->page_bytes;
}

static struct fence *record_of(const void *p)
{
    lock_take(&fences.lock);
    struct fence *f = find_locked((uintptr_t)p);
    lock_drop(&fences.lock);
    return f;
}

/* What a refused move left of its destination nobody knows: it is not used again before it could be unmapped, now or when
 * the addresses come back. */
static void bury_destination(void *p)
{
    struct fence *f = claim(p);
    pages_unmap(PAGES_GUARD, (void *)f->pages, f->page_bytes);
    f->hidden = note_guard(OS_GUARD_UNMAP);
    bury(f);
}

/* The old pages are not mapped any more: as good as a guard. */
static void *move_pages(struct fence *f, size_t n)
{
    void *q = fence_alloc(n, 1, FENCE_AT_START, f->is_exact, false);
    if (q == NULL)
        return NULL;
    claim((void *)f->start);
    if (!pages_move((void *)f->pages, f->page_bytes, q, f->page_bytes)) {
        lock_take(&fences.lock);
        f->state = FENCE_LIVE;
        fences.live++;
        lock_drop(&fences.lock);
        bury_destination(q);
        return NULL;
    }
    f->hidden = note_guard(OS_GUARD_UNMAP);
    bury(f);
    return q;
}

void *fence_resize(void *p, size_t n, const char *function)
{
    struct fence *f = record_of(p);
    bool is_longer = n > f->page_bytes;
    if (fits_pages(f, n)) {
        check_slack(f, function);
        f->bytes = f->is_exact ? n : f->page_bytes;
        write_slack(f);
        return p;
    }
    if (!is_longer || f->page_bytes < MOVE_BYTES || f->start != f->pages || window.reserved ||
        !may_map())
        return NULL;
    check_slack(f, function);
    return move_pages(f, n);
}

/* Looking. */

const struct fence *fence_find(uintptr_t address)
{
    const struct fence *f = atomic_load_acquire(&fences.last_made);
    while (f != NULL && (f->state == FENCE_SPARE || address - f->whole >= f->whole_bytes))
        f = f->made_before;
    return f;
}

const struct fence *fence_at_pages(uintptr_t pages)
{
    enum { STEPS_MAX = 1 << 16 }; /* a record that moves meanwhile may lead into another list */
    const struct fence *f = atomic_load_relaxed(bucket_of(pages));
    for (int i = 0; f != NULL && i < STEPS_MAX; i++) {
        if (f->pages == pages && f->state == FENCE_LIVE)
            return f;
        f = atomic_load_relaxed(&f->next);
    }
    return NULL;
}

size_t fence_live_count(void)
{
    return atomic_load_relaxed(&fences.live);
}

static int check_record(const struct fence *f)
{
    if (f->state == FENCE_SPARE)
        return 0;
    if (find_pages_locked(f->pages) != f)
        return 2;
    if (f->pages < f->whole || f->pages + f->page_bytes > f->whole + f->whole_bytes ||
        f->start < f->pages || f->start + f->bytes > f->pages + f->page_bytes)
        return 1;
    bool is_run = span_in_use_bytes(f->pages, RUN_LARGE) == f->page_bytes;
    return is_run == (f->state == FENCE_LIVE) ? 0 : 1;
}

static int check_queue(void)
{
    size_t count = 0;
    size_t bytes = 0;
    for (const struct fence *f = fences.oldest; f != NULL; f = f->newer) {
        if (f->state != FENCE_FREED)
            return 3;
        count++;
        bytes += f->whole_bytes;
    }
    bool fits = count <= 1 || bytes <= fences.held_limit;
    return fits && count == fences.held_count && bytes == fences.held_bytes ? 0 : 3;
}

static int check_spare(void)
{
    for (const struct fence *f = fences.spare; f != NULL; f = f->next) {
        if (f->state != FENCE_SPARE)
            return 2;
    }
    return 0;
}

int fence_check(void)
{
    int broken = check_spare();
    for (const struct fence *f = fences.last_made; f != NULL && broken == 0; f = f->made_before)
        broken = check_record(f);
    return broken != 0 ? broken : check_queue();
}

void fence_fork_prepare(bool nested)
{
    lock_fork_take(&fences.lock, nested);
}

bool fence_lock_is_mine(void)
{
    return lock_is_mine(&fences.lock);
}

void fence_fork_parent(void)
{
    lock_fork_parent(&fences.lock);
}

void fence_fork_child(void)
{
    lock_fork_child(&fences.lock);
}
