#include "inspect/leak_sites.h"

#include "base/bits.h"
#include "callers/places.h"
#include "callers/sites.h"

bool leak_sites_begin(struct leak_sites *s, size_t n_blocks)
{
    *s = (struct leak_sites){.places = 64};
    while (s->places < 2 * n_blocks)
        s->places *= 2;
    size_t bytes = align_up(s->places * sizeof *s->sites, os->page_bytes());
    s->sites = pages_map(PAGES_LOOK, NULL, bytes, OS_MAP_ANYWHERE);
    s->table = (struct os_range){s->sites, bytes};
    return s->sites != NULL;
}

static bool is_same(const struct leak_site *a, const struct leak_site *b)
{
    return a->site == b->site && a->owner == b->owner && a->kind == b->kind;
}

void leak_sites_add(struct leak_sites *s, const struct leak_site *one)
{
    if (s->sites == NULL)
        return;
    size_t i = (one->site * 0x9e3779b97f4a7c15U ^ one->owner * 0xbf58476d1ce4e5b9U) >> 20;
    for (i &= s->places - 1; s->sites[i].blocks != 0 && !is_same(&s->sites[i], one);)
        i = (i + 1) & (s->places - 1);
    size_t blocks = s->sites[i].blocks + one->blocks;
    size_t bytes = s->sites[i].bytes + one->bytes;
    s->count += s->sites[i].blocks == 0;
    s->sites[i] = *one;
    s->sites[i].blocks = blocks;
    s->sites[i].bytes = bytes;
}

static bool comes_before(const struct leak_site *a, const struct leak_site *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind;
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->site < b->site;
}

/* Heap sort (Williams, 1964): in place, without allocating. The last one is on top. */
static void sift(struct leak_site *sites, size_t top, size_t n)
{
    struct leak_site moving = sites[top];
    for (size_t child; (child = 2 * top + 1) < n; top = child) {
        if (child + 1 < n && comes_before(&sites[child], &sites[child + 1]))
            child++;
        if (!comes_before(&moving, &sites[child]))
            break;
        sites[top] = sites[child];
    }
    sites[top] = moving;
}

void leak_sites_sort(struct leak_sites *s)
{
    size_t n = 0;
    for (size_t i = 0; s->sites != NULL && i < s->places; i++) {
        if (s->sites[i].blocks != 0)
            s->sites[n++] = s->sites[i];
    }
    for (size_t i = n / 2; i-- > 0;)
        sift(s->sites, i, n);
    for (size_t end = n; end-- > 1;) {
        struct leak_site last = s->sites[0];
        s->sites[0] = s->sites[end];
        s->sites[end] = last;
        sift(s->sites, 0, end);
    }
}

static void add_callers(struct writer *w, uint32_t site)
{
    const uintptr_t *callers;
    unsigned n = site_callers(site, &callers);
    for (unsigned i = 0; i < n; i++) {
        struct text t;
        text_clear(&t);
        place_add(&t, callers[i]);
        writer_add(w, "      #");
        writer_add_unsigned(w, i);
        writer_add(w, " ");
        writer_add_bytes(w, t.chars, t.used);
        writer_add(w, "\n");
    }
    if (n == 0)
        writer_add(w, "      (not recorded)\n");
}

void leak_sites_print(const struct leak_sites *s, struct writer *w, size_t most)
{
    size_t lost = 0;
    while (lost < s->count && s->sites[lost].kind != LEAK_REACHABLE)
        lost++;
    for (size_t i = 0; i < lost && i < most; i++) {
        writer_add(w, "    ");
        writer_add_unsigned(w, s->sites[i].bytes);
        writer_add(w, " bytes in ");
        writer_add_unsigned(w, s->sites[i].blocks);
        writer_add(w, s->sites[i].kind == LEAK_LOST ? " blocks lost, from\n"
                                                    : " blocks below lost ones, from\n");
        add_callers(w, s->sites[i].site);
    }
    if (lost > most) {
        writer_add(w, "    and ");
        writer_add_unsigned(w, lost - most);
        writer_add(w, " more call sites: `ration leaks -- PROGRAM` lists all\n");
    }
}

static void tell_callers(struct writer *w, uint32_t site)
{
    const uintptr_t *callers;
    unsigned n = site_callers(site, &callers);
    writer_add(w, "callers ");
    writer_add_unsigned(w, site);
    writer_add(w, " ");
    writer_add_unsigned(w, n);
    writer_add(w, "\n");
    for (unsigned i = 0; i < n; i++) {
        struct place place = place_of(callers[i]);
        writer_add(w, "at ");
        writer_add_unsigned(w, place.offset);
        writer_add(w, " ");
        writer_add(w, place.module != NULL ? place.module : "?");
        writer_add(w, "\n");
    }
}

void leak_sites_tell(const struct leak_sites *s, struct writer *w)
{
    static const char *const kinds[] = {"lost", "below", "reachable"};
    for (size_t i = 0; i < s->count; i++) {
        const struct leak_site *one = &s->sites[i];
        writer_add(w, "site ");
        writer_add_unsigned(w, one->site);
        writer_add(w, " ");
        writer_add(w, kinds[one->kind]);
        writer_add(w, " ");
        writer_add_unsigned(w, one->blocks);
        writer_add(w, " ");
        writer_add_unsigned(w, one->bytes);
        writer_add(w, " ");
        writer_add_unsigned(w, one->owner);
        writer_add(w, "\n");
    }
    for (size_t i = 0; i < s->count; i++)
        tell_callers(w, s->sites[i].site);
}

void leak_sites_end(struct leak_sites *s)
{
    if (s->sites != NULL)
        pages_unmap(PAGES_LOOK, s->table.start, s->table.bytes);
    *s = (struct leak_sites){.sites = NULL};
}
