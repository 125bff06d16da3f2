/* span/span: random operations against a list of live runs, the policy of the header, contents, zero knowledge; each
 * function's refusals. */
#include "area/records.h"
#include "base/bits.h"
#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { LIVE_MAX = 96 };

static struct slab *const no_slab_here = (struct slab *)64;

struct live {
    unsigned char *start;
    size_t bytes; /* of the run */
    enum run_kind kind;
    unsigned char mark; /* at the start and the end of each page */
};

static struct live lives[LIVE_MAX];
static size_t live_count;

static void open_span(void)
{
    fake_os_install();
    REQUIRE(span_open(no_slab_here));
    live_count = 0;
}

static size_t page(void)
{
    return (size_t)1 << page_shift;
}

static void mark_pages(const struct live *l)
{
    for (size_t at = 0; at < l->bytes; at += page()) {
        l->start[at] = l->mark;
        l->start[at + page() - 1] = l->mark;
    }
}

static void check_pages(const struct live *l, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += page())
        REQUIRE(l->start[at] == l->mark && l->start[at + page() - 1] == l->mark);
}

static void require_zero(const unsigned char *start, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        REQUIRE(start[at] == 0);
    REQUIRE(start[bytes - 1] == 0);
}

static bool overlaps(const struct live *l, const unsigned char *start, size_t bytes)
{
    return start < l->start + l->bytes && l->start < start + bytes;
}

struct best {
    size_t pages;
    size_t bytes[RUN_KIND_COUNT]; /* of the best fit of each kind; 0: none */
    uintptr_t start[RUN_KIND_COUNT];
};

static bool note_best(const struct span_place *p, void *arg)
{
    struct best *b = arg;
    bool fits = kind_is_free(p->kind) && p->bytes >= b->pages * page();
    if (fits && (b->bytes[p->kind] == 0 || p->bytes < b->bytes[p->kind])) {
        b->bytes[p->kind] = p->bytes;
        b->start[p->kind] = p->start;
    }
    return true;
}

/* What the header promises for a request without alignment: best fit among dirty, clean, void runs, else fresh. */
static uintptr_t expected_place(size_t bytes, uintptr_t frontier)
{
    struct best b = {.pages = pages_for(bytes)};
    span_walk(note_best, &b);
    static const enum run_kind order[] = {RUN_DIRTY, RUN_CLEAN, RUN_VOID};
    for (int i = 0; i < 3; i++) {
        if (b.bytes[order[i]] != 0)
            return b.start[order[i]];
    }
    return frontier;
}

static void check_all(void)
{
    REQUIRE(span_check() == 0);
    struct span_counts c;
    span_count(&c);
    size_t in_use[RUN_KIND_COUNT] = {0};
    for (size_t i = 0; i < live_count; i++)
        in_use[lives[i].kind] += lives[i].bytes;
    REQUIRE(c.pages[RUN_SLAB] << page_shift == in_use[RUN_SLAB]);
    REQUIRE(c.pages[RUN_LARGE] << page_shift == in_use[RUN_LARGE]);
    REQUIRE(c.pages[RUN_HELD] == 0);
    size_t all = 0;
    for (int k = 0; k < RUN_KIND_COUNT; k++)
        all += c.pages[k];
    REQUIRE(all << page_shift == c.frontier_bytes);
    REQUIRE(c.frontier_bytes <= c.mapped_bytes);
    REQUIRE(span_dirty_bytes() == c.pages[RUN_DIRTY] << page_shift);
}

static void step_alloc(struct chance *chance)
{
    size_t bytes =
        1 + chance_below(chance, chance_below(chance, 8) == 0 ? 600 * page() : 20 * page());
    size_t align = chance_below(chance, 3) == 0 ? page() << chance_below(chance, 7) : 1;
    enum run_kind kind = chance_below(chance, 2) == 0 ? RUN_SLAB : RUN_LARGE;
    struct span_counts c;
    span_count(&c);
    uintptr_t expected = expected_place(bytes, window.base + c.frontier_bytes);
    bool is_zero;
    unsigned char *start = span_alloc(bytes, align, kind, &is_zero);
    REQUIRE(start != NULL && (uintptr_t)start % align == 0 && (uintptr_t)start % page() == 0);
    if (align <= page())
        REQUIRE((uintptr_t)start == expected);
    struct live l = {start, align_up(bytes, page()), kind,
                     (unsigned char)(1 + chance_below(chance, 255))};
    for (size_t i = 0; i < live_count; i++)
        REQUIRE(!overlaps(&lives[i], start, l.bytes));
    if (is_zero)
        require_zero(start, l.bytes);
    mark_pages(&l);
    lives[live_count++] = l;
}

static struct live *pick_large(struct chance *chance)
{
    struct live *l = &lives[chance_below(chance, live_count)];
    return l->kind == RUN_LARGE ? l : NULL;
}

static void forget(struct live *l)
{
    *l = lives[--live_count];
}

static void step_free(struct chance *chance)
{
    struct live *l = &lives[chance_below(chance, live_count)];
    check_pages(l, l->bytes);
    enum run_kind other = l->kind == RUN_LARGE ? RUN_SLAB : RUN_LARGE;
    uintptr_t start = (uintptr_t)l->start;
    REQUIRE(span_release(start + 1, l->kind) == 0);
    REQUIRE(span_release(start, other) == 0);
    REQUIRE(span_release(start, l->kind) == l->bytes);
    REQUIRE(span_release(start, l->kind) == 0);
    forget(l);
}

static void step_extend(struct chance *chance)
{
    struct live *l = pick_large(chance);
    if (l == NULL)
        return;
    size_t more = 1 + chance_below(chance, 30 * page());
    if (span_extend(l->start, l->bytes + more)) {
        check_pages(l, l->bytes);
        l->bytes = align_up(l->bytes + more, page());
        mark_pages(l);
    }
}

static void step_trim(struct chance *chance)
{
    struct live *l = pick_large(chance);
    if (l == NULL)
        return;
    size_t bytes = 1 + chance_below(chance, l->bytes);
    span_trim(l->start, bytes);
    l->bytes = align_up(bytes, page());
}

static void step_purge(struct chance *chance)
{
    size_t age_ms = chance_below(chance, 3) * 300;
    size_t max_pages = 1 + chance_below(chance, 500);
    size_t enough_pages = 1 + chance_below(chance, max_pages);
    REQUIRE(span_purge(fake.now_ms, age_ms, enough_pages, max_pages) <= max_pages);
}

static void step_move(struct chance *chance)
{
    struct live *l = pick_large(chance);
    if (l == NULL)
        return;
    size_t bytes = l->bytes + chance_below(chance, 40 * page());
    unsigned char *to = span_move(l->start, bytes, 1);
    if (to == NULL) {
        check_pages(l, l->bytes);
        return;
    }
    l->start = to;
    check_pages(l, l->bytes);
    l->bytes = align_up(bytes, page());
    mark_pages(l);
}

static void random_steps(void *arg)
{
    struct chance chance = {chance_seed() + *(const unsigned *)arg};
    for (int step = 0; step < 4000; step++) {
        size_t what = chance_below(&chance, 16);
        fake.now_ms += chance_below(&chance, 50);
        if (live_count == 0 || (what < 5 && live_count < LIVE_MAX))
            step_alloc(&chance);
        else if (what < 9)
            step_free(&chance);
        else if (what < 11)
            step_extend(&chance);
        else if (what < 13)
            step_trim(&chance);
        else if (what < 14)
            step_move(&chance);
        else if (what == 14)
            step_purge(&chance);
        check_all();
    }
    while (live_count > 0)
        step_free(&chance);
    check_all();
}

static void random_in_open_window(void *arg)
{
    open_span();
    random_steps(arg);
}

static void random_in_reserved_window(void *arg)
{
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    REQUIRE(span_open(no_slab_here) && window.reserved);
    random_steps(arg);
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        require_in_child(random_in_open_window, &i);
}

static void test_random_reserved(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        require_in_child(random_in_reserved_window, &i);
}

static void random_with_other_pages(void *arg)
{
    fake_os_install();
    fake.page_bytes = *(const size_t *)arg;
    REQUIRE(span_open(no_slab_here) && (size_t)1 << page_shift == fake.page_bytes);
    unsigned seed = 7;
    random_steps(&seed);
}

static void test_random_other_pages(void **state)
{
    (void)state;
    for (size_t bytes = KIB(16); bytes <= KIB(64); bytes *= 4)
        require_in_child(random_with_other_pages, &bytes);
}

/* Freed runs that have no free neighbour need a record each; not one page may get lost for want of one. */
static void free_every_other(void *arg)
{
    (void)arg;
    enum { N = 1000 };
    static void *some[N];
    open_span();
    bool is_zero;
    for (int i = 0; i < N; i++)
        some[i] = span_alloc(page(), 1, RUN_LARGE, &is_zero);
    for (int i = 0; i < N; i += 2)
        REQUIRE(span_release((uintptr_t)some[i], RUN_LARGE) == page());
    struct span_counts c;
    span_count(&c);
    REQUIRE(c.runs[RUN_DIRTY] == N / 2 && c.pages[RUN_HELD] == 0);
    REQUIRE(span_check() == 0);
}

static void test_no_page_is_lost_for_want_of_records(void **state)
{
    (void)state;
    require_in_child(free_every_other, NULL);
}

/* With no memory for records at all, freed pages may be kept out of use, but nothing breaks. */
static void free_without_records(void *arg)
{
    (void)arg;
    enum { N = 4000 };
    static void *some[N];
    open_span();
    bool is_zero;
    for (int i = 0; i < N; i++)
        some[i] = span_alloc(page(), 1, RUN_LARGE, &is_zero);
    while (records_take(4096) != NULL)
        fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    for (int i = 0; i < N; i += 2)
        REQUIRE(span_release((uintptr_t)some[i], RUN_LARGE) == page());
    REQUIRE(span_check() == 0);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    for (int i = 1; i < N; i += 2)
        REQUIRE(span_release((uintptr_t)some[i], RUN_LARGE) == page());
    REQUIRE(span_check() == 0);
}

static void test_free_never_breaks_without_records(void **state)
{
    (void)state;
    require_in_child(free_without_records, NULL);
}

static void align_widely(void *arg)
{
    const size_t *limit = arg;
    bool is_zero;
    for (size_t align = KIB(4); align <= *limit; align *= 2) {
        void *p = span_alloc(page(), align, RUN_LARGE, &is_zero);
        if (p == NULL)
            continue; /* refused is right, misaligned is not */
        REQUIRE((uintptr_t)p % align == 0);
        REQUIRE(span_release((uintptr_t)p, RUN_LARGE) == page());
        REQUIRE(span_check() == 0);
    }
}

static void align_in_open_window(void *arg)
{
    open_span();
    align_widely(arg);
}

static void align_in_reserved_window(void *arg)
{
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    REQUIRE(span_open(no_slab_here));
    align_widely(arg);
}

static void test_alignment(void **state)
{
    (void)state;
    size_t limit = GIB(1);
    require_in_child(align_in_open_window, &limit);
}

/* The window's place is chance: several tries, so that none of them hides the fault. */
static void test_alignment_beyond_1_gib(void **state)
{
    (void)state;
    size_t limit = GIB(256);
    for (int i = 0; i < 8; i++)
        require_in_child(align_in_open_window, &limit);
}

static void test_alignment_in_reserved_window(void **state)
{
    (void)state;
    size_t limit = GIB(1);
    for (int i = 0; i < 4; i++)
        require_in_child(align_in_reserved_window, &limit);
}

/* A range of the window where somebody else mapped something is left out; what lies behind it is used. */
static void meet_foreign_mapping(void *arg)
{
    (void)arg;
    open_span();
    fake.taken = (struct os_range){(void *)(window.base + MIB(4)), MIB(1)};
    bool is_zero;
    for (int i = 0; i < 64; i++) {
        void *p = span_alloc(KIB(256), 1, RUN_LARGE, &is_zero);
        REQUIRE(p != NULL);
        memset(p, 1, KIB(256));
        REQUIRE(span_check() == 0);
    }
}

/* A block that ends where the foreign mapping begins cannot be extended over it; one that is moved lands behind it. */
static void extend_into_foreign_mapping(void *arg)
{
    (void)arg;
    open_span();
    fake.taken = (struct os_range){(void *)(window.base + MIB(1)), MIB(1)};
    bool is_zero;
    char *p = span_alloc(MIB(1), 1, RUN_LARGE, &is_zero);
    REQUIRE(p == (char *)window.base);
    memset(p, 5, MIB(1));
    REQUIRE(!span_extend(p, MIB(1) + page()) &&
            span_in_use_bytes((uintptr_t)p, RUN_LARGE) == MIB(1));
    REQUIRE(span_check() == 0);
    char *q = span_move(p, MIB(2), 1);
    REQUIRE(q >= (char *)window.base + MIB(2) && q[0] == 5 && q[MIB(1) - 1] == 5);
    memset(q, 6, MIB(2));
    REQUIRE(span_check() == 0);
    struct span_counts counts;
    span_count(&counts);
    REQUIRE(counts.mapped_bytes < MIB(16));
}

static void test_foreign_mapping_is_skipped(void **state)
{
    (void)state;
    require_in_child(meet_foreign_mapping, NULL);
    require_in_child(extend_into_foreign_mapping, NULL);
}

/* Whatever a refused move did to its destination, the pages are usable when they are handed out next. */
static void refuse_a_move(void *arg)
{
    fake.move_unmaps_first = *(const bool *)arg;
    bool unmaps = fake.move_unmaps_first;
    open_span();
    fake.move_unmaps_first = unmaps;
    bool is_zero;
    unsigned char *p = span_alloc(KIB(256), 1, RUN_LARGE, &is_zero);
    void *behind = span_alloc(page(), 1, RUN_LARGE, &is_zero);
    memset(p, 7, KIB(256));
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MOVE);
    REQUIRE(span_move(p, KIB(512), 1) == NULL);
    for (size_t i = 0; i < KIB(256); i++)
        REQUIRE(p[i] == 7);
    REQUIRE(span_check() == 0);
    for (int i = 0; i < 8; i++) {
        unsigned char *q = span_alloc(KIB(256), 1, RUN_LARGE, &is_zero);
        REQUIRE(q != NULL);
        if (is_zero)
            require_zero(q, KIB(256));
        memset(q, 1, KIB(256));
    }
    REQUIRE(span_release((uintptr_t)p, RUN_LARGE) == KIB(256));
    REQUIRE(span_release((uintptr_t)behind, RUN_LARGE) == page());
    REQUIRE(span_check() == 0);
}

static void test_refused_move(void **state)
{
    (void)state;
    bool unmaps_first = false;
    require_in_child(refuse_a_move, &unmaps_first);
}

static void test_refused_move_of_an_older_kernel(void **state)
{
    (void)state;
    bool unmaps_first = true;
    require_in_child(refuse_a_move, &unmaps_first);
}

/* In a reserved window every address stays ours: a hole would be given to the next mmap of the program, and mapped over
 * by us later. */
static void move_in_reservation(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse_maps = 1U << OS_MAP_EXACT;
    REQUIRE(span_open(no_slab_here));
    bool is_zero;
    unsigned char *p = span_alloc(MIB(1), 1, RUN_LARGE, &is_zero);
    REQUIRE(p != NULL);
    span_move(p, MIB(2), 1);
    void *got =
        mmap(p, MIB(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    REQUIRE(got == MAP_FAILED);
}

static void test_move_keeps_the_reservation(void **state)
{
    (void)state;
    require_in_child(move_in_reservation, NULL);
}

static void purge_by_age(void *arg)
{
    (void)arg;
    open_span();
    bool is_zero;
    unsigned char *old = span_alloc(4 * page(), 1, RUN_LARGE, &is_zero);
    span_alloc(page(), 1, RUN_LARGE, &is_zero);
    unsigned char *young = span_alloc(4 * page(), 1, RUN_LARGE, &is_zero);
    span_alloc(page(), 1, RUN_LARGE, &is_zero);
    memset(old, 1, 4 * page());
    memset(young, 1, 4 * page());
    span_release((uintptr_t)old, RUN_LARGE);
    fake.now_ms += 100;
    span_trim(young, page());
    fake_os_clear();
    REQUIRE(span_purge(fake.now_ms, 101, 1000, 1000) == 0 && fake.purged_count == 0);
    REQUIRE(span_purge(fake.now_ms, 100, 1000, 1000) == 4 && fake.purged_count == 1);
    REQUIRE(fake.purged[0].start == old && fake.purged[0].bytes == 4 * page());
    require_zero(old, 4 * page());
    REQUIRE(young[0] == 1 && young[page()] == 1);
    REQUIRE(span_check() == 0);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_PURGE);
    fake.now_ms += 1000;
    REQUIRE(span_purge(fake.now_ms, 100, 1000, 1000) == 0);
    REQUIRE(span_dirty_bytes() == 3 * page() && span_check() == 0);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_PURGE);
    REQUIRE(span_purge(fake.now_ms, 100, 1000, 1000) == 0); /* it starts to age anew */
    REQUIRE(span_purge(fake.now_ms + 100, 100, 1000, 1000) == 3);
    REQUIRE(span_dirty_bytes() == 0 && span_check() == 0);
}

static void test_purge_by_age(void **state)
{
    (void)state;
    require_in_child(purge_by_age, NULL);
}

static void purge_long_run(void *arg)
{
    (void)arg;
    open_span();
    bool is_zero;
    unsigned char *p = span_alloc(MIB(9), 1, RUN_LARGE, &is_zero);
    memset(p, 1, MIB(9));
    REQUIRE(span_release((uintptr_t)p, RUN_LARGE) == MIB(9));
    fake_os_clear();
    REQUIRE(span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX) == MIB(9) >> page_shift);
    REQUIRE(fake_os_calls(ENTRY_PAGES_UNMAP) == 1 && fake.purged_count == 0);
    struct span_counts c;
    span_count(&c);
    REQUIRE(c.pages[RUN_VOID] == MIB(9) >> page_shift && span_check() == 0);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(span_alloc(MIB(9), 1, RUN_LARGE, &is_zero) == NULL && span_check() == 0);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(span_alloc(MIB(9), 1, RUN_LARGE, &is_zero) == p && is_zero);
    require_zero(p, MIB(9));
    REQUIRE(span_release((uintptr_t)p, RUN_LARGE) == MIB(9));
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_UNMAP);
    REQUIRE(span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX) == MIB(9) >> page_shift);
    REQUIRE(fake.purged_count == 1 && span_check() == 0);
}

/* A heap that shrank grows again: one system call for each 2 MiB, or for each slab where that is refused. */
static void take_void_by_slabs(void *arg)
{
    (void)arg;
    open_span();
    bool is_zero;
    unsigned char *p = span_alloc(MIB(16), MIB(2), RUN_LARGE, &is_zero);
    REQUIRE(span_alloc(page(), 1, RUN_LARGE, &is_zero) != NULL); /* keeps it from the frontier */
    memset(p, 1, MIB(16));
    span_release((uintptr_t)p, RUN_LARGE);
    REQUIRE(span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX) == MIB(16) >> page_shift);
    fake_os_clear();
    for (size_t at = 0; at < MIB(8); at += KIB(64)) {
        unsigned char *slab = span_alloc(KIB(64), KIB(64), RUN_SLAB, &is_zero);
        REQUIRE(slab == p + at && is_zero);
        require_zero(slab, KIB(64));
    }
    REQUIRE(fake_os_calls(ENTRY_PAGES_MAP) == 4 && span_check() == 0);
    fake_os_fail(ENTRY_BIT(ENTRY_PAGES_MAP), 1,
                 false); /* the piece; the slab alone is mapped then */
    REQUIRE(span_alloc(KIB(64), KIB(64), RUN_SLAB, &is_zero) == p + MIB(8));
    REQUIRE(fake_os_calls(ENTRY_PAGES_MAP) == 6 && span_check() == 0);
    struct span_counts c;
    span_count(&c);
    REQUIRE(c.pages[RUN_VOID] == (MIB(8) - KIB(64)) >> page_shift);
}

static void test_void_runs_come_back_by_pieces(void **state)
{
    (void)state;
    require_in_child(take_void_by_slabs, NULL);
}

static void test_long_runs_are_unmapped(void **state)
{
    (void)state;
    require_in_child(purge_long_run, NULL);
}

/* A large block of `pages` pages, none of them zero; a page in use behind it. */
static unsigned char *take_run(size_t pages)
{
    bool is_zero;
    unsigned char *p = span_alloc(pages * page(), 1, RUN_LARGE, &is_zero);
    REQUIRE(p != NULL && span_alloc(page(), 1, RUN_LARGE, &is_zero) != NULL);
    memset(p, 1, pages * page());
    return p;
}

static void drop_run(unsigned char *p, size_t pages)
{
    REQUIRE(span_release((uintptr_t)p, RUN_LARGE) == pages * page());
    free_runs_settle();
}

static bool is_oldest(const unsigned char *start, size_t pages, uint64_t stamp_ms)
{
    const struct run *r = span.oldest;
    return r != NULL && address_of(r->first) == (uintptr_t)start && r->pages == pages &&
           r->stamp_ms == stamp_ms;
}

static void purge_in_parts(void *arg)
{
    (void)arg;
    open_span();
    unsigned char *first = take_run(100);
    unsigned char *second = take_run(600);
    unsigned char *young = take_run(50);
    drop_run(first, 100);
    fake.now_ms += 10;
    uint64_t second_stamp = fake.now_ms;
    drop_run(second, 600);
    fake.now_ms += 10;
    drop_run(young, 50);
    fake_os_clear();
    REQUIRE(span_purge(fake.now_ms, 5, 101, 256) == 256 && span_check() == 0);
    REQUIRE(fake.purged_count == 2 && fake.purged[0].start == first);
    REQUIRE(fake.purged[1].start == second && fake.purged[1].bytes == 156 * page());
    require_zero(second, 156 * page());
    /* the rest: dirty, as old as it was, and next in turn */
    unsigned char *rest = second + 156 * page();
    for (size_t i = 0; i < 444 * page(); i += page())
        REQUIRE(rest[i] == 1);
    REQUIRE(span_dirty_bytes() == (444 + 50) * page());
    REQUIRE(is_oldest(rest, 444, second_stamp));
    REQUIRE(span_purge(fake.now_ms, 5, 443, 443) == 443 &&
            is_oldest(rest + 443 * page(), 1, second_stamp));
    REQUIRE(span_purge(fake.now_ms, 5, 256, 256) == 1 && span_check() == 0);
    REQUIRE(span_dirty_bytes() == 50 * page()); /* too young */
    struct span_counts c;
    span_count(&c);
    REQUIRE(c.pages[RUN_HELD] == 0 && c.runs[RUN_DIRTY] == 1);
}

static void test_the_last_run_is_cut(void **state)
{
    (void)state;
    require_in_child(purge_in_parts, NULL);
}

/* Not purged after all, the part joins the rest again. */
static void refuse_a_part(void *arg)
{
    (void)arg;
    open_span();
    unsigned char *p = take_run(600);
    drop_run(p, 600);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_PURGE);
    REQUIRE(span_purge(fake.now_ms, 0, 256, 256) == 0 && span_check() == 0);
    REQUIRE(is_oldest(p, 600, fake.now_ms));
}

static void test_a_refused_part_joins_the_rest(void **state)
{
    (void)state;
    require_in_child(refuse_a_part, NULL);
}

/* What can be unmapped is not cut into parts too short for it, unless less than that is asked for. */
static void purge_long_runs_in_parts(void *arg)
{
    (void)arg;
    open_span();
    size_t mib = MIB(1) / page();
    unsigned char *first = take_run(mib);
    unsigned char *second = take_run(20 * mib);
    drop_run(first, mib);
    drop_run(second, 20 * mib);
    fake_os_clear();
    REQUIRE(span_purge(fake.now_ms, 0, 16 * mib, 16 * mib) == mib && fake.purged_count == 1);
    REQUIRE(span_purge(fake.now_ms, 0, 16 * mib, 16 * mib) == 12 * mib); /* 8 MiB are left */
    REQUIRE(span_purge(fake.now_ms, 0, 16 * mib, 16 * mib) == 8 * mib);
    REQUIRE(fake_os_calls(ENTRY_PAGES_UNMAP) == 2 && fake.purged_count == 1);
    struct span_counts c;
    span_count(&c);
    REQUIRE(c.pages[RUN_VOID] == 20 * mib && c.runs[RUN_VOID] == 1 && span_check() == 0);

    drop_run(take_run(24 * mib), 24 * mib);
    fake_os_clear();
    REQUIRE(span_purge(fake.now_ms, 0, mib, mib) == mib && span_check() == 0);
    REQUIRE(fake_os_calls(ENTRY_PAGES_UNMAP) == 0 && fake.purged_count == 1);
    REQUIRE(span_dirty_bytes() == MIB(23));
}

static void test_long_runs_are_unmapped_in_parts(void **state)
{
    (void)state;
    require_in_child(purge_long_runs_in_parts, NULL);
}

static void extend_and_fail(void *arg)
{
    (void)arg;
    open_span();
    bool is_zero;
    void *p = span_alloc(2 * page(), 1, RUN_LARGE, &is_zero);
    void *q = span_alloc(3 * page(), 1, RUN_LARGE, &is_zero);
    void *end = span_alloc(page(), 1, RUN_LARGE, &is_zero);
    REQUIRE(!span_extend(p, 3 * page()));
    span_release((uintptr_t)q, RUN_LARGE);
    REQUIRE(!span_extend(p, 6 * page()) && span_check() == 0);
    REQUIRE(span_in_use_bytes((uintptr_t)p, RUN_LARGE) == 2 * page());
    REQUIRE(span_extend(p, 5 * page()) && span_check() == 0);
    REQUIRE(span_in_use_bytes((uintptr_t)p, RUN_LARGE) == 5 * page());
    REQUIRE(span_extend(end, MIB(3)) && span_check() == 0);
    memset(end, 1, MIB(3));
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!span_extend(end, MIB(300)) && span_check() == 0);
    REQUIRE(span_in_use_bytes((uintptr_t)end, RUN_LARGE) == MIB(3));
}

static void test_extend(void **state)
{
    (void)state;
    require_in_child(extend_and_fail, NULL);
}

/* The run that was there before, out of a longer dirty one; else as ever. */
static void take_the_former_run(void *arg)
{
    (void)arg;
    open_span();
    enum { N = 6, PAGES = 16, FAR = 256 };
    size_t bytes = PAGES * page();
    bool is_zero;
    char *start = span_alloc(N * bytes, bytes, RUN_LARGE, &is_zero);
    REQUIRE(is_zero && span_release((uintptr_t)start, RUN_LARGE) == N * bytes);
    uintptr_t third = (uintptr_t)start + 2 * bytes;
    REQUIRE(span_alloc_again(third, bytes, bytes, RUN_SLAB, &is_zero) == (void *)third && !is_zero);
    REQUIRE(span_alloc_again((uintptr_t)start, bytes, bytes, RUN_SLAB, &is_zero) == start);
    /* In use: the best fit is the second. Too short: it is what lies behind the third. */
    REQUIRE(span_alloc_again(third, bytes, bytes, RUN_SLAB, &is_zero) == start + bytes);
    span_trim((void *)third, page());
    REQUIRE(span_alloc_again((uintptr_t)start + 5 * bytes, 2 * bytes, page(), RUN_SLAB, &is_zero) ==
            start + 2 * bytes + page());
    REQUIRE(span_check() == 0);

    char *longer = span_alloc((FAR + 2 * PAGES) * page(), bytes, RUN_LARGE, &is_zero);
    span_release((uintptr_t)longer, RUN_LARGE);
    uintptr_t far = (uintptr_t)longer + (FAR + PAGES) * page();
    REQUIRE(span_alloc_again(far, bytes, bytes, RUN_SLAB, &is_zero) != (void *)far);
    REQUIRE(span_check() == 0);
}

static void test_the_former_run(void **state)
{
    (void)state;
    require_in_child(take_the_former_run, NULL);
}

static void refuse_every_map(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(!span_open(no_slab_here) && !window_is_open() && span_check() == 0);
    REQUIRE(span_in_use_bytes(4096, RUN_LARGE) == 0 && span_release(4096, RUN_LARGE) == 0);
    REQUIRE(span_find(4096).kind == RUN_NONE);
    fake.refuse &= ~ENTRY_BIT(ENTRY_PAGES_MAP);
    REQUIRE(span_open(no_slab_here));
    bool is_zero;
    REQUIRE(span_alloc(1, 1, RUN_SLAB, &is_zero) != NULL);
}

static void test_open_can_fail_and_succeed_later(void **state)
{
    (void)state;
    require_in_child(refuse_every_map, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_reserved),
        cmocka_unit_test(test_random_other_pages),
        cmocka_unit_test(test_no_page_is_lost_for_want_of_records),
        cmocka_unit_test(test_free_never_breaks_without_records),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_alignment_beyond_1_gib),
        cmocka_unit_test(test_alignment_in_reserved_window),
        cmocka_unit_test(test_foreign_mapping_is_skipped),
        cmocka_unit_test(test_refused_move),
        cmocka_unit_test(test_refused_move_of_an_older_kernel),
        cmocka_unit_test(test_move_keeps_the_reservation),
        cmocka_unit_test(test_purge_by_age),
        cmocka_unit_test(test_long_runs_are_unmapped),
        cmocka_unit_test(test_void_runs_come_back_by_pieces),
        cmocka_unit_test(test_the_last_run_is_cut),
        cmocka_unit_test(test_a_refused_part_joins_the_rest),
        cmocka_unit_test(test_long_runs_are_unmapped_in_parts),
        cmocka_unit_test(test_extend),
        cmocka_unit_test(test_the_former_run),
        cmocka_unit_test(test_open_can_fail_and_succeed_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
