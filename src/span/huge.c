#include "span/huge.h"

#include "os/pages.h"
#include "span/span_internal.h"

bool huge_never;

enum {
    HUGE_SHIFT =
        21, /* 2 MiB, with pages of 4 KiB; with others huge pages are so large that we ask for none */
    SMALL_SHIFT = 12,
    UNFILLED_SHARE = 16,
    HUGE_PAGES = 1 << (HUGE_SHIFT - SMALL_SHIFT),
    CHUNKS = (size_t)CHUNK_PAGES * CHUNK_COUNT / HUGE_PAGES,
};
#define HUGE_FROM MIB(32) /* see the header */

/* Bit k: the k-th chunk of the window is huge. */
static uint64_t huge_bits[CHUNKS / 64];
static bool some_were_huge;

/* A reservation is not aligned to chunks. */
static bool may_be_huge(void)
{
    return page_shift == SMALL_SHIFT && !window.reserved && !huge_never;
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

static bool is_large_and_filled(void)
{
    size_t offered = atomic_load_relaxed(&huge_offered_bytes);
    size_t in_use = span.pages[RUN_SLAB] << SMALL_SHIFT;
    return offered >= HUGE_FROM && offered >= in_use - in_use / UNFILLED_SHARE;
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

void huge_enter(size_t first, size_t pages)
{
    if (!may_be_huge() || !is_large_and_filled())
        return;
    size_t start = align_up(first, HUGE_PAGES);
    size_t end = start + HUGE_PAGES;
    if (start >= first + pages || !is_fresh(first + pages, end))
        return;
    pages_huge((void *)address_of(start), (size_t)1 << HUGE_SHIFT);
    set_huge(start / HUGE_PAGES);
    atomic_store_relaxed(&some_were_huge, true);
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
        pages_no_huge((void *)address_of(first * HUGE_PAGES), (chunk - first) << HUGE_SHIFT);
    return chunk;
}

void huge_leave(const struct os_range *range)
{
    if (!atomic_load_relaxed(&some_were_huge))
        return;
    size_t first = page_of((uintptr_t)range->start);
    size_t chunk = first / HUGE_PAGES;
    size_t end = (first + (range->bytes >> page_shift) + HUGE_PAGES - 1) / HUGE_PAGES;
    if (is_huge(chunk) || is_huge(end - 1))
        pages_split(range->start, range->bytes);
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
