/* Looking at the runs without changing them: search, counts, walk, check. */
#include "span/span_internal.h"

#include "os/os.h"

static struct span_place place_of(size_t first, size_t pages, enum run_kind kind)
{
    return (struct span_place){
        .kind = kind, .start = address_of(first), .bytes = pages << page_shift};
}

/* The run that begins at `page`; a page without a tag was skipped or never used: up to the next tag. */
static struct span_place run_at(size_t page)
{
    uint64_t tag = tag_at(page);
    enum run_kind kind = tag_shows(tag);
    if (kind_is_free(kind))
        return place_of(page, tag_run(tag)->pages, kind);
    if (kind != RUN_NONE)
        return place_of(page, tag_pages(tag), kind);
    size_t end = page + 1;
    while (end < span.frontier && tag_at(end) == 0)
        end++;
    return place_of(page, end - page, RUN_NONE);
}

static struct span_place find_locked(uintptr_t address)
{
    size_t page = page_of(address);
    if (!window_is_open() || address < window.base || page >= span.frontier)
        return (struct span_place){.kind = RUN_NONE};
    size_t first = page;
    while (first > 0 && tag_at(first) == 0)
        first--;
    uint64_t tag = tag_at(first);
    if (kind_is_free(tag_kind(tag)))
        first = tag_run(tag)->first;
    struct span_place place = run_at(first);
    if (address - place.start >= place.bytes)
        place.kind = RUN_NONE;
    return place;
}

struct span_place span_find(uintptr_t address)
{
    lock_take(&span.lock);
    free_runs_settle();
    struct span_place place = find_locked(address);
    lock_drop(&span.lock);
    return place;
}

size_t span_dirty_bytes(void)
{
    size_t pages = atomic_load_relaxed(&span.pages[RUN_DIRTY]) +
                   atomic_load_relaxed(&span.pages[RUN_RELEASED]);
    return pages << page_shift;
}

void span_count(struct span_counts *counts)
{
    lock_take(&span.lock);
    free_runs_settle();
    for (int k = 0; k < RUN_KIND_COUNT; k++) {
        counts->pages[k] = span.pages[k];
        counts->runs[k] = span.runs[k];
    }
    counts->frontier_bytes = span.frontier << page_shift;
    counts->mapped_bytes = (span.mapped - span.skipped) << page_shift;
    lock_drop(&span.lock);
}

void span_walk(bool (*visit)(const struct span_place *place, void *arg), void *arg)
{
    lock_take(&span.lock);
    free_runs_settle();
    for (size_t page = 0; page < span.frontier;) {
        struct span_place place = run_at(page);
        if (!visit(&place, arg))
            break;
        page += place.bytes >> page_shift;
    }
    lock_drop(&span.lock);
}

static bool is_filed(const struct run *r)
{
    const struct run *found = run_tree_best_fit(span.tree[r->kind], r->pages);
    while (found != NULL && found != r && found->pages == r->pages)
        found = run_tree_next(span.tree[r->kind], found);
    return found == r;
}

static int check_free_run(const struct run *r, size_t page, enum run_kind kind,
                          enum run_kind before)
{
    if (r->first != page || r->kind != kind || r->pages == 0 ||
        tag_at(page + r->pages - 1) != tag_at(page))
        return 1;
    if (before == kind)
        return 2;
    return is_filed(r) ? 0 : 3;
}

static int check_runs(size_t *pages, size_t *runs)
{
    enum run_kind before = RUN_NONE;
    for (size_t page = 0; page < span.frontier;) {
        struct span_place place = run_at(page);
        if (kind_is_free(place.kind)) {
            int broken = check_free_run(tag_run(tag_at(page)), page, place.kind, before);
            if (broken != 0)
                return broken;
        }
        enum run_kind kind = tag_kind(tag_at(page)); /* kept runs count as large */
        pages[kind] += place.bytes >> page_shift;
        runs[kind]++;
        before = place.kind;
        page += place.bytes >> page_shift;
        if (page > span.frontier)
            return 1;
    }
    return 0;
}

static size_t count_tree(const struct run *t)
{
    return t == NULL ? 0 : 1 + count_tree(t->left) + count_tree(t->right);
}

static int check_released(size_t count)
{
    if (released.added - released.filed != count || count > RELEASED_MAX)
        return 6;
    for (size_t k = released.filed; k != released.added; k++) {
        const struct released_run *r = &released.runs[k % RELEASED_MAX];
        uint64_t tag = tag_at(r->first);
        if (tag_kind(tag) != RUN_RELEASED || tag_pages(tag) != r->pages)
            return 6;
    }
    return 0;
}

static COLD int check_locked(void)
{
    size_t pages[RUN_KIND_COUNT] = {0};
    size_t runs[RUN_KIND_COUNT] = {0};
    int broken = check_runs(pages, runs);
    if (broken != 0)
        return broken;
    size_t queued = 0;
    for (const struct run *r = span.oldest; r != NULL; r = r->newer)
        queued++;
    if (queued != runs[RUN_DIRTY])
        return 3;
    for (int k = RUN_DIRTY; k < RUN_KIND_COUNT; k++) {
        if (count_tree(span.tree[k]) != runs[k])
            return 3;
        if (run_tree_check(span.tree[k]) != 0)
            return 5;
    }
    runs[RUN_LARGE] -= (size_t)kept_more_runs();
    for (int k = RUN_SLAB; k < RUN_KIND_COUNT; k++) {
        if (pages[k] != span.pages[k] || runs[k] != span.runs[k])
            return 4;
    }
    return check_released(runs[RUN_RELEASED]);
}

int span_check(void)
{
    kept_lock_all();
    lock_take(&span.lock);
    int broken = check_locked();
    lock_drop(&span.lock);
    kept_unlock_all();
    return broken;
}
