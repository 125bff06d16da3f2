#include "span/pocket.h"

#include "os/os.h"
#include "os/threads.h"
#include "span/span_internal.h"

enum {
    MISS = 3, /* costs as much as so many hits earn */
    CREDIT_TO_OPEN = 16,
    CREDIT_MOST = 96,
    SLEEP = 60, /* and one that it looks at, a prime: whatever goes round is met at each point */
};

#define ONES (~(uint64_t)0 / 255)

static inline size_t most_pages_each(void)
{
    return POCKET_BYTES_EACH >> page_shift;
}

static inline size_t most_pages(void)
{
    return POCKET_BYTES >> page_shift;
}

/* Its lowest bit lies in the first byte that says `pages`; 0: none does. */
static inline uint64_t find_length(uint64_t lengths, size_t pages)
{
    uint64_t differs = lengths ^ ONES * pages;
    return (differs - ONES) & ~differs & ONES << 7;
}

static inline unsigned place_of(uint64_t found)
{
    return lowest_bit(found) / 8;
}

static inline size_t length_at(const struct pocket *p, unsigned i)
{
    return atomic_load_relaxed(&p->lengths) >> 8 * i & 255;
}

static inline void note(struct pocket *p, unsigned i, size_t pages)
{
    atomic_store_relaxed(&p->lengths, p->lengths | (uint64_t)pages << 8 * i);
}

/* The sum is below 256 by P1. */
static inline size_t sum_pages(const struct pocket *p)
{
    return p->lengths * ONES >> 56;
}

static inline void forget(struct pocket *p, unsigned i)
{
    atomic_store_relaxed(&p->lengths, p->lengths & ~((uint64_t)255 << 8 * i));
}

static inline bool is_pocketed(uint64_t tag)
{
    return tag_kind(tag) == RUN_LARGE && (tag & TAG_POCKET) != 0;
}

static inline bool is_pocketed_with(uint64_t tag, size_t pages)
{
    return (tag & ~TAG_OLD) == (tag_of_use(pages, RUN_LARGE) | TAG_POCKET);
}

/* The run is a block again; false if a purge pass has given it back. */
static inline bool take_back(size_t first, size_t pages)
{
    uint64_t tag;
    while (is_pocketed_with(tag = tag_at(first), pages)) {
        if (LIKELY(tag_change(first, tag, tag_of_use(pages, RUN_LARGE))))
            return true;
    }
    return false;
}

static bool hit(struct pocket *p)
{
    p->credit = (uint16_t)min_size(p->credit + 1U, CREDIT_MOST);
    return p->credit >= CREDIT_TO_OPEN;
}

static bool miss(struct pocket *p)
{
    bool is_due = p->credit < MISS;
    p->credit = is_due ? 0 : (uint16_t)(p->credit - MISS);
    return is_due;
}

/* Whether requests would have found what was freed. */
static NOINLINE void consider_opening(struct pocket *p, size_t pages)
{
    uint64_t found = find_length(p->freed, pages);
    if (found == 0) {
        if (miss(p)) {
            p->asleep = SLEEP;
            p->freed = 0;
        }
        return;
    }
    p->freed &= ~((uint64_t)255 << 8 * place_of(found));
    if (!hit(p))
        return;
    p->is_open = true;
    p->credit = CREDIT_MOST;
}

static NOINLINE void close_pocket(struct pocket *p)
{
    pocket_drop(p);
    p->is_open = false;
    p->freed = 0;
}

/* A run is forgotten after it was taken: a fork in between loses none. */
void *pocket_take(struct pocket *p, size_t bytes)
{
    size_t pages = pages_for(bytes);
    uint64_t found;
    if (!p->is_open) {
        if (p->asleep > 0)
            p->asleep--;
        else
            consider_opening(p, pages);
        return NULL;
    }
    while ((found = find_length(p->lengths, pages)) != 0) {
        unsigned i = place_of(found);
        size_t first = p->firsts[i];
        bool is_mine = take_back(first, pages);
        forget(p, i);
        if (LIKELY(is_mine)) {
            hit(p);
            return (void *)address_of(first);
        }
    }
    if (miss(p))
        close_pocket(p);
    return NULL;
}

static unsigned next_place(struct pocket *p)
{
    return p->next++ % POCKET_RUNS;
}

static NOINLINE void remember(struct pocket *p, size_t pages)
{
    unsigned shift = 8 * next_place(p);
    p->freed = (p->freed & ~((uint64_t)255 << shift)) | (uint64_t)pages << shift;
}

/* If a pass has given back the run that is looked at, there is room for the next. */
static NOINLINE void look_for_room(struct pocket *p)
{
    unsigned i = next_place(p);
    if (!is_pocketed_with(tag_at(p->firsts[i]), length_at(p, i)))
        forget(p, i);
}

/* By compare-and-swap if there are other threads: one of two racing frees fails. */
static inline bool claim(size_t first, uint64_t tag)
{
    if (!thread_is_alone())
        return tag_change(first, tag, tag | TAG_POCKET);
    tag_pocket(first, tag);
    return true;
}

/* The run is noted before it is claimed: as in pocket_take. */
static inline bool put_at(struct pocket *p, unsigned i, size_t first, uint64_t tag)
{
    atomic_store_relaxed(&p->firsts[i], (uint32_t)first);
    note(p, i, tag_pages(tag));
    bool is_mine = claim(first, tag);
    if (UNLIKELY(!is_mine))
        forget(p, i);
    return is_mine;
}

/* The tag of the large block that begins at the page, if it is not too long; or 0. */
static inline uint64_t tag_of_block(size_t first)
{
    uint64_t tag = tag_at(first);
    size_t pages = tag >> TAG_KIND_BITS; /* of a run that is not in use there are very many */
    return tag_kind(tag) == RUN_LARGE && pages <= most_pages_each() ? tag : 0;
}

size_t pocket_put(struct pocket *p, uintptr_t address)
{
    if (p->asleep > 0)
        return 0;
    size_t first = page_of(address);
    if (UNLIKELY(first >= atomic_load_acquire(&span.frontier) || address_of(first) != address))
        return 0;
    uint64_t tag = tag_of_block(first);
    size_t pages = tag_pages(tag);
    if (pages == 0)
        return 0;
    if (!p->is_open) {
        remember(p, pages);
        return 0;
    }
    uint64_t found = find_length(p->lengths, 0);
    if (found == 0 || sum_pages(p) + pages > most_pages()) {
        look_for_room(p);
        return 0;
    }
    return put_at(p, place_of(found), first, tag) ? pages << page_shift : 0;
}

/* A run that shall go goes, though a pass may just mark it. */
static bool give_back(size_t first, bool all, uint64_t stamp_ms)
{
    uint64_t tag;
    while (is_pocketed(tag = tag_at(first))) {
        if (!all && (tag & TAG_OLD) == 0) {
            tag_change(first, tag, tag | TAG_OLD);
            return false;
        }
        if (run_give_back(first, tag, stamp_ms))
            return true;
    }
    return false;
}

/* What it reads of the pocket may be old: then the run is a block, or somebody's who has put it there. */
size_t pocket_give_back(const struct pocket *p, bool all, uint64_t stamp_ms)
{
    size_t n = 0;
    for (unsigned i = 0; i < POCKET_RUNS; i++) {
        if (length_at(p, i) != 0)
            n += give_back(atomic_load_relaxed(&p->firsts[i]), all, stamp_ms);
    }
    return n;
}

void pocket_drop(struct pocket *p)
{
    if (pocket_is_empty(p))
        return;
    pocket_give_back(p, true, os->now_ms());
    atomic_store_relaxed(&p->lengths, (uint64_t)0);
}

size_t pocket_find_run(size_t page)
{
    size_t end = atomic_load_acquire(&span.frontier);
    if (page >= end)
        return end;
    while (page < end && !is_pocketed(tag_at(page)))
        page++;
    return page;
}

bool pocket_has(const struct pocket *p, size_t first)
{
    for (unsigned i = 0; i < POCKET_RUNS; i++) {
        if (p->firsts[i] == first && length_at(p, i) != 0)
            return true;
    }
    return false;
}

int pocket_check(const struct pocket *p)
{
    size_t pages = 0;
    for (unsigned i = 0; i < POCKET_RUNS; i++) {
        if (length_at(p, i) > most_pages_each())
            return 1;
        pages += length_at(p, i);
    }
    if (pages > most_pages())
        return 1;
    return !p->is_open && !pocket_is_empty(p) ? 2 : 0;
}
