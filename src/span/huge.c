#include "span/huge.h"

#include "os/pages.h"
#include "span/huge_price.h"
#include "span/span_internal.h"

bool huge_never;

enum {
    SMALL_SHIFT = 12, /* with larger pages, huge ones are so large that we ask for none */
    UNSEEN_MOST = 8,  /* chunks of a large block that one look speaks for */
    CHUNKS = (size_t)CHUNK_PAGES * CHUNK_COUNT / HUGE_PAGES,
};

/* Bit k: the k-th chunk of the window is huge. */
static uint64_t huge_bits[CHUNKS / 64];
static bool some_were_huge;

/* A reservation is not aligned to chunks. */
bool huge_is_possible(void)
{
    return page_shift == SMALL_SHIFT && !window.reserved && !atomic_load_relaxed(&huge_never);
}

static bool is_huge(size_t chunk)
{
    return (atomic_load_relaxed(&huge_bits[chunk / 64]) >> (chunk % 64) & 1) != 0;
}

static void set_huge(size_t chunk)
{
    atomic_or_relaxed(&huge_bits[chunk / 64], (uint64_t)1 << (chunk % 64));
}

static bool clear_huge(size_t chunk)
{
    uint64_t bit = (uint64_t)1 << (chunk % 64);
    return is_huge(chunk) && (atomic_and_relaxed(&huge_bits[chunk / 64], ~bit) & bit) != 0;
}

/* Whether [page, end) is fresh: one clean run, or beyond the frontier and mapped. */
static bool is_fresh(size_t page, size_t end)
{
    if (page >= end)
        return true;
    if (page == span.frontier)
        return end <= span.mapped;
    uint64_t tag = tag_at(page);
    if (tag_kind(tag) != RUN_CLEAN)
        return false;
    size_t run_end = tag_run(tag)->first + tag_run(tag)->pages;
    return run_end >= end || (run_end == span.frontier && end <= span.mapped);
}

static void ask_for(size_t first, size_t end)
{
    pages_huge((void *)address_of(first), (end - first) << SMALL_SHIFT);
    for (size_t page = first; page < end; page += HUGE_PAGES)
        set_huge(page / HUGE_PAGES);
    atomic_store_relaxed(&some_were_huge, true);
}

/* Those that begin in [start, end) and are worth their price, `most` of them at most. */
static struct part choose(size_t start, size_t end, size_t most, bool with_rest)
{
    size_t first = align_up(start, HUGE_PAGES);
    size_t stop = align_up(end, HUGE_PAGES);
    if (stop > end && !(with_rest && is_fresh(end, stop)))
        stop -= HUGE_PAGES;
    if (first >= stop || !huge_price_affords((stop - first) / HUGE_PAGES))
        return (struct part){first, 0};
    return (struct part){first, min_size(stop - first, most * HUGE_PAGES)};
}

/* A store, as a read would bring the zero page, but of what is there: others may use that part of a slab by now. And without
 * the lock, as it may take milliseconds. */
static void look_at_price(size_t page)
{
    uint64_t before = os->now_ns();
    (void)atomic_cas_acquire((char *)address_of(page), 0, 0);
    uint64_t taken = os->now_ns() - before;
    lock_take(&span.lock);
    huge_price_seen(taken);
    lock_drop(&span.lock);
}

/* The first of each few chunks is looked at. */
void huge_ask(uintptr_t start, size_t bytes, bool with_rest)
{
    if (!huge_is_possible())
        return;
    size_t at = page_of(start);
    size_t end = at + pages_for(bytes);
    for (size_t most = 1; at < end; most = min_size(2 * most, UNSEEN_MOST)) {
        lock_take(&span.lock);
        struct part asked = choose(at, end, most, with_rest);
        if (asked.pages > 0)
            ask_for(asked.first, asked.first + asked.pages);
        lock_drop(&span.lock);
        if (asked.pages == 0)
            return;
        look_at_price(asked.first);
        at = asked.first + asked.pages;
    }
}

/* Makes the first few huge chunks of [chunk, end) that lie side by side plain. Returns the chunk behind them. */
static size_t leave_some(size_t chunk, size_t end)
{
    while (chunk < end && !is_huge(chunk))
        chunk++;
    size_t first = chunk;
    while (chunk < end && clear_huge(chunk))
        chunk++;
    if (chunk > first)
        pages_no_huge((void *)address_of(first * HUGE_PAGES), (chunk - first) * HUGE_BYTES);
    return chunk;
}

/* Whether a border before `page` lies within a huge chunk. */
static bool cuts_huge(size_t page)
{
    return page % HUGE_PAGES != 0 && is_huge(page / HUGE_PAGES);
}

size_t huge_whole(size_t first, size_t pages)
{
    size_t end = first + pages;
    if (!atomic_load_relaxed(&some_were_huge))
        return pages;
    if (cuts_huge(first))
        return 0;
    return cuts_huge(end) ? end - end % HUGE_PAGES - first : pages;
}

/* Of a huge page that is purged as a whole nothing is left to be split. */
static void split_ends(size_t first, size_t end)
{
    size_t page = (size_t)1 << page_shift;
    if (cuts_huge(first))
        pages_split((void *)address_of(first), page);
    if (cuts_huge(end) && !(cuts_huge(first) && first / HUGE_PAGES == end / HUGE_PAGES))
        pages_split((void *)address_of(end - 1), page);
}

void huge_leave(const struct os_range *range)
{
    if (!atomic_load_relaxed(&some_were_huge))
        return;
    size_t first = page_of((uintptr_t)range->start);
    size_t chunk = first / HUGE_PAGES;
    size_t end_page = first + (range->bytes >> page_shift);
    size_t end = (end_page + HUGE_PAGES - 1) / HUGE_PAGES;
    split_ends(first, end_page);
    while (chunk < end)
        chunk = leave_some(chunk, end);
}

int huge_check(void)
{
    for (size_t chunk = span.mapped / HUGE_PAGES; chunk < CHUNKS; chunk++) {
        if (is_huge(chunk))
            return 1;
    }
    return 0;
}
