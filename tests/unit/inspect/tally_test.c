/* inspect/tally: the counts against what the test knows it holds, each live block visited once, the
 * printed ledger. */
#include "inspect/tally.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>

enum { LIVE = 3000 };
static void *live[LIVE];
static size_t seen_count;

static void fill(struct chance *chance)
{
    for (int i = 0; i < 3 * LIVE; i++) {
        size_t k = chance_below(chance, LIVE);
        free_fast(live[k]);
        live[k] = malloc_fast(chance_below(chance, 20) == 0 ? chance_below(chance, 200000)
                                                            : chance_below(chance, 4000));
    }
}

static void require_counts(void)
{
    struct tally t;
    struct class_tally classes[CLASS_COUNT] = {{0, 0, 0}};
    size_t small = 0;
    size_t large = 0;
    size_t blocks = 0;
    for (int i = 0; i < LIVE; i++) {
        size_t n = core_usable(live[i], "x");
        if (n > SMALL_MAX) {
            large += n;
            blocks++;
        } else if (n > 0) {
            small += n;
            classes[class_of(n)].live++;
        }
    }
    tally_take(&t);
    REQUIRE(t.small_live_bytes == small && t.large_live_bytes == large && t.large_blocks == blocks);
    size_t slots = 0;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        REQUIRE(t.classes[c].live == classes[c].live);
        REQUIRE(t.classes[c].slots == t.classes[c].slabs * size_classes[c].slots);
        slots += t.classes[c].slots * size_classes[c].size;
    }
    REQUIRE(t.small_live_bytes + t.small_free_bytes == slots && slots <= t.slab_bytes);
    size_t in_runs = t.slab_bytes + t.large_live_bytes + t.dirty_bytes + t.clean_bytes;
    REQUIRE(in_runs <= t.mapped_bytes); /* what is mapped and was never used is in neither */
    REQUIRE(t.record_bytes > 0);
}

static void count(void *arg)
{
    (void)arg;
    fake_os_install();
    struct tally t;
    tally_take(&t); /* before anything was used */
    REQUIRE(t.mapped_bytes == 0 && t.small_live_bytes == 0);
    struct chance chance = {chance_seed()};
    for (int round = 0; round < 5; round++) {
        fill(&chance);
        require_counts();
        core_trim();
        require_counts();
    }
    for (int i = 0; i < LIVE; i++) {
        free_fast(live[i]);
        live[i] = NULL;
    }
    require_counts();
}

static void test_count(void **state)
{
    (void)state;
    require_in_child(count, NULL);
}

struct visit_state {
    uintptr_t last;
    size_t bytes;
};

static void note(uintptr_t block, size_t usable, void *arg)
{
    struct visit_state *v = arg;
    REQUIRE(block > v->last);
    v->last = block;
    v->bytes += usable;
    seen_count++;
    REQUIRE(core_usable((void *)block, "x") == usable);
}

static void visit_all(void *arg)
{
    (void)arg;
    fake_os_install();
    struct chance chance = {chance_seed()};
    fill(&chance);
    size_t held = 0;
    size_t bytes = 0;
    for (int i = 0; i < LIVE; i++) {
        held += live[i] != NULL;
        bytes += core_usable(live[i], "x");
    }
    struct visit_state all = {0, 0};
    tally_visit_blocks(0, SIZE_MAX, note, &all);
    REQUIRE(seen_count == held && all.bytes == bytes);
    /* in parts: every cut gives the same */
    seen_count = 0;
    uintptr_t end = window.base + window.unit_count * UNIT_BYTES;
    struct visit_state parts = {0, 0};
    for (uintptr_t at = window.base; at < end; at += 777777)
        tally_visit_blocks(at, 777777, note, &parts);
    REQUIRE(seen_count == held && parts.bytes == bytes);
    /* a range of one byte finds the block that starts there, and only it */
    for (int i = 0; i < LIVE; i += 97) {
        if (live[i] == NULL)
            continue;
        struct visit_state one = {0, 0};
        seen_count = 0;
        tally_visit_blocks((uintptr_t)live[i], 1, note, &one);
        tally_visit_blocks((uintptr_t)live[i] + 1, 15, note, &one);
        REQUIRE(seen_count == 1 && one.last == (uintptr_t)live[i]);
    }
}

static void test_visit(void **state)
{
    (void)state;
    require_in_child(visit_all, NULL);
}

static char printed[20000];

static void keep(const char *chars, size_t n)
{
    strncat(printed, chars, n < 1000 ? n : 1000);
}

static void print(void *arg)
{
    (void)arg;
    fake_os_install();
    for (int i = 0; i < 10; i++)
        malloc_fast(100);
    malloc_fast(1000000);
    struct tally t;
    tally_take(&t);
    tally_print(&t, keep);
    REQUIRE(strncmp(printed, "ration: the heap, in bytes\n", 27) == 0);
    char line[100];
    snprintf(line, sizeof line, " %zu\n", t.mapped_bytes);
    REQUIRE(strstr(printed, line) != NULL);
    REQUIRE(strstr(printed, "class 112: 10 live of 585 slots in 1 slabs\n") != NULL);
    REQUIRE(strstr(printed, "live large blocks                 1003520\n") != NULL);
}

static void test_print(void **state)
{
    (void)state;
    require_in_child(print, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_visit),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
