/* inspect/view: the runs cover the window without gap, slabs are copied whole, masks are the cache's,
 * and damaged records end nothing. */
#include "inspect/view.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "span/span_internal.h"
#include "support/heap.h"

#include <string.h>

static void fill(void)
{
    static void *blocks[3000];
    struct chance chance = {chance_seed()};
    for (int i = 0; i < 9000; i++) {
        size_t k = chance_below(&chance, 3000);
        free_fast(blocks[k]);
        blocks[k] = malloc_fast(chance_below(&chance, i % 20 == 0 ? 200000 : 5000));
    }
}

/* Until the mask of these blocks' bin lies in the second unit of its slab. */
static void fill_second_unit(size_t size)
{
    const struct bin *bin = &my_cache->bins[class_of(size)];
    do
        REQUIRE(malloc_fast(size) != NULL);
    while (bin->mask == 0 || bin->base - bin->slab->base < UNIT_BYTES);
}

/* Goes through all runs; returns their count. */
static size_t go_through(struct view *v)
{
    struct view_cursor cursor;
    struct view_run run;
    size_t next = 0;
    size_t n = 0;
    REQUIRE(view_open(v, 0) == VIEW_OK);
    view_begin(&cursor, v, 0);
    while (view_next(&cursor, &run)) {
        REQUIRE(run.first == next && run.pages > 0);
        next += run.pages;
        n++;
    }
    REQUIRE(next == v->frontier_pages);
    return n;
}

static void see_runs(void *arg)
{
    (void)arg;
    struct view v;
    struct span_counts counts;
    size_t runs = 0;
    fake_os_install();
    REQUIRE(go_through(&v) == 0);
    fill();
    span_count(&counts);
    for (int k = RUN_SLAB; k < RUN_KIND_COUNT; k++)
        runs += counts.runs[k];
    REQUIRE(go_through(&v) == runs);
}

static void test_runs(void **state)
{
    (void)state;
    require_in_child(see_runs, NULL);
}

static void see_slabs(void *arg)
{
    (void)arg;
    struct view v;
    struct view_cursor cursor;
    struct view_run run;
    union slab_copy copy;
    size_t masks = 0;
    fake_os_install();
    fill();
    fill_second_unit(1100);
    REQUIRE(view_open(&v, 0) == VIEW_OK);
    view_begin(&cursor, &v, 0);
    while (view_next(&cursor, &run)) {
        bool is_slab = view_slab(&v, run.first, &copy);
        REQUIRE(is_slab == (run.kind == RUN_SLAB));
        if (!is_slab)
            continue;
        const struct slab *s = slab_of(view_address(&v, run.first));
        REQUIRE(memcmp(s, &copy, sizeof *s + padded_slots(s)) == 0);
        unsigned group = 999;
        uint64_t mask = view_mask(&v, &copy.slab, &group);
        const struct bin *bin = &my_cache->bins[s->class_index];
        REQUIRE(mask == (bin->slab == s ? bin->mask : 0));
        REQUIRE(mask == 0 || group == bin->group);
        masks += mask != 0;
    }
    REQUIRE(masks > 20);
}

static void test_slabs(void **state)
{
    (void)state;
    require_in_child(see_slabs, NULL);
}

/* As they may be read while another thread changes them, or in a process that is out of order. */
static void see_damage(void *arg)
{
    (void)arg;
    struct view v;
    struct chance chance = {chance_seed()};
    fake_os_install();
    fill();
    for (int i = 0; i < 2000; i++) {
        size_t page = chance_below(&chance, span.frontier);
        uint64_t tag = tag_at(page);
        uint64_t other =
            chance_below(&chance, 2) == 0 ? 0 : tag_at(chance_below(&chance, span.frontier));
        tag_set(page, other);
        REQUIRE(go_through(&v) > 0);
        tag_set(page, tag);
    }
}

static void test_damage(void **state)
{
    (void)state;
    require_in_child(see_damage, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
