/* Every strategy through every pattern, verified; and answers that are known by hand. */
#include "lab_tests.h"

/* ---- where blocks go --------------------------------------------------------------------- */

/* Four holes in address order, kept apart by live blocks: 200, 40, 296 and 104 bytes of payload. */
enum { n_holes = 4 };

struct holes {
    struct lab_heap lab;
    char *at[n_holes];
};

static void open_holes(struct holes *holes, const char *strategy, const struct lab_choices *choices)
{
    static const size_t sizes[n_holes] = {200, 40, 296, 104};
    open_heap(&holes->lab, strategy, choices);
    for (int i = 0; i < n_holes; i++) {
        holes->at[i] = take(&holes->lab, sizes[i]);
        take(&holes->lab, 24);
    }
    for (int i = 0; i < n_holes; i++)
        give(&holes->lab, holes->at[i]);
}

static void close_holes(struct holes *holes)
{
    lab_close(&holes->lab);
}

/* Where a request of `size` goes: the number of the hole, or -1 for new memory. */
static int hole_for(struct holes *holes, size_t size)
{
    const char *payload = take(&holes->lab, size);
    for (int i = 0; i < n_holes; i++)
        if (payload == holes->at[i])
            return i;
    return -1;
}

static void each_policy_chooses_its_hole(void **state)
{
    (void)state;
    static const struct {
        const char *strategy;
        int for_40, for_100, for_250, for_2000;
    } cases[] = {
        {"implicit", 0, -2, 2, -1},   {"first-fit", 0, -2, 2, -1},     {"best-fit", 1, 3, 2, -1},
        {"worst-fit", 2, -2, -2, -1}, {"segregated-fit", 1, 3, 2, -1}, {"tlsf", 1, 3, 2, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int expected[] = {cases[i].for_40, cases[i].for_100, cases[i].for_250,
                                cases[i].for_2000};
        static const size_t sizes[] = {40, 100, 250, 2000};
        for (int k = 0; k < 4; k++) {
            struct holes holes;
            if (expected[k] == -2) /* depends on more than the policy */
                continue;
            open_holes(&holes, cases[i].strategy, NULL);
            const int hole = hole_for(&holes, sizes[k]);
            close_holes(&holes);
            if (hole != expected[k])
                fail_msg("%s puts %zu bytes into hole %d, not %d", cases[i].strategy, sizes[k],
                         hole, expected[k]);
        }
    }
}

/* The third hole is cut; first fit starts over, next fit goes on with the rest of it. */
static void next_fit_goes_on_where_it_was(void **state)
{
    (void)state;
    struct holes holes;
    open_holes(&holes, "first-fit", NULL);
    assert_int_equal(hole_for(&holes, 264), 2);
    assert_int_equal(hole_for(&holes, 24), 0);
    close_holes(&holes);
    open_holes(&holes, "next-fit", NULL);
    assert_int_equal(hole_for(&holes, 264), 2);
    assert_ptr_equal(take(&holes.lab, 24), holes.at[2] + 272);
    close_holes(&holes);
}

/* The same when the third hole is taken as a whole: on with the fourth. */
static void next_fit_goes_on_behind_a_whole_hole(void **state)
{
    (void)state;
    struct holes holes;
    open_holes(&holes, "next-fit", NULL);
    assert_int_equal(hole_for(&holes, 296), 2);
    const int hole = hole_for(&holes, 24);
    close_holes(&holes);
    assert_int_equal(hole, 3);
}

static void lifo_order_serves_the_last_freed(void **state)
{
    (void)state;
    struct holes holes;
    const struct lab_choices lifo = {.order = "lifo"};
    open_holes(&holes, "first-fit", &lifo);
    assert_int_equal(hole_for(&holes, 40), 3);
    close_holes(&holes);
}

/* ---- splitting and merging --------------------------------------------------------------- */

static void headers_cost_eight_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"implicit",  "first-fit",      "next-fit", "best-fit",
                                        "worst-fit", "segregated-fit", "tlsf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct lab_heap lab;
        open_heap(&lab, names[i], NULL);
        char *a = take(&lab, 24), *b = take(&lab, 24), *c = take(&lab, 25);
        assert_int_equal((uintptr_t)a % 16, 0);
        assert_int_equal(b - a, 32);
        assert_int_equal(ration_heap_usable_size(lab.heap, a), 24);
        assert_int_equal(ration_heap_usable_size(lab.heap, c), 40);
        lab_close(&lab);
    }
}

/* Three neighbours freed in every order are one hole of 3 x 32 = 96 bytes: 88 of payload. */
static void neighbours_merge_in_every_order(void **state)
{
    (void)state;
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const names[] = {"implicit",  "first-fit",      "next-fit", "best-fit",
                                        "worst-fit", "segregated-fit", "tlsf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int order = 0; order < 6; order++) {
            struct lab_heap lab;
            open_heap(&lab, names[i], NULL);
            char *blocks[3] = {take(&lab, 24), take(&lab, 24), take(&lab, 24)};
            take(&lab, 24);
            for (int k = 0; k < 3; k++)
                give(&lab, blocks[orders[order][k]]);
            if (take(&lab, 88) != blocks[0])
                fail_msg("%s did not merge in order %d", names[i], order);
            lab_close(&lab);
        }
    }
}

static void without_coalescing_nothing_merges(void **state)
{
    (void)state;
    struct lab_heap lab;
    const struct lab_choices never = {.coalesce = "never"};
    open_heap(&lab, "first-fit", &never);
    char *a = take(&lab, 24), *b = take(&lab, 24);
    take(&lab, 24);
    give(&lab, a);
    give(&lab, b);
    assert_ptr_not_equal(take(&lab, 56), a);
    lab_close(&lab);
}

static void without_splitting_a_hole_goes_whole(void **state)
{
    (void)state;
    struct lab_heap lab;
    const struct lab_choices whole = {.no_split = true};
    open_heap(&lab, "first-fit", &whole);
    char *a = take(&lab, 200);
    take(&lab, 24);
    give(&lab, a);
    assert_ptr_equal(take(&lab, 24), a);
    assert_true(ration_heap_usable_size(lab.heap, a) >= 200);
    lab_close(&lab);
}

/* ---- the other strategies ---------------------------------------------------------------- */

static void buckets_round_up_and_serve_the_last_freed(void **state)
{
    (void)state;
    struct lab_heap lab;
    const struct lab_choices least = {.min_block = 4};
    open_heap(&lab, "buckets", &least);
    static const struct {
        size_t asked, usable;
    } cases[] = {{1, 4}, {4, 4}, {5, 8}, {7, 8}, {9, 16}, {17, 32}, {4096, 4096}, {4097, 8192}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(ration_heap_usable_size(lab.heap, take(&lab, cases[i].asked)),
                         cases[i].usable);
    char *a = take(&lab, 20), *b = take(&lab, 30);
    give(&lab, a);
    give(&lab, b);
    assert_ptr_equal(take(&lab, 32), b);
    assert_ptr_equal(take(&lab, 17), a);
    lab_close(&lab);
}

/* A list that is empty does not borrow from a full one. */
static void buckets_starve_beside_plenty(void **state)
{
    (void)state;
    struct lab_result result;
    replay_generated(&result, strategy_find("buckets"), NULL, "bucket-starvation");
    assert_int_equal(result.outcome, LAB_DONE);
    assert_int_equal(result.n_splits + result.n_merges, 0);
    /* 4000 x 128 stay behind while 6000 x 64 are new. */
    assert_true(result.peak_heap >= 4000 * 128 + 6000 * 64);
}

static void buddies_halve_and_merge_back(void **state)
{
    (void)state;
    struct lab_heap lab;
    const struct lab_choices small = {.heap_bytes = 512, .min_block = 32};
    open_heap(&lab, "buddy", &small);
    char *const start = lab.space.brk.start;
    char *a = take(&lab, 20), *b = take(&lab, 50), *c = take(&lab, 200);
    assert_ptr_equal(a, start);
    assert_ptr_equal(b, start + 64);
    assert_ptr_equal(c, start + 256);
    assert_ptr_equal(take(&lab, 32), start + 32); /* the buddy of a */
    assert_null(ration_heap_alloc(lab.heap, 129));
    give(&lab, start + 32);
    give(&lab, b);
    give(&lab, a);
    give(&lab, c);
    assert_ptr_equal(take(&lab, 512), start);
    lab_close(&lab);
}

static void zones_map_wholesale_and_large_ones_alone(void **state)
{
    (void)state;
    struct lab_heap lab;
    open_heap(&lab, "zones", NULL);
    char *first = take(&lab, 128);
    assert_int_equal(lab.space.n_system_calls, 1);
    for (int i = 1; i < 100; i++)
        take(&lab, 128);
    assert_int_equal(lab.space.n_system_calls, 1);
    take(&lab, 1024);
    assert_int_equal(lab.space.n_system_calls, 2);
    char *large = take(&lab, 1025);
    assert_int_equal(lab.space.n_system_calls, 3);
    const size_t before = lab.space.mapped_bytes;
    give(&lab, large);
    assert_true(lab.space.mapped_bytes < before);
    assert_int_equal(lab.space.n_system_calls, 4);
    give(&lab, first);
    assert_int_equal(lab.space.n_system_calls, 4);
    assert_ptr_equal(take(&lab, 100), first);
    lab_close(&lab);
}

static void ptmalloc_has_fast_bins_and_a_map_threshold(void **state)
{
    (void)state;
    struct lab_heap lab;
    open_heap(&lab, "ptmalloc", NULL);
    char *a = take(&lab, 24), *b = take(&lab, 24);
    assert_int_equal(b - a, 32);
    take(&lab, 24);
    give(&lab, a);
    give(&lab, b);
    assert_ptr_equal(take(&lab, 24), b); /* last in, first out, and not merged */
    assert_ptr_equal(take(&lab, 24), a);
    assert_int_equal(lab.space.mapped_bytes, 0);
    char *large = take(&lab, 200 * 1024);
    assert_true(lab.space.mapped_bytes > 200 * 1024);
    give(&lab, large);
    assert_int_equal(lab.space.mapped_bytes, 0);
    take(&lab, 200 * 1024); /* the threshold has moved with the first one */
    assert_int_equal(lab.space.mapped_bytes, 0);
    lab_close(&lab);
}

static void slabs_have_no_headers(void **state)
{
    (void)state;
    struct lab_heap lab;
    open_heap(&lab, "slab", NULL);
    char *a = take(&lab, 48), *b = take(&lab, 33), *c = take(&lab, 16), *d = take(&lab, 1);
    assert_int_equal(b - a, 48);
    assert_int_equal(d - c, 16);
    give(&lab, a);
    assert_ptr_equal(take(&lab, 40), a);
    lab_close(&lab);
}

/* A slab whose slots are all free serves any other size. */
static void an_empty_slab_changes_its_size(void **state)
{
    (void)state;
    struct lab_heap lab;
    open_heap(&lab, "slab", NULL);
    char *small[64], *guard = take(&lab, 2000);
    for (int i = 0; i < 64; i++)
        small[i] = take(&lab, 64);
    take(&lab, 2000);
    const size_t heap = space_bytes(&lab.space);
    for (int i = 0; i < 64; i++)
        give(&lab, small[i]);
    take(&lab, 3000);
    assert_true(space_bytes(&lab.space) <= heap);
    give(&lab, guard);
    lab_close(&lab);
}

/* The exercise of the course: 20 do not fit although 48 are free. */
static void the_naive_list_fails_the_exercise(void **state)
{
    (void)state;
    struct lab_result result;
    const struct lab_choices choices = {.heap_bytes = 100, .alignment = 1};
    replay_generated(&result, strategy_find("naive"), &choices, "course9");
    assert_int_equal(result.n_failures, 1);
    assert_string_equal(result.failure, "FAIL 20 (free 48 in 3 pieces, largest 16)");
}

/* ---- all of them, verified --------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

/* A linear list takes minutes for the crowded patterns; the largest go through slabs
 * only. */
static bool is_quick(const char *strategy, const char *generator)
{
    static const char *const linear[] = {"implicit",  "first-fit", "next-fit", "best-fit",
                                         "worst-fit", "zones",     "naive",    NULL};
    static const char *const crowded[] = {"syn-string", "syn-mix", "aging", NULL};
    static const char *const large[] = {"swiss", "needle", "syn-array", "syn-struct", NULL};
    if (is_one_of(generator, large))
        return strcmp(strategy, "slab") == 0;
    return !is_one_of(generator, crowded) || !is_one_of(strategy, linear);
}

static void assert_adds_up(const struct lab_result *result, const struct lab_moment *moment,
                           const char *generator)
{
    if (moment->payload + moment->slack + moment->overhead + moment->free_bytes !=
        moment->heap_bytes)
        fail_msg("%s on %s: the parts of the heap do not add up", result->strategy->name,
                 generator);
}

static void check_result(const struct lab_result *result, const char *generator)
{
    const char *name = result->strategy->name;
    if (result->outcome != LAB_DONE)
        fail_msg("%s on %s: outcome %d, %s", name, generator, result->outcome, result->text);
    if (result->peak_heap < result->peak_payload)
        fail_msg("%s on %s: the heap is smaller than its payload", name, generator);
    if (result->n_failures == 0 && result->ceiling_heap > result->peak_heap)
        fail_msg("%s on %s: above its ceiling", name, generator);
    if (result->n_failures > 0 && strcmp(generator, "largemem") != 0)
        fail_msg("%s on %s: %s", name, generator, result->failure);
    assert_adds_up(result, &result->at_peak, generator);
    assert_adds_up(result, &result->at_end, generator);
}

static void every_strategy_passes_every_pattern(void **state)
{
    (void)state;
    for (size_t i = 0; strategy_at(i) != NULL; i++) {
        const struct lab_strategy *strategy = strategy_at(i);
        for (size_t k = 0; generator_at(k) != NULL && !strategy->is_process; k++) {
            const char *generator = generator_name(generator_at(k));
            struct lab_result result;
            if (!is_quick(strategy->name, generator))
                continue;
            replay_generated(&result, strategy, NULL, generator);
            check_result(&result, generator);
        }
    }
}

static void every_choice_of_the_fit_heap_passes(void **state)
{
    (void)state;
    static const char *const orders[] = {"lifo", "address", "size", "implicit"};
    static const char *const times[] = {"immediate", "deferred", "never"};
    static const char *const patterns[] = {"lesson", "short", "binary2", "seglist", "random"};
    for (int order = 0; order < 4; order++) {
        for (int time = 0; time < 3; time++) {
            for (int flags = 0; flags < 4; flags++) {
                const struct lab_choices choices = {.order = orders[order],
                                                    .coalesce = times[time],
                                                    .no_split = (flags & 1) != 0,
                                                    .alignment = (flags & 2) != 0 ? 8 : 16};
                struct lab_result result;
                replay_generated(&result, strategy_find("first-fit"), &choices,
                                 patterns[(order + time + flags) % 5]);
                check_result(&result, "a choice");
            }
        }
    }
}

/* ---- targets ----------------------------------------------------------------------------- */

static void classic_patterns_reach_their_targets(void **state)
{
    (void)state;
    static const struct {
        const char *strategy, *generator;
        double utilisation;
    } cases[] = {
        {"slab", "binary", 0.97},
        {"slab", "binary2", 0.97},
        {"slab", "coalescing", 0.99},
        {"implicit", "coalescing", 0.99},
        {"first-fit", "coalescing", 0.99},
        {"next-fit", "coalescing", 0.99},
        {"best-fit", "coalescing", 0.99},
        {"segregated-fit", "coalescing", 0.99},
        {"tlsf", "coalescing", 0.99},
        {"implicit", "realloc", 0.95},
        {"first-fit", "realloc", 0.95},
        {"next-fit", "realloc", 0.95},
        {"best-fit", "realloc", 0.95},
        {"worst-fit", "realloc", 0.95},
        {"segregated-fit", "realloc", 0.95},
        {"tlsf", "realloc", 0.95},
        {"slab", "realloc", 0.95},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lab_result result;
        replay_generated(&result, strategy_find(cases[i].strategy), NULL, cases[i].generator);
        if (lab_utilisation(&result) < cases[i].utilisation)
            fail_msg("%s on %s: %.4f, expected %.2f", cases[i].strategy, cases[i].generator,
                     lab_utilisation(&result), cases[i].utilisation);
    }
}

/* Powers of two lose half on sizes just above them; the fit policies lose next to nothing. */
static void rounding_to_powers_of_two_loses_half(void **state)
{
    (void)state;
    struct lab_result buckets, best;
    replay_generated(&buckets, strategy_find("buckets"), NULL, "worst-pow2");
    replay_generated(&best, strategy_find("best-fit"), NULL, "worst-pow2");
    assert_true(lab_utilisation(&buckets) > 0.49 && lab_utilisation(&buckets) < 0.51);
    assert_true(lab_utilisation(&best) > 0.99);
}

/* Constant time: the most steps of one operation do not depend on how many blocks there are. */
static void bounded_strategies_stay_within_their_bounds(void **state)
{
    (void)state;
    static const char *const patterns[] = {"syn-mix", "seglist", "aging"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct lab_result result;
        replay_generated(&result, strategy_find("tlsf"), NULL, patterns[i]);
        assert_true(result.alloc_steps_max <= 6 && result.free_steps_max <= 6);
        replay_generated(&result, strategy_find("buddy"), NULL, patterns[i]);
        assert_true(result.alloc_steps_max <= 64 && result.free_steps_max <= 64);
        replay_generated(&result, strategy_find("buckets"), NULL, patterns[i]);
        assert_true(result.alloc_steps_max <= 2 && result.free_steps_max <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_chooses_its_hole),
        cmocka_unit_test(next_fit_goes_on_where_it_was),
        cmocka_unit_test(next_fit_goes_on_behind_a_whole_hole),
        cmocka_unit_test(lifo_order_serves_the_last_freed),
        cmocka_unit_test(headers_cost_eight_bytes),
        cmocka_unit_test(neighbours_merge_in_every_order),
        cmocka_unit_test(without_coalescing_nothing_merges),
        cmocka_unit_test(without_splitting_a_hole_goes_whole),
        cmocka_unit_test(buckets_round_up_and_serve_the_last_freed),
        cmocka_unit_test(buckets_starve_beside_plenty),
        cmocka_unit_test(buddies_halve_and_merge_back),
        cmocka_unit_test(zones_map_wholesale_and_large_ones_alone),
        cmocka_unit_test(ptmalloc_has_fast_bins_and_a_map_threshold),
        cmocka_unit_test(slabs_have_no_headers),
        cmocka_unit_test(an_empty_slab_changes_its_size),
        cmocka_unit_test(the_naive_list_fails_the_exercise),
        cmocka_unit_test(every_strategy_passes_every_pattern),
        cmocka_unit_test(every_choice_of_the_fit_heap_passes),
        cmocka_unit_test(classic_patterns_reach_their_targets),
        cmocka_unit_test(rounding_to_powers_of_two_loses_half),
        cmocka_unit_test(bounded_strategies_stay_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
