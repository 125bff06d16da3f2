#include "inspect/view.h"

#include "inspect/proc.h"
#include "span/span_internal.h"

#include <string.h>

/* Records change while they are copied: whole words, so that none is torn. */
static void copy_words(void *to, const void *from, size_t bytes)
{
    uint64_t *t = to;
    const uint64_t *f = from;
    for (size_t i = 0; i < bytes / sizeof *t; i++)
        t[i] = atomic_load_relaxed(&f[i]);
}

bool view_read(const struct view *v, void *to, const void *from, size_t bytes)
{
    if (v->pid != 0)
        return proc_read_memory(v->pid, to, (uintptr_t)from, bytes);
    if (bytes % sizeof(uint64_t) == 0 && (uintptr_t)from % sizeof(uint64_t) == 0)
        copy_words(to, from, bytes);
    else
        memcpy(to, from, bytes);
    return true;
}

bool view_resident(const struct view *v, uintptr_t start, size_t pages, unsigned char *present)
{
    if (v->pagemap_fd >= 0 &&
        proc_scan_resident(v->pagemap_fd, start, pages, v->page_shift, present))
        return true;
    return v->pid == 0 ? proc_own_resident(start, pages, v->page_shift, present)
                       : proc_other_resident(v->pagemap_fd, start, pages, v->page_shift, present);
}

/* Reads the variable of that process that is `variable` here. */
static bool read_variable(const struct view *v, void *to, const void *variable, size_t bytes)
{
    return view_read(v, to, (const char *)variable + v->shift, bytes);
}

static bool read_roots(struct view *v)
{
    struct window w;
    bool ok =
        read_variable(v, &v->page_shift, &page_shift, sizeof v->page_shift) &&
        read_variable(v, &w, &window, sizeof w) &&
        read_variable(v, &v->frontier_pages, &span.frontier, sizeof v->frontier_pages) &&
        read_variable(v, &v->mapped_pages, &span.mapped, sizeof v->mapped_pages) &&
        read_variable(v, (void *)&v->caches, (const void *)&all_caches.first, sizeof v->caches);
    const struct pages_account *account;
    ok = ok && read_variable(v, (void *)&account, (const void *)&pages_account, sizeof account) &&
         view_read(v, &v->account, account, sizeof v->account) &&
         read_variable(v, v->slab_records_made, slab_records_made, sizeof v->slab_records_made);
    if (!ok)
        return false;
    v->base = w.base != WINDOW_CLOSED ? w.base : 0;
    v->unit_count = w.unit_count;
    v->map = w.map;
    return true;
}

/* Numbers from another process are not trusted: they bound loops here. */
static bool makes_sense(const struct view *v)
{
    if (v->base == 0)
        return v->frontier_pages == 0;
    return v->page_shift >= 12 && v->page_shift <= 16 && v->base % UNIT_BYTES == 0 &&
           v->frontier_pages <= (size_t)CHUNK_PAGES * CHUNK_COUNT &&
           v->mapped_pages >= v->frontier_pages &&
           v->mapped_pages <= (size_t)CHUNK_PAGES * CHUNK_COUNT;
}

enum view_status view_open(struct view *v, int pid)
{
    memset(v, 0, sizeof *v);
    v->pid = pid;
    v->pagemap_fd = -1;
    enum view_status status = VIEW_OK;
    if (pid != 0)
        status = proc_find_library(pid, &v->shift);
    if (status == VIEW_OK && !read_roots(v))
        status = VIEW_DENIED;
    if (status == VIEW_OK && !makes_sense(v))
        status = VIEW_UNREADABLE;
    if (status == VIEW_OK && pid != 0)
        v->pagemap_fd = proc_open(pid, "pagemap");
    return status;
}

void view_close(struct view *v)
{
    if (v->pagemap_fd >= 0)
        proc_close(v->pagemap_fd);
}

void view_begin(struct view_cursor *c, const struct view *v, size_t page)
{
    c->v = v;
    c->page = page;
    c->tags_first = SIZE_MAX;
}

static uint64_t read_tag(struct view_cursor *c, size_t page)
{
    size_t first = page - page % TAGS_AT_ONCE;
    if (first != c->tags_first) {
        uint64_t *chunk = NULL;
        c->tags_first = first;
        if (!read_variable(c->v, (void *)&chunk, (const void *)tag_chunk(first / CHUNK_PAGES),
                           sizeof chunk) ||
            chunk == NULL || !view_read(c->v, c->tags, chunk + first % CHUNK_PAGES, sizeof c->tags))
            memset(c->tags, 0, sizeof c->tags);
    }
    return c->tags[page - first];
}

/* Pages from `page` on that have no tag. */
static size_t count_untagged(struct view_cursor *c, size_t page)
{
    size_t end = page + 1;
    while (end < c->v->frontier_pages && read_tag(c, end) == 0)
        end++;
    return end - page;
}

/* A record may be taken for another run while it is read: the length of one would go with the start of the other, and
 * blocks be passed over. So it must read the same twice, with its tag in place in between. */
static size_t free_pages(struct view_cursor *c, uint64_t tag, size_t page)
{
    struct run r;
    struct run again;
    if (!view_read(c->v, &r, tag_run(tag), sizeof r) || r.first != page)
        return 0;
    c->tags_first = SIZE_MAX; /* not as it was, as it is */
    bool fits = read_tag(c, page) == tag && view_read(c->v, &again, tag_run(tag), sizeof again) &&
                again.first == r.first && again.pages == r.pages;
    return fits ? r.pages : 0;
}

bool view_next(struct view_cursor *c, struct view_run *run)
{
    if (c->page >= c->v->frontier_pages)
        return false;
    uint64_t tag = read_tag(c, c->page);
    enum run_kind kind = tag_shows(tag);
    size_t pages = 0;
    if (kind < RUN_KIND_COUNT && kind_is_free(kind))
        pages = free_pages(c, tag, c->page);
    else if (kind != RUN_NONE && kind < RUN_KIND_COUNT)
        pages = tag_pages(tag);
    if (pages == 0) { /* none, or changed while it was read: on to what has a tag */
        kind = RUN_NONE;
        pages = count_untagged(c, c->page);
    }
    *run = (struct view_run){
        .kind = kind,
        .first = c->page,
        .pages = min_size(pages, c->v->frontier_pages - c->page),
    };
    c->page += run->pages;
    return true;
}

bool view_slab(const struct view *v, size_t page, union slab_copy *copy)
{
    uintptr_t base = view_address(v, page);
    size_t unit = (base - v->base) >> UNIT_SHIFT;
    struct slab *s = NULL;
    if (unit >= v->unit_count ||
        !view_read(v, (void *)&s, (const void *)(v->map + unit), sizeof s) || s == NULL ||
        !view_read(v, copy, s, sizeof copy->slab))
        return false;
    const struct slab *head = &copy->slab;
    if (head->base != base || head->class_index >= CLASS_COUNT ||
        head->slots != size_classes[head->class_index].slots)
        return false;
    return view_read(v, copy->bytes + sizeof copy->slab,
                     (const unsigned char *)s + sizeof copy->slab, padded_slots(head));
}

/* Of one cache: the bin that leases the slab of class k at `base`. */
static bool find_bin_of(const struct view *v, const struct cache *cache, unsigned k, uintptr_t base,
                        struct bin *bin)
{
    for (unsigned c = k; class_may_hold(k, c); c--) {
        if (view_read(v, bin, &cache->bins[c], sizeof *bin) && bin->mask != 0 &&
            bin->base - base < (size_t)class_units(k) * UNIT_BYTES)
            return true;
        if (c == 0)
            break;
    }
    return false;
}

static bool find_bin(const struct view *v, unsigned k, uintptr_t base, struct bin *bin)
{
    enum { MOST_CACHES = 1 << 20 }; /* a list of another process may have no end */
    struct cache *cache = v->caches;
    for (int i = 0; cache != NULL && i < MOST_CACHES; i++) {
        if (find_bin_of(v, cache, k, base, bin))
            return true;
        struct cache *next = NULL;
        if (!view_read(v, (void *)&next, (const void *)&cache->next, sizeof next))
            return false;
        cache = next;
    }
    return false;
}

uint64_t view_mask(const struct view *v, const struct slab *copy, unsigned *group)
{
    struct bin bin;
    if (copy->place != SLAB_LEASED || !find_bin(v, copy->class_index, copy->base, &bin) ||
        bin.group * GROUP_SLOTS >= copy->slots)
        return 0;
    *group = bin.group;
    return bin.mask & zero_bytes(copy->states + (size_t)bin.group * GROUP_SLOTS, GROUP_SLOTS);
}
