/* core/large: sizes, alignment, zero memory, every way to resize, and each of them refused. */
#include "core/large.h"

#include "base/bits.h"
#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "core/purge.h"
#include "slab/slab.h"
#include "span/kept.h"
#include "span/span.h"
#include "support/heap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static size_t page;

/* 0: no large block starts there. */
static size_t bytes_of(const void *p)
{
    size_t bytes;
    return large_is_live(p, &bytes) ? bytes : 0;
}

static bool free_it(void *p)
{
    return large_free(p, "free");
}

static void *resize(void *p, size_t had, size_t n)
{
    return large_resize(p, had, n, "realloc");
}

static void start(void)
{
    fake_os_install();
    REQUIRE(span_open(&no_slab));
    page = os->page_bytes();
}

static void allocate(void *arg)
{
    (void)arg;
    start();
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 16385, 65535, 65536, 1000000, 10000000};
    for (size_t align = 1; align <= MIB(256); align *= 4) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *p = large_alloc(sizes[i], align, true);
            REQUIRE(p != NULL && (uintptr_t)p % max_size(align, page) == 0);
            REQUIRE(bytes_of(p) == align_up(max_size(sizes[i], 1), page));
            for (size_t k = 0; k < sizes[i]; k += 509)
                REQUIRE(p[k] == 0);
            memset(p, 0xee, bytes_of(p));
            REQUIRE(bytes_of(p + page) == 0 && bytes_of(p + 1) == 0 && !free_it(p + 16));
            if (bytes_of(p) > page)
                REQUIRE(!free_it(p + page));
            REQUIRE(free_it(p) && !free_it(p) && bytes_of(p) == 0);
        }
    }
    REQUIRE(!free_it(&page) && !free_it((void *)UINTPTR_MAX) && bytes_of(NULL) == 0);
    REQUIRE(span_check() == 0);
}

static void test_alloc(void **state)
{
    (void)state;
    require_in_child(allocate, NULL);
}

/* Grows and shrinks at random; the contents follow, whatever way it takes and whatever is refused.
 */
static void resize_at_random(void *arg)
{
    unsigned refuse = *(const unsigned *)arg;
    start();
    fake.refuse |= refuse;
    enum { LIVE = 12 };
    unsigned char *live[LIVE];
    size_t sizes[LIVE];
    struct chance chance = {chance_seed() + refuse};
    for (int i = 0; i < LIVE; i++) {
        sizes[i] = 20000;
        live[i] = large_alloc(sizes[i], 1, false);
        pattern_write(live[i], sizes[i], (uint64_t)i << 32);
    }
    for (int step = 0; step < 400; step++) {
        size_t i = chance_below(&chance, LIVE);
        size_t n =
            SMALL_MAX + 1 + chance_below(&chance, chance_below(&chance, 2) == 0 ? 60000 : 600000);
        void *q = resize(live[i], bytes_of(live[i]), n);
        if (n <= sizes[i])
            REQUIRE(q == live[i]); /* shrinking never fails and never moves */
        if (q == NULL)
            continue;
        live[i] = q;
        REQUIRE(bytes_of(q) >= n && bytes_of(q) < n + page);
        REQUIRE(pattern_is(q, min_size(n, sizes[i]), (uint64_t)i << 32));
        pattern_write(q, n, (uint64_t)i << 32);
        sizes[i] = n;
        if (step % 50 == 0)
            span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX);
        REQUIRE(span_check() == 0);
    }
    for (int i = 0; i < LIVE; i++)
        REQUIRE(pattern_is(live[i], sizes[i], (uint64_t)i << 32) && free_it(live[i]));
    REQUIRE(span_check() == 0);
}

static void test_resize(void **state)
{
    (void)state;
    static unsigned refusals[] = {0, ENTRY_BIT(ENTRY_PAGES_MOVE), ENTRY_BIT(ENTRY_PAGES_PURGE),
                                  ENTRY_BIT(ENTRY_PAGES_UNMAP),
                                  ENTRY_BIT(ENTRY_PAGES_MOVE) | ENTRY_BIT(ENTRY_PAGES_UNMAP)};
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        require_in_child(resize_at_random, &refusals[i]);
}

static void move_pages(void *arg)
{
    (void)arg;
    start();
    size_t n = MIB(4);
    unsigned char *p = large_alloc(n, 1, false);
    void *behind = large_alloc(page, 1, false);
    pattern_write(p, n, 5);
    fake_os_clear();
    unsigned char *q = resize(p, n, 3 * n);
    REQUIRE(q != NULL && q != p && fake_os_calls(ENTRY_PAGES_MOVE) == 1);
    REQUIRE(pattern_is(q, n, 5) && bytes_of(p) == 0 && bytes_of(behind) == page);
    for (size_t i = n; i < 3 * n; i += 511)
        REQUIRE(q[i] == 0);
    REQUIRE(resize(q, 3 * n, (size_t)PTRDIFF_MAX + 1) == NULL);
    REQUIRE(resize(q, 3 * n, PTRDIFF_MAX) == NULL && pattern_is(q, n, 5));
    REQUIRE(span_check() == 0);
}

static void test_move(void **state)
{
    (void)state;
    require_in_child(move_pages, NULL);
}

static void refuse(void *arg)
{
    (void)arg;
    start();
    void *p = large_alloc(page, 1, false);
    errno = 0;
    REQUIRE(large_alloc((size_t)PTRDIFF_MAX + 1, 1, false) == NULL && errno == ENOMEM);
    for (size_t align = (size_t)1 << 48; align != 0; align *= 2) {
        REQUIRE(large_alloc(100000, align, false) == NULL);
        REQUIRE(large_alloc((size_t)PTRDIFF_MAX + align / 2, align, false) == NULL);
    }
    REQUIRE(large_alloc(PTRDIFF_MAX, 4096, false) == NULL &&
            large_alloc(SIZE_MAX, 1, true) == NULL);
    REQUIRE(large_alloc(1, (size_t)1 << 62, false) == NULL);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    errno = 0;
    REQUIRE(large_alloc(MIB(100), 1, false) == NULL && errno == ENOMEM);
    REQUIRE(resize(p, page, MIB(100)) == NULL && bytes_of(p) == page);
    REQUIRE(span_check() == 0);
}

static void test_refused(void **state)
{
    (void)state;
    require_in_child(refuse, NULL);
}

/* The calling thread has shelves and a row of kept runs, as if there was another. */
static void start_with_row(void)
{
    start();
    REQUIRE(cache_acquire() != NULL);
    REQUIRE(life_cache() != NULL && my_cache->shelf != 0);
}

static void keep(void *arg)
{
    (void)arg;
    start_with_row();
    char *p = large_alloc(20 * page, 1, false);
    REQUIRE(large_alloc(page, 1, false) != NULL); /* else they would be one */
    char *q = large_alloc(20 * page, 1, false);
    memset(p, 1, 20 * page);
    REQUIRE(free_it(p) && free_it(q));
    REQUIRE(!free_it(p) && bytes_of(p) == 0);
    REQUIRE(large_alloc(20 * page - 5, page, false) == q);
    REQUIRE(large_alloc(20 * page, 2 * page, false) != p); /* not looked for by alignment */
    REQUIRE(large_alloc(20 * page, 1, true) == p);
    for (size_t i = 0; i < 20 * page; i++)
        REQUIRE(p[i] == 0);
    /* a trim and passes give them back; where memory goes back at once none are kept */
    REQUIRE(free_it(p) && span_dirty_bytes() == 0);
    REQUIRE(core_trim() && kept_take(20 * page, my_cache->shelf) == NULL);
    conf.purge_delay = 0;
    REQUIRE(free_it(q) && kept_take(20 * page, my_cache->shelf) == NULL);
    REQUIRE_SOUND();
}

static void test_keep(void **state)
{
    (void)state;
    if (sysconf(_SC_PAGESIZE) != 4096)
        skip();
    require_in_child(keep, NULL);
}

/* The calling thread's pocket is open. */
static void start_with_pocket(void)
{
    start();
    REQUIRE(life_cache() != NULL);
    my_cache->pocket.is_open = true;
    my_cache->pocket.credit = 96;
}

/* What the thread freed last serves any kind of request for just this length; a longer one finds it merged. */
static void pocket(void *arg)
{
    (void)arg;
    start_with_pocket();
    char *p[3];
    for (int i = 0; i < 3; i++)
        p[i] = malloc_fast(16 * page);
    REQUIRE(p[1] == p[0] + 16 * page && p[2] == p[1] + 16 * page);
    REQUIRE(malloc_fast(16 * page) != NULL);
    memset(p[1], 1, 16 * page);
    free_fast(p[1]);
    REQUIRE(bytes_of(p[1]) == 0 && span_dirty_bytes() == 0);
    REQUIRE(malloc_fast(15 * page) != NULL && pocket_is_empty(&my_cache->pocket));
    free_fast(malloc_fast(16 * page));
    char *q = malloc_fast(16 * page - 7);
    memset(q, 1, 16 * page);
    free_fast(q);
    REQUIRE(calloc_fast(2, 8 * page) == q);
    for (size_t i = 0; i < 16 * page; i++)
        REQUIRE(q[i] == 0);
    free_fast(q);
    REQUIRE(core_aligned(page, 16 * page) == q);
    REQUIRE_SOUND();
    /* a trim gives it back; where memory goes back at once there is none */
    free_fast(q);
    REQUIRE(!pocket_is_empty(&my_cache->pocket) && core_trim() && span_dirty_bytes() == 0);
    REQUIRE(malloc_fast(16 * page) != NULL && pocket_is_empty(&my_cache->pocket));
    conf.purge_delay = 0;
    free_fast(malloc_fast(16 * page));
    REQUIRE(pocket_is_empty(&my_cache->pocket));
    REQUIRE_SOUND();
}

static void test_pocket(void **state)
{
    (void)state;
    require_in_child(pocket, NULL);
}

static void pocket_merges(void *arg)
{
    (void)arg;
    start_with_pocket();
    char *p[3];
    for (int i = 0; i < 3; i++)
        p[i] = malloc_fast(5 * page);
    REQUIRE(p[1] == p[0] + 5 * page && p[2] == p[1] + 5 * page && malloc_fast(5 * page) != NULL);
    free_fast(p[0]);
    free_fast(p[2]);
    free_fast(p[1]);
    REQUIRE(!pocket_is_empty(&my_cache->pocket));
    REQUIRE(malloc_fast(15 * page) == p[0] && pocket_is_empty(&my_cache->pocket));
    REQUIRE_SOUND();
}

static void test_pocket_merges(void **state)
{
    (void)state;
    require_in_child(pocket_merges, NULL);
}

static size_t purged_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fake.purged_count; i++)
        bytes += fake.purged[i].bytes;
    return bytes;
}

static void pass(void)
{
    fake.now_ms += 1000;
    purge_note(MIB(64));
}

/* Two passes: the second takes what nobody asked for meanwhile. */
static void pocket_grows_old(void *arg)
{
    (void)arg;
    start_with_pocket();
    char *p = malloc_fast(5 * page);
    char *q = malloc_fast(6 * page);
    REQUIRE(malloc_fast(5 * page) != NULL);
    pass(); /* the first note of a fork's child brings one */
    free_fast(p);
    free_fast(q);
    pass();
    REQUIRE(fake.purged_count == 0 && malloc_fast(5 * page) == p);
    free_fast(p);
    pass();
    REQUIRE(purged_bytes() == 6 * page);
    REQUIRE(large_take(6 * page) == NULL && large_take(5 * page) == p);
    REQUIRE_SOUND();
}

static void test_pocket_grows_old(void **state)
{
    (void)state;
    require_in_child(pocket_grows_old, NULL);
}

/* What is kept serves where memory is out: a longer block, and slots. */
static void run_out(void *arg)
{
    (void)arg;
    start_with_row();
    char *p[16];
    for (int i = 0; i < 16; i++)
        p[i] = large_alloc(8 * page, 8 * page, false);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    while (large_alloc(8 * page, 1, false) != NULL)
        continue;
    for (int i = 0; i < 16; i++)
        REQUIRE(free_it(p[i]));
    REQUIRE(span_dirty_bytes() == 0);
    char *longer = large_alloc(64 * page, 1, false);
    REQUIRE(longer != NULL && free_it(longer));
    for (int i = 0; i < 16; i++)
        REQUIRE((p[i] = large_alloc(8 * page, 1, false)) != NULL);
    for (int i = 0; i < 16; i++)
        REQUIRE(free_it(p[i]));
    REQUIRE(span_dirty_bytes() == 0);
    REQUIRE(malloc_fast(10000) != NULL && malloc_fast(100) != NULL);
    REQUIRE_SOUND();
}

static void test_memory_is_out(void **state)
{
    (void)state;
    if (sysconf(_SC_PAGESIZE) != 4096)
        skip();
    require_in_child(run_out, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_pocket),
        cmocka_unit_test(test_pocket_merges),
        cmocka_unit_test(test_pocket_grows_old),
        cmocka_unit_test(test_keep),
        cmocka_unit_test(test_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
