/* core/witness: what is found filled is trusted up to twice its size, what is not ends the trust; blocks that grow. */
#include "core/witness.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "span/huge.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned long asked(void)
{
    return fake.calls[ENTRY_PAGES_HUGE];
}

/* Whether huge pages were asked for since the last question. */
static bool asked_again(void)
{
    static unsigned long before;
    bool more = asked() > before;
    before = asked();
    return more;
}

static unsigned long looks(void)
{
    return fake.calls[ENTRY_PAGES_RESIDENT];
}

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
    free_fast(malloc_fast(1));
}

static char *take(size_t bytes, bool fill)
{
    char *p = malloc_fast(bytes);
    REQUIRE(p != NULL);
    if (fill)
        memset(p, 1, bytes);
    return p;
}

/* Trusts blocks of up to `bytes` from now on, and has a new witness. */
static void prove(size_t bytes)
{
    take(bytes / 2, true);
    take(bytes / 2, true);
    asked_again();
    take(MIB(8), false);
    REQUIRE(asked_again());
}

static void living_witness(void *arg)
{
    (void)arg;
    start();
    take(MIB(8), true);
    REQUIRE(asked() == 0 && looks() == 0);
    take(MIB(8), true); /* the first testifies */
    REQUIRE(asked_again() && looks() == 1);
    take(MIB(16), true);
    REQUIRE(asked_again() && looks() == 1);
    take(MIB(17), true); /* more than twice what was proven */
    REQUIRE(!asked_again());
    take(MIB(2), true); /* no chunk for sure */
    REQUIRE(!asked_again());
}

static void test_living_witness(void **state)
{
    (void)state;
    require_in_child(living_witness, NULL);
}

static void sparse(void *arg)
{
    (void)arg;
    start();
    char *first = take(MIB(8), false);
    memset(first, 1, MIB(2)); /* a quarter */
    for (int i = 0; i < 10; i++)
        take(MIB(8), false);
    REQUIRE(asked() == 0 && looks() == 10);
    /* at its end it is looked at for the last time */
    free_fast(first);
    REQUIRE(asked() == 0 && looks() == 11);
}

static void test_sparse_blocks_are_not_trusted(void **state)
{
    (void)state;
    require_in_child(sparse, NULL);
}

/* Fresh memory for each block, as dirty memory tells nothing. */
static void free_for_good(char *p)
{
    free_fast(p);
    span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX);
}

static void trust_ends(void *arg)
{
    (void)arg;
    start();
    prove(MIB(16));
    unsigned trusted = 0;
    unsigned ends = 0;
    for (int i = 0; i < 100; i++) {
        unsigned long had = looks();
        free_for_good(take(MIB(8), false));
        trusted += asked_again();
        ends += looks() > had;
    }
    /* one in eight was a witness; the first that was not filled ended the trust, the third the looking */
    REQUIRE(trusted < 9 && ends == 3);
    take(MIB(8), true);
    take(MIB(8), true);
    REQUIRE(!asked_again());
}

static void test_trust_ends(void **state)
{
    (void)state;
    require_in_child(trust_ends, NULL);
}

/* Dirty pages hold memory whoever filled them: no witness, and nothing to ask for. */
static void dirty(void *arg)
{
    (void)arg;
    start();
    char *first = take(MIB(8), true);
    free_fast(first);
    REQUIRE(looks() == 1 && take(MIB(8), false) == first);
    REQUIRE(asked() == 0);
    free_fast(first);
    REQUIRE(looks() == 1);
}

static void test_dirty_memory_tells_nothing(void **state)
{
    (void)state;
    require_in_child(dirty, NULL);
}

static void zeroed(void *arg)
{
    (void)arg;
    start();
    prove(MIB(16));
    REQUIRE(calloc_fast(1, MIB(8)) != NULL);
    REQUIRE(!asked_again());
}

static void test_zero_memory_is_not_trusted(void **state)
{
    (void)state;
    require_in_child(zeroed, NULL);
}

static void grow(void *arg)
{
    (void)arg;
    start();
    char *p = take(MIB(4), true);
    p = core_realloc(p, MIB(8), "realloc"); /* the witness, and filled */
    REQUIRE(p != NULL && asked_again() && looks() == 1);
    memset(p, 1, MIB(8));
    p = core_realloc(p, MIB(16), "realloc"); /* not trusted before: looked at */
    REQUIRE(p != NULL && asked_again() && looks() == 2);
    p = core_realloc(p, MIB(32), "realloc"); /* the second half is empty */
    REQUIRE(p != NULL && !asked_again() && looks() == 3);
    p = core_realloc(p, MIB(5), "realloc");
    REQUIRE(p != NULL && looks() == 3 && p[MIB(5) - 1] == 1);
}

static void test_growing_block(void **state)
{
    (void)state;
    require_in_child(grow, NULL);
}

static void cannot_look(void *arg)
{
    (void)arg;
    start();
    fake.refuse = ENTRY_BIT(ENTRY_PAGES_RESIDENT);
    char *p = take(MIB(8), true);
    free_fast(p);
    REQUIRE(looks() == 1);
    for (int i = 0; i < 10; i++)
        take(MIB(8), true);
    REQUIRE(looks() == 1 && asked() == 0);
}

static void test_system_that_does_not_tell(void **state)
{
    (void)state;
    require_in_child(cannot_look, NULL);
}

static void never(void *arg)
{
    (void)arg;
    start();
    huge_never = true;
    for (int i = 0; i < 4; i++)
        free_fast(take(MIB(8), true));
    REQUIRE(looks() == 0 && asked() == 0);
}

static void test_never(void **state)
{
    (void)state;
    require_in_child(never, NULL);
}

int main(void)
{
    if (sysconf(_SC_PAGESIZE) != 4096) {
        puts("huge pages are asked for where pages have 4 KiB");
        return UNIT_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_living_witness),
        cmocka_unit_test(test_sparse_blocks_are_not_trusted),
        cmocka_unit_test(test_trust_ends),
        cmocka_unit_test(test_dirty_memory_tells_nothing),
        cmocka_unit_test(test_zero_memory_is_not_trusted),
        cmocka_unit_test(test_growing_block),
        cmocka_unit_test(test_system_that_does_not_tell),
        cmocka_unit_test(test_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
