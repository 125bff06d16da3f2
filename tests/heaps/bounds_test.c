/* The bounds that headers state, against counted steps, over random and over spiteful sequences;
 * and that counting does not depend on how many blocks there are. */
#include "kit.h"

#include <stdlib.h>

enum { HEAP_BYTES = 8 << 20, N_SLOTS = 40000 };

static char *memory;
static void *slots[N_SLOTS];

static struct ration_heap_stats stats_of(const struct ration_heap *heap)
{
    struct ration_heap_stats s;
    ration_heap_stats(heap, &s);
    return s;
}

static size_t skewed_size(struct chance *chance)
{
    return chance_next(chance) >> (44 + chance_below(chance, 20));
}

static void churn(struct ration_heap *heap, size_t n, size_t most_bytes, size_t most_alignment)
{
    struct chance chance = {chance_seed()};
    for (size_t i = 0; i < n; i++) {
        void **slot = &slots[chance_below(&chance, N_SLOTS)];
        size_t size = skewed_size(&chance) % most_bytes;
        size_t what = chance_below(&chance, 8);
        if (*slot == NULL) {
            size_t alignment = what == 0 ? (size_t)1 << chance_below(&chance, 13) : 16;
            *slot =
                ration_heap_alloc_aligned(heap, alignment <= most_alignment ? alignment : 1, size);
        } else if (what < 2) {
            void *resized = ration_heap_resize(heap, *slot, size);
            *slot = resized != NULL ? resized : *slot;
        } else {
            ration_heap_free(heap, *slot);
            *slot = NULL;
        }
    }
}

/* As many blocks as fit, then every other one free: the most free blocks that no merge can join. */
static size_t comb(struct ration_heap *heap, size_t size)
{
    size_t n = 0;
    while (n < N_SLOTS && (slots[n] = ration_heap_alloc(heap, size)) != NULL)
        n++;
    for (size_t i = 0; i < n; i += 2) {
        ration_heap_free(heap, slots[i]);
        slots[i] = NULL;
    }
    return n;
}

static void forget_slots(void)
{
    for (size_t i = 0; i < N_SLOTS; i++)
        slots[i] = NULL;
}

/* Halves that wait for one small block: the longest chains of splits and merges that there are. */
static void one_byte_in_and_out(struct ration_heap *heap, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *block = ration_heap_alloc(heap, 1);
        assert_non_null(block);
        ration_heap_free(heap, block);
    }
}

static void require_tlsf_bounds(const struct ration_heap *heap)
{
    struct ration_heap_stats s = stats_of(heap);
    assert_in_range(s.alloc_steps.max, 1, RATION_TLSF_ALLOC_STEPS);
    assert_in_range(s.free_steps.max, 1, RATION_TLSF_FREE_STEPS);
    assert_in_range(s.resize_steps.max, 0, RATION_TLSF_RESIZE_STEPS);
}

static void tlsf_takes_constant_time(void **state)
{
    (void)state;
    struct ration_tlsf tlsf;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, memory, HEAP_BYTES, NULL);
    churn(heap, 400000, 70000, 4096);
    require_tlsf_bounds(heap);
    assert_int_equal(stats_of(heap).free_steps.max, RATION_TLSF_FREE_STEPS); /* and it is reached */
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_destroy(heap);
    forget_slots();
    heap = ration_tlsf_init(&tlsf, memory, HEAP_BYTES, NULL);
    assert_in_range(comb(heap, 150), 30000, N_SLOTS);
    churn(heap, 20000, 400, 64);
    require_tlsf_bounds(heap);
    assert_in_range(stats_of(heap).free_blocks, 5000, N_SLOTS); /* there was something to search */
    ration_heap_destroy(heap);
    forget_slots();
}

static void buddy_takes_at_most_its_levels(void **state)
{
    (void)state;
    struct ration_buddy buddy;
    struct ration_heap *heap = ration_buddy_init(&buddy, memory, HEAP_BYTES, NULL);
    unsigned most = ration_buddy_levels(&buddy) + 1;
    one_byte_in_and_out(heap, 10);
    assert_int_equal(stats_of(heap).alloc_steps.max, stats_of(heap).free_steps.max);
    churn(heap, 400000, 70000, 32);
    struct ration_heap_stats s = stats_of(heap);
    assert_in_range(s.alloc_steps.max, 1, most);
    assert_in_range(s.free_steps.max, 1, most);
    assert_in_range(s.resize_steps.max, 1, 3 * most);
    assert_int_equal(ration_heap_check(heap, NULL), 0);
    ration_heap_destroy(heap);
    forget_slots();
    /* A power of two with its table apart: one block of the highest level, and the bound is met
     * exactly. */
    char *table = malloc(RATION_BUDDY_TABLE_BYTES(HEAP_BYTES, 32));
    struct ration_buddy_options o = {.table = table,
                                     .table_bytes = RATION_BUDDY_TABLE_BYTES(HEAP_BYTES, 32)};
    heap = ration_buddy_init(&buddy, memory, HEAP_BYTES, &o);
    assert_int_equal(ration_buddy_levels(&buddy), 18);
    one_byte_in_and_out(heap, 10);
    s = stats_of(heap);
    assert_int_equal(s.alloc_steps.max, ration_buddy_levels(&buddy) + 1);
    assert_int_equal(s.free_steps.max, ration_buddy_levels(&buddy) + 1);
    ration_heap_destroy(heap);
    free(table);
}

/* The fit heap has no constant bound, and says so: the test proves that steps count what is
 * searched. */
static void fit_searches_what_it_says(void **state)
{
    (void)state;
    static const struct {
        enum ration_fit_policy policy;
        bool is_constant;
    } rows[] = {{RATION_FIT_SEGREGATED, true},
                {RATION_FIT_FIRST, false},
                {RATION_FIT_BEST, false},
                {RATION_FIT_WORST, false}};
    for (size_t i = 0; i < 4; i++) {
        struct ration_fit fit;
        struct ration_fit_options o = {.policy = rows[i].policy};
        struct ration_heap *heap = ration_fit_init(&fit, memory, HEAP_BYTES, &o);
        comb(heap, 2000);
        size_t n_free = stats_of(heap).free_blocks;
        assert_in_range(n_free, 2000, 3000);
        ration_heap_alloc(heap, 5000); /* none of them is large enough */
        uint64_t steps = stats_of(heap).alloc_steps.last;
        if (rows[i].is_constant)
            assert_in_range(steps, 1, RATION_FIT_BITMAP_WORDS + 2);
        else
            assert_in_range(steps, n_free, n_free + 1);
        ration_heap_destroy(heap);
        forget_slots();
    }
}

static void arena_takes_one_step(void **state)
{
    (void)state;
    struct ration_arena arena;
    struct ration_arena_options o = {.buffer = memory, .buffer_bytes = HEAP_BYTES};
    struct ration_heap *heap = ration_arena_init(&arena, &o);
    for (int i = 0; i < 10000; i++)
        assert_non_null(ration_heap_alloc(heap, (size_t)i % 500));
    assert_int_equal(stats_of(heap).alloc_steps.max, 1);
    ration_heap_destroy(heap);
}

static int take_memory(void **state)
{
    (void)state;
    memory = aligned_alloc(HEAP_BYTES, HEAP_BYTES);
    return memory == NULL;
}

static int give_memory(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tlsf_takes_constant_time),
        cmocka_unit_test(buddy_takes_at_most_its_levels),
        cmocka_unit_test(fit_searches_what_it_says),
        cmocka_unit_test(arena_takes_one_step),
    };
    return cmocka_run_group_tests(tests, take_memory, give_memory);
}
