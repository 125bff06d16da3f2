#include "area/records.h"
#include "span/huge.h"
#include "span/span_internal.h"

#include "os/pages.h"

struct released released;

void tag_set(size_t page, uint64_t tag)
{
    uint64_t *chunk = *tag_chunk(page / CHUNK_PAGES);
    if (chunk != NULL)
        atomic_store_relaxed(&chunk[page % CHUNK_PAGES], tag);
}

/* Whoever gives the run back read what its user had done. */
void tag_pocket(size_t page, uint64_t tag)
{
    atomic_store_release(&(*tag_chunk(page / CHUNK_PAGES))[page % CHUNK_PAGES], tag | TAG_POCKET);
}

bool tag_claim(size_t first, uint64_t tag)
{
    return tag_change(first, tag, 0);
}

void tag_in_use(size_t first, size_t pages, enum run_kind kind)
{
    tag_set(first, tag_of_use(pages, kind));
    span.pages[kind] += pages;
    span.runs[kind]++;
}

void tag_nothing(size_t first, size_t pages, enum run_kind was)
{
    tag_set(first, 0);
    span.pages[was] -= pages;
    span.runs[was]--;
}

static bool prepare_tags(size_t end)
{
    for (size_t c = span.frontier / CHUNK_PAGES; c * CHUNK_PAGES < end; c++) {
        if (c >= CHUNK_COUNT)
            return false;
        if (*tag_chunk(c) != NULL)
            continue;
        uint64_t *chunk = records_take(CHUNK_PAGES * sizeof *chunk);
        if (chunk == NULL)
            return false;
        atomic_store_release(tag_chunk(c), chunk);
    }
    return true;
}

static void spare_push(struct run *r)
{
    r->newer = span.spare;
    span.spare = r;
    span.spare_count++;
}

static bool add_spares(void)
{
    _Static_assert(sizeof(struct run) % (1 << TAG_KIND_BITS) == 0,
                   "a tag holds a record's address");
    struct run *more = records_take(RECORDS_PER_TAKE * sizeof *more);
    for (int i = 0; more != NULL && i < RECORDS_PER_TAKE; i++)
        spare_push(&more[i]);
    return more != NULL;
}

static struct run *spare_pop(void)
{
    if (UNLIKELY(span.spare == NULL) && !add_spares())
        return NULL;
    struct run *r = span.spare;
    span.spare = r->newer;
    span.spare_count--;
    return r;
}

bool span_prepare_records(size_t end)
{
    if (UNLIKELY(span.spare_count < SPARE_RECORDS) && !add_spares())
        return false;
    return end <= span.frontier || prepare_tags(end);
}

static void queue_append(struct run *r)
{
    r->older = span.newest;
    r->newer = NULL;
    *(span.newest != NULL ? &span.newest->newer : &span.oldest) = r;
    span.newest = r;
}

static void queue_remove(struct run *r)
{
    *(r->older != NULL ? &r->older->newer : &span.oldest) = r->newer;
    *(r->newer != NULL ? &r->newer->older : &span.newest) = r->older;
}

static void tag_ends(const struct run *r, uint64_t tag)
{
    tag_set(r->first, tag);
    tag_set(r->first + r->pages - 1, tag);
}

static NOINLINE void file(struct run *r)
{
    tag_ends(r, (uint64_t)(uintptr_t)r | r->kind);
    run_tree_insert(&span.tree[r->kind], r);
    span.pages[r->kind] += r->pages;
}

/* Files r, which no neighbour can merge with. */
static void insert(struct run *r)
{
    file(r);
    if (r->kind == RUN_DIRTY)
        queue_append(r);
    span.runs[r->kind]++;
}

struct run free_run_take(struct run *r)
{
    struct run taken = *r;
    tag_ends(r, 0);
    run_tree_remove(&span.tree[r->kind], r);
    if (r->kind == RUN_DIRTY)
        queue_remove(r);
    span.pages[r->kind] -= r->pages;
    span.runs[r->kind]--;
    spare_push(r);
    return taken;
}

static void queue_insert_behind(struct run *r, struct run *older)
{
    r->older = older;
    r->newer = older->newer;
    *(r->newer != NULL ? &r->newer->older : &span.newest) = r;
    older->newer = r;
}

/* What is left behind the part that was cut out of r. */
static COLD void insert_rest(struct run *r, size_t first, size_t pages)
{
    struct run *rest = spare_pop();
    if (rest == NULL) {
        tag_in_use(first, pages, RUN_HELD);
        return;
    }
    *rest = (struct run){.first = first, .pages = pages, .kind = r->kind, .stamp_ms = r->stamp_ms};
    queue_insert_behind(rest, r);
    file(rest);
    span.runs[r->kind]++;
}

COLD void free_run_cut(struct run *r, size_t first, size_t pages)
{
    size_t end = first + pages;
    size_t run_end = r->first + r->pages;
    tag_ends(r, 0);
    run_tree_remove(&span.tree[r->kind], r);
    span.pages[r->kind] -= r->pages;
    bool has_front = first > r->first;
    r->first = has_front ? r->first : end;
    r->pages = (has_front ? first : run_end) - r->first;
    file(r);
    if (has_front && end < run_end)
        insert_rest(r, end, run_end - end);
}

static void insert_new(size_t first, size_t pages, enum run_kind kind, uint64_t stamp_ms)
{
    struct run *r = spare_pop();
    if (r == NULL) {
        /* No memory for a record, though allocations left some spare: keep the pages out of use, all stays valid. */
        tag_in_use(first, pages, RUN_HELD);
        return;
    }
    *r = (struct run){.first = first, .pages = pages, .kind = kind, .stamp_ms = stamp_ms};
    insert(r);
}

/* The age of the larger part counts: a small fresh piece must not keep a large idle run from being purged, nor an idle
 * crumb make a large warm run look old. */
static void absorb(struct run *into, uint64_t neighbour_tag)
{
    struct run part = free_run_take(tag_run(neighbour_tag));
    if (part.first < into->first)
        into->first = part.first;
    if (part.pages > into->pages)
        into->stamp_ms = part.stamp_ms;
    into->pages += part.pages;
}

void free_run_add(size_t first, size_t pages, enum run_kind kind, uint64_t stamp_ms)
{
    struct run whole = {.first = first, .pages = pages, .kind = kind, .stamp_ms = stamp_ms};
    if (first > 0 && tag_kind(tag_at(first - 1)) == kind)
        absorb(&whole, tag_at(first - 1));
    if (first + pages < span.frontier && tag_kind(tag_at(first + pages)) == kind)
        absorb(&whole, tag_at(first + pages));
    insert_new(whole.first, whole.pages, kind, whole.stamp_ms);
}

static NOINLINE void file_one(void)
{
    struct released_run r = released.runs[released.filed++ % RELEASED_MAX];
    tag_nothing(r.first, r.pages, RUN_RELEASED);
    free_run_add(r.first, r.pages, RUN_DIRTY, r.stamp_ms);
}

void free_run_release(size_t first, size_t pages, uint64_t stamp_ms)
{
    if (released.added - released.filed == RELEASED_MAX)
        file_one();
    tag_in_use(first, pages, RUN_RELEASED);
    released.runs[released.added++ % RELEASED_MAX] = (struct released_run){first, pages, stamp_ms};
}

void free_runs_settle(void)
{
    while (released.filed != released.added)
        file_one();
}

void free_run_carve(struct run *r, size_t first, size_t pages)
{
    struct run whole = free_run_take(r);
    size_t end = first + pages;
    if (first > whole.first)
        insert_new(whole.first, first - whole.first, whole.kind, whole.stamp_ms);
    if (end < whole.first + whole.pages)
        insert_new(end, whole.first + whole.pages - end, whole.kind, whole.stamp_ms);
}

bool map_void(size_t first, size_t pages)
{
    if (!window_map(PAGES_VOID, address_of(first), pages << page_shift))
        return false;
    if (span.no_huge)
        pages_no_huge((void *)address_of(first), pages << page_shift);
    return true;
}

/* The first piece is small; then an eighth of what there is, rounded up to whole huge pages, so that calls stay few and
 * unused pages, which cost addresses and not memory, are few as well. */
static size_t choose_map_step(size_t missing)
{
    size_t step = max_size(pages_for(MIB(1)), span.mapped / 8);
    step = max_size(missing, min_size(step, pages_for(MIB(64))));
    return align_up(span.mapped + step, pages_for(HUGE_BYTES)) - span.mapped;
}

static bool map_to(size_t end)
{
    size_t limit = (window.unit_limit << UNIT_SHIFT) >> page_shift;
    if (end > limit)
        return false;
    if (end <= span.mapped)
        return true;
    size_t missing = end - span.mapped;
    size_t step = min_size(choose_map_step(missing), limit - span.mapped);
    if (!window_map(span.why, address_of(span.mapped), step << page_shift)) {
        step = missing;
        if (!window_map(span.why, address_of(span.mapped), step << page_shift))
            return false;
    }
    if (span.no_huge)
        pages_no_huge((void *)address_of(span.mapped), step << page_shift);
    span.mapped += step;
    return true;
}

static size_t units_below(size_t page)
{
    return ((page << page_shift) + UNIT_BYTES - 1) >> UNIT_SHIFT;
}

/* Moves the frontier to page `next`, from which on `pages` pages are mapped now. What was mapped before it stays, as a
 * free run; what lies between is somebody else's and has no tags. */
static void jump_to(size_t next, size_t pages)
{
    size_t first = span.frontier;
    size_t had = span.mapped;
    span.mapped = next + pages;
    span.skipped += next - had;
    atomic_store_release(&span.frontier, next);
    if (had > first)
        free_run_add(first, had - first, RUN_CLEAN, 0);
}

/* Nothing can be mapped at the frontier: if somebody else's mapping lies there, not memory is out but this place. Looks
 * farther and farther ahead for `pages` pages. In a reservation there is nobody else. */
static bool skip_foreign(size_t pages)
{
    size_t limit = (window.unit_limit << UNIT_SHIFT) >> page_shift;
    for (size_t ahead = MIB(1); !window.reserved && ahead <= MIB(256); ahead *= 4) {
        size_t next = page_aligned(span.mapped + pages_for(ahead), pages_for(UNIT_BYTES));
        size_t end = next + pages;
        if (end > limit || !span_prepare_records(end) ||
            !window_cover(units_below(end), span.no_slab))
            return false;
        if (window_map(span.why, address_of(next), pages << page_shift)) {
            jump_to(next, pages);
            return true;
        }
    }
    return false;
}

static bool take_at_frontier(size_t pages, size_t align_pages, size_t *first)
{
    size_t start = page_aligned(span.frontier, align_pages);
    size_t end = start + pages;
    if (end < start || !span_prepare_records(end) || !map_to(end) ||
        !window_cover(units_below(end), span.no_slab))
        return false;
    size_t gap_first = span.frontier;
    atomic_store_release(&span.frontier, end);
    if (start > gap_first)
        free_run_add(gap_first, start - gap_first, RUN_CLEAN, 0);
    *first = start;
    return true;
}

bool frontier_take(size_t pages, size_t align_pages, size_t *first)
{
    return take_at_frontier(pages, align_pages, first) ||
           (skip_foreign(pages + align_pages - 1) && take_at_frontier(pages, align_pages, first));
}

bool frontier_extend(size_t pages)
{
    size_t first;
    return take_at_frontier(pages, 1, &first);
}
