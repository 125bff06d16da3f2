/* span/huge: when chunks become huge, when plain again; G1 broken on purpose. */
#include "span/huge.h"

#include "base/bits.h"
#include "span/huge_price.h"
#include "span/span_internal.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLAB_BYTES = 64 << 10 };
#define CHUNK_BYTES HUGE_BYTES

static struct slab *const no_slab_here = (struct slab *)64;

/* A slab that asks, as one does whose like before it were filled. */
static char *take_slab(void)
{
    bool is_zero;
    char *p = span_alloc(SLAB_BYTES, SLAB_BYTES, RUN_SLAB, &is_zero);
    REQUIRE(p != NULL);
    if (is_zero && huge_begins_in((uintptr_t)p, SLAB_BYTES))
        huge_ask((uintptr_t)p, SLAB_BYTES, true);
    REQUIRE(huge_check() == 0);
    return p;
}

static void take_slabs(size_t bytes)
{
    for (size_t at = 0; at < bytes; at += SLAB_BYTES)
        take_slab();
}

static unsigned long asked(void)
{
    return fake.calls[ENTRY_PAGES_HUGE];
}

/* A heap whose next slab is the first of a chunk. */
static void open_large(void)
{
    fake_os_install();
    REQUIRE(span_open(no_slab_here));
    bool is_zero;
    do {
        REQUIRE(span_alloc(SLAB_BYTES, SLAB_BYTES, RUN_SLAB, &is_zero) != NULL);
    } while (address_of(span.frontier) % CHUNK_BYTES != 0 ||
             span.frontier < 2 * pages_for(CHUNK_BYTES));
    REQUIRE(asked() == 0);
}

static void test_begins_in(void **state)
{
    (void)state;
    uintptr_t at = 16 * CHUNK_BYTES;
    REQUIRE(huge_begins_in(at, 1) && huge_begins_in(at, CHUNK_BYTES));
    REQUIRE(huge_begins_in(at - 1, 2) && !huge_begins_in(at - 1, 1));
    REQUIRE(!huge_begins_in(at + 1, CHUNK_BYTES - 1) && huge_begins_in(at + 1, CHUNK_BYTES));
}

static void grow(void *arg)
{
    (void)arg;
    open_large();
    take_slab();
    REQUIRE(asked() == 1);
    take_slabs(CHUNK_BYTES - SLAB_BYTES); /* the rest of the chunk */
    REQUIRE(asked() == 1);
    take_slabs(10 * CHUNK_BYTES);
    REQUIRE(asked() == 11);
    REQUIRE(fake.calls[ENTRY_PAGES_NO_HUGE] == 0);
}

static void test_each_chunk_is_asked_for_once(void **state)
{
    (void)state;
    require_in_child(grow, NULL);
}

/* All chunks of a large block in one call; the last, of which it has a part, on request and if the rest is fresh. */
static void ask_for_large(void *arg)
{
    (void)arg;
    open_large();
    bool is_zero;
    size_t bytes = 3 * CHUNK_BYTES + SLAB_BYTES;
    uintptr_t p = (uintptr_t)span_alloc(bytes, 1, RUN_LARGE, &is_zero);
    REQUIRE(p % CHUNK_BYTES == 0 && is_zero);
    *(char *)p = 7; /* as if it was handed out before its chunk is touched */
    huge_ask(p, bytes, false);
    REQUIRE(asked() == 2); /* the first alone */
    REQUIRE(*(char *)p == 7);
    struct os_range last = {(void *)(p + 3 * CHUNK_BYTES), SLAB_BYTES};
    huge_leave(&last);
    REQUIRE(fake.calls[ENTRY_PAGES_NO_HUGE] == 0);
    huge_ask(p, bytes, true);
    REQUIRE(asked() == 5);
    huge_leave(&last);
    REQUIRE(fake.calls[ENTRY_PAGES_NO_HUGE] == 1);

    /* the rest of the chunk is taken: not fresh any more */
    REQUIRE(span_alloc(SLAB_BYTES, 1, RUN_LARGE, &is_zero) != NULL);
    huge_ask(p + 3 * CHUNK_BYTES, SLAB_BYTES, true);
    REQUIRE(asked() == 5 && huge_check() == 0);
}

static void test_large_block(void **state)
{
    (void)state;
    require_in_child(ask_for_large, NULL);
}

static bool is_resident(const void *page)
{
    unsigned char resident = 0;
    REQUIRE(mincore((void *)(uintptr_t)page, 1, &resident) == 0);
    return (resident & 1) != 0;
}

/* While the touch of a chunk takes long, the next ones stay plain. */
static void pay_dearly(void *arg)
{
    (void)arg;
    open_large();
    fake.ns_a_look = HUGE_DEAR_NS;
    char *dear = take_slab();
    REQUIRE(asked() == 1 && is_resident(dear));
    take_slabs(CHUNK_BYTES - SLAB_BYTES);
    take_slabs(HUGE_PASSED_OVER_FIRST * CHUNK_BYTES);
    REQUIRE(asked() == 1);
    fake.ns_a_look = 1000;
    take_slabs(2 * CHUNK_BYTES);
    REQUIRE(asked() == 3);
}

static char *take_large(size_t chunks)
{
    bool is_zero;
    char *p = span_alloc(chunks * CHUNK_BYTES, CHUNK_BYTES, RUN_LARGE, &is_zero);
    REQUIRE(p != NULL && is_zero);
    huge_ask((uintptr_t)p, chunks * CHUNK_BYTES, false);
    return p;
}

/* Of a large block the first of one, two, four, then eight chunks is looked at. A dear one ends it. */
static void look_at_large(void *arg)
{
    (void)arg;
    open_large();
    char *p = take_large(24);
    REQUIRE(asked() == 6); /* 1, 2, 4, 8, 8, and 1 */
    for (size_t chunk = 0; chunk < 24; chunk++) {
        bool is_looked_at =
            chunk == 0 || chunk == 1 || chunk == 3 || chunk == 7 || chunk == 15 || chunk == 23;
        REQUIRE(is_resident(p + chunk * CHUNK_BYTES) == is_looked_at);
    }
    fake.ns_a_look = HUGE_DEAR_NS;
    p = take_large(8); /* seven are passed over */
    REQUIRE(asked() == 7 && is_resident(p) && !is_resident(p + CHUNK_BYTES));
    fake.ns_a_look = 1000;
    take_large(HUGE_PASSED_OVER_FIRST - 7);
    REQUIRE(asked() == 7);
    take_large(1);
    REQUIRE(asked() == 8 && huge_check() == 0);
}

static void test_price(void **state)
{
    (void)state;
    require_in_child(pay_dearly, NULL);
    require_in_child(look_at_large, NULL);
}

static void switch_off(void *arg)
{
    (void)arg;
    huge_never = true;
    open_large();
    take_slabs(MIB(32));
    REQUIRE(asked() == 0 && !huge_is_possible());
}

static void test_never(void **state)
{
    (void)state;
    require_in_child(switch_off, NULL);
}

/* Where the system gives none, it is not asked again and again. */
static void given_none(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.huge_pages = OS_HUGE_NEVER;
    REQUIRE(span_open(no_slab_here));
    take_slabs(MIB(8));
    REQUIRE(asked() == 0 && fake.calls[ENTRY_HUGE_PAGES] == 1);
}

/* Where they come unasked, the window refuses them but for the chunks that ask. */
static void given_always(void *arg)
{
    (void)arg;
    fake_os_install();
    fake.huge_pages = OS_HUGE_ALWAYS;
    REQUIRE(span_open(no_slab_here));
    take_slabs(MIB(8));
    REQUIRE(asked() == 3 && fake.calls[ENTRY_PAGES_NO_HUGE] > 0 &&
            fake.calls[ENTRY_HUGE_PAGES] == 1);

    /* also where void pages come back */
    bool is_zero;
    uintptr_t p = (uintptr_t)span_alloc(MIB(16), CHUNK_BYTES, RUN_LARGE, &is_zero);
    REQUIRE(span_alloc(SLAB_BYTES, 1, RUN_LARGE, &is_zero) != NULL);
    span_release(p, RUN_LARGE);
    span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX);
    unsigned long before = fake.calls[ENTRY_PAGES_NO_HUGE];
    REQUIRE((uintptr_t)span_alloc(MIB(16), 1, RUN_LARGE, &is_zero) == p && is_zero);
    REQUIRE(fake.calls[ENTRY_PAGES_NO_HUGE] == before + 1);
}

static void test_settings_of_the_system(void **state)
{
    (void)state;
    require_in_child(given_none, NULL);
    require_in_child(given_always, NULL);
}

static void purge_and_take_again(void *arg)
{
    (void)arg;
    open_large();
    char *first = take_slab();
    take_slabs(3 * CHUNK_BYTES - SLAB_BYTES);
    unsigned long before = asked();

    /* a part of one chunk: plain, and split first */
    span_release((uintptr_t)first, RUN_SLAB);
    REQUIRE(span_purge(fake.now_ms, 0, 4096, 4096) == (size_t)SLAB_BYTES >> page_shift);
    REQUIRE(fake.calls[ENTRY_PAGES_SPLIT] == 1 && fake.calls[ENTRY_PAGES_NO_HUGE] == 1);
    REQUIRE(take_slab() == first && asked() == before); /* not the whole chunk is fresh */

    /* all three chunks: those two that still are huge become plain in one call */
    for (size_t at = 0; at < 3 * CHUNK_BYTES; at += SLAB_BYTES)
        span_release((uintptr_t)first + at, RUN_SLAB);
    REQUIRE(span_purge(fake.now_ms, 0, 10000, 10000) == 3 * CHUNK_BYTES >> page_shift);
    REQUIRE(fake.calls[ENTRY_PAGES_NO_HUGE] == 2 && huge_check() == 0);

    /* the heap grows again: each is asked for again */
    take_slabs(3 * CHUNK_BYTES);
    REQUIRE(asked() == before + 3);
}

static void test_purged_chunks_are_plain(void **state)
{
    (void)state;
    require_in_child(purge_and_take_again, NULL);
}

/* A few pages of a huge run: the first huge page as a whole, which needs no split. The rest of one only if nobody waits. */
static void purge_in_parts(void *arg)
{
    (void)arg;
    open_large();
    char *first = take_slab();
    take_slabs(3 * CHUNK_BYTES - SLAB_BYTES);
    for (size_t at = 0; at < 3 * CHUNK_BYTES; at += SLAB_BYTES)
        span_release((uintptr_t)first + at, RUN_SLAB);
    REQUIRE(span_purge(fake.now_ms, 0, 100, 256) == HUGE_PAGES && fake.purged[0].start == first);
    REQUIRE(fake.calls[ENTRY_PAGES_SPLIT] == 0 && fake.calls[ENTRY_PAGES_NO_HUGE] == 1);
    REQUIRE(huge_check() == 0 && span_check() == 0);
    /* the second chunk's first slab in use again: the third chunk is next, and what is before it stays */
    char *second = take_slab();
    REQUIRE(second == first + CHUNK_BYTES);
    REQUIRE(span_purge(fake.now_ms, 0, 100, 256) == HUGE_PAGES);
    REQUIRE(fake.purged[1].start == second + CHUNK_BYTES && fake.calls[ENTRY_PAGES_SPLIT] == 0);
    REQUIRE(span_dirty_bytes() == CHUNK_BYTES - SLAB_BYTES && span_check() == 0);
    REQUIRE(span_purge(fake.now_ms, 0, 100, 256) == 0 && fake.calls[ENTRY_PAGES_SPLIT] == 0);
    REQUIRE(span_purge(fake.now_ms, 0, 4096, 4096) ==
            HUGE_PAGES - ((size_t)SLAB_BYTES >> page_shift));
    REQUIRE(fake.calls[ENTRY_PAGES_SPLIT] == 1 && fake.calls[ENTRY_PAGES_NO_HUGE] == 3);
    REQUIRE(huge_check() == 0 && span_check() == 0);
}

static void test_a_part_of_a_chunk(void **state)
{
    (void)state;
    require_in_child(purge_in_parts, NULL);
}

static void purge_plain(void *arg)
{
    (void)arg;
    fake_os_install();
    REQUIRE(span_open(no_slab_here));
    span_release((uintptr_t)take_slab(), RUN_SLAB);
    REQUIRE(span_purge(fake.now_ms, 0, 4096, 4096) > 0);
    REQUIRE(fake.calls[ENTRY_PAGES_SPLIT] == 0 && fake.calls[ENTRY_PAGES_NO_HUGE] == 0);
}

static void test_plain_memory_costs_no_call(void **state)
{
    (void)state;
    require_in_child(purge_plain, NULL);
}

/* G1: the last chunk lies beyond what is mapped. */
static void test_g1_huge_chunk_beyond_the_mapped(void **state)
{
    (void)state;
    fake_os_install();
    REQUIRE(span_open(no_slab_here));
    take_slabs(4 * CHUNK_BYTES);
    REQUIRE(asked() > 0 && huge_check() == 0);
    size_t mapped = span.mapped;
    span.mapped = pages_for(CHUNK_BYTES);
    REQUIRE(huge_check() == 1);
    span.mapped = mapped;
}

int main(void)
{
    if (sysconf(_SC_PAGESIZE) != 4096) {
        puts("huge pages are asked for where pages have 4 KiB");
        return UNIT_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_chunk_is_asked_for_once),
        cmocka_unit_test(test_begins_in),
        cmocka_unit_test(test_large_block),
        cmocka_unit_test(test_price),
        cmocka_unit_test(test_settings_of_the_system),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_purged_chunks_are_plain),
        cmocka_unit_test(test_a_part_of_a_chunk),
        cmocka_unit_test(test_plain_memory_costs_no_call),
        cmocka_unit_test(test_g1_huge_chunk_beyond_the_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
