/* Each numbered invariant of each kind is broken once, and the checker must name exactly that
 * number. */
#include "kit.h"

#include "heaps/arena_internal.h"
#include "heaps/buddy_internal.h"
#include "heaps/fit_internal.h"
#include "heaps/passthrough.h"
#include "heaps/pool_internal.h"
#include "heaps/tlsf_internal.h"

#include <stdlib.h>
#include <string.h>

static char buffer[32768] __attribute__((aligned(4096)));

static void require_found(const struct ration_heap *heap, unsigned number)
{
    struct ration_finding finding;
    unsigned found = ration_heap_check(heap, &finding);
    if (found != number) {
        print_error("%s: expected I%u, found I%u (%s)\n", ration_heap_kind(heap), number, found,
                    finding.text);
        fail();
    }
    assert_non_null(finding.text);
}

/* Breaks one byte, word or pointer, requires the finding, and mends it. */
#define BREAK(heap, place, wrong, number)                                                          \
    do {                                                                                           \
        __typeof__(place) right_ = (place);                                                        \
        (place) = (wrong);                                                                         \
        require_found((heap), (number));                                                           \
        (place) = right_;                                                                          \
        require_found((heap), 0);                                                                  \
    } while (0)

/* --- rows of tagged blocks: fit and TLSF give different numbers to the same things --- */

static uintptr_t tag_of(const void *block)
{
    return (uintptr_t)block - TAG_BYTES;
}

/* blocks: live, free, live, free, live, … of 96 bytes each. */
static void make_holes(struct ration_heap *heap, void **blocks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        blocks[i] = ration_heap_alloc(heap, 88);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 1; i < n; i += 2)
        ration_heap_free(heap, blocks[i]);
    require_found(heap, 0);
}

static void break_row(struct ration_heap *heap, const struct ration_row *row, void **blocks,
                      const struct row_numbers *n)
{
    uintptr_t live = tag_of(blocks[2]);
    uintptr_t empty = tag_of(blocks[3]);
    uint64_t flags = tag_flags(live);
    BREAK(heap, *tag_at(live), tag_seal(row, live, (uint64_t)1 << 30 | flags), n->fills);
    BREAK(heap, *tag_at(live), *tag_at(live) ^ (uint64_t)1 << 50, n->sound);
    BREAK(heap, *tag_at(live), tag_seal(row, live, (tag_size(live) + 8) | flags), n->size);
    BREAK(heap, *tag_at(live), tag_seal(row, live, 8 | flags), n->size);
    BREAK(heap, *tag_at(live), tag_seal(row, live, tag_size(live) | (flags ^ TAG_PREV_LIVE)),
          n->prev);
    BREAK(heap, *tag_at(live), tag_seal(row, live, tag_size(live) | (flags ^ TAG_PREV_MINI)),
          n->prev);
    uintptr_t footer = empty + tag_size(empty) - TAG_BYTES;
    BREAK(heap, *tag_at(footer), *tag_at(footer) + 16, n->footer);
    uintptr_t mark = row_end_mark(row);
    BREAK(heap, *tag_at(mark), tag_seal(row, mark, tag_flags(mark) & ~TAG_LIVE), n->fills);
    if (n->merged == 0)
        return;
    /* The live block between two free ones becomes free, as if nobody had merged it. */
    char saved[512];
    uintptr_t from = tag_of(blocks[1]);
    memcpy(saved, (void *)from, sizeof saved);
    row_put_free(row, live, tag_size(live), flags);
    require_found(heap, n->merged);
    memcpy((void *)from, saved, sizeof saved);
    require_found(heap, 0);
}

static void break_counters(struct ration_heap *heap, struct ration_heap_stats *s, unsigned number)
{
    BREAK(heap, s->live_blocks, s->live_blocks + 1, number);
    BREAK(heap, s->live_usable_bytes, s->live_usable_bytes + 8, number);
    BREAK(heap, s->heap_bytes, s->heap_bytes + 1, number);
}

static void break_links(struct ration_heap *heap, uintptr_t first, uintptr_t second,
                        unsigned number)
{
    BREAK(heap, *tag_prev_link(second), *tag_prev_link(second) + 2, number);
    BREAK(heap, *tag_prev_link(first), *tag_prev_link(first) + 2, number);
}

static void sees_every_fault_of_fit(void **state)
{
    (void)state;
    struct ration_fit fit;
    struct ration_fit_options o = {.policy = RATION_FIT_BEST, .order = RATION_FIT_ADDRESS};
    struct ration_heap *heap = ration_fit_init(&fit, buffer, sizeof buffer, &o);
    void *blocks[9];
    make_holes(heap, blocks, 9);
    break_row(heap, &fit.row, blocks, &(struct row_numbers){1, 2, 3, 4, 5, 6});
    uintptr_t first = tag_of(blocks[1]);
    uintptr_t second = tag_of(blocks[3]);
    uintptr_t third = tag_of(blocks[5]);
    /* I7: a list ends early, runs in a circle, or holds a live block. */
    BREAK(heap, *tag_next_link(first), 0, 7);
    BREAK(heap, *tag_next_link(second), row_link(&fit.row, tag_of(blocks[2])), 7);
    BREAK(heap, *tag_next_link(second), 0xffffffffU, 7);
    break_links(heap, first, second, 8);
    /* I9: the second and the first change places, with all links right. */
    uint32_t a = row_link(&fit.row, first), b = row_link(&fit.row, second),
             c = row_link(&fit.row, third);
    fit.first[0] = b;
    *tag_prev_link(second) = 0, *tag_next_link(second) = a;
    *tag_prev_link(first) = b, *tag_next_link(first) = c;
    *tag_prev_link(third) = a;
    require_found(heap, 9);
    fit.first[0] = a;
    *tag_prev_link(first) = 0, *tag_next_link(first) = b;
    *tag_prev_link(second) = a, *tag_next_link(second) = c;
    *tag_prev_link(third) = b;
    require_found(heap, 0);
    BREAK(heap, fit.nonempty[0], 0, 10);
    BREAK(heap, fit.nonempty[3], (uint64_t)1 << 63, 10);
    BREAK(heap, fit.rover, row_link(&fit.row, tag_of(blocks[2])), 10);
    BREAK(heap, fit.rover, row_link(&fit.row, second) + 1, 10);
    break_counters(heap, &fit.stats, 11);
    BREAK(heap, fit.stats.free_blocks, fit.stats.free_blocks - 1, 11);
    BREAK(heap, fit.stats.free_bytes, fit.stats.free_bytes + 16, 11);
    BREAK(heap, fit.stats.foreign_bytes, 1, 11);
    ration_heap_destroy(heap);
}

static void sees_a_block_in_the_wrong_list(void **state)
{
    (void)state;
    struct ration_fit fit;
    struct ration_heap *heap = ration_fit_init(&fit, buffer, sizeof buffer, NULL);
    void *blocks[4];
    make_holes(heap, blocks, 4); /* the last hole merged with the rest */
    unsigned list = ration_fit_list_of(&fit, 96);
    assert_int_not_equal(fit.first[list], 0);
    fit.first[list + 1] = fit.first[list];
    fit.first[list] = 0;
    require_found(heap, 10);
    fit.nonempty[list / 64] ^= (uint64_t)3 << (list % 64);
    require_found(heap, 7);
}

static void sees_every_fault_of_tlsf(void **state)
{
    (void)state;
    struct ration_tlsf tlsf;
    struct ration_heap *heap = ration_tlsf_init(&tlsf, buffer, sizeof buffer, NULL);
    void *blocks[9];
    make_holes(heap, blocks, 9);
    break_row(heap, &tlsf.row, blocks, &(struct row_numbers){1, 2, 3, 4, 4, 5});
    struct list_index list = list_of(96);
    uint32_t *head = &tlsf.first[list.level][list.step];
    uintptr_t first = row_tag(&tlsf.row, *head);
    uintptr_t second = row_tag(&tlsf.row, *tag_next_link(first));
    BREAK(heap, *tag_next_link(second), 0, 6);
    BREAK(heap, *tag_next_link(second), row_link(&tlsf.row, tag_of(blocks[2])), 6);
    BREAK(heap, *tag_next_link(second), 0xffffffffU, 6);
    break_links(heap, first, second, 7);
    BREAK(heap, tlsf.second_level[list.level], 0, 8);
    BREAK(heap, tlsf.second_level[20], 1, 8);
    BREAK(heap, tlsf.first_level, 0, 8);
    BREAK(heap, tlsf.first_level, tlsf.first_level | 1U << 25, 8);
    break_counters(heap, &tlsf.stats, 9);
    ration_heap_destroy(heap);
}

static void sees_every_fault_of_private(void **state)
{
    (void)state;
    struct ration_private own;
    struct ration_heap *heap = ration_private_init(&own, NULL);
    void *blocks[9];
    make_holes(heap, blocks, 9);
    break_row(heap, &own.fit.row, blocks, &(struct row_numbers){1, 2, 3, 4, 5, 6});
    break_counters(heap, &own.fit.stats, 11);
    BREAK(heap, own.used_bytes, own.used_bytes + 16, 12);
    BREAK(heap, own.usable_bytes, 4096, 12);
    BREAK(heap, own.reserved_bytes, 4096, 12);
    ration_heap_destroy(heap);
}

/* --- buddy --- */

static void sees_every_fault_of_buddy(void **state)
{
    (void)state;
    struct ration_buddy buddy;
    struct ration_heap *heap = ration_buddy_init(&buddy, buffer, sizeof buffer, NULL);
    char *blocks[8];
    for (int i = 0; i < 8; i++)
        blocks[i] = ration_heap_alloc(heap, 64);
    for (int i = 1; i < 8; i += 2)
        ration_heap_free(heap, blocks[i]);
    require_found(heap, 0);
    size_t live = (uintptr_t)blocks[2] - buddy.base;
    size_t empty = (uintptr_t)blocks[3] - buddy.base;
    BREAK(heap, *entry_at(&buddy, live), ENTRY_INSIDE, 1);
    BREAK(heap, *entry_at(&buddy, live), (ENTRY_LIVE | ENTRY_FREE | 6), 1);
    BREAK(heap, *entry_at(&buddy, live), (ENTRY_LIVE | 4), 1);
    BREAK(heap, *entry_at(&buddy, live + 32), (ENTRY_LIVE | 5), 1);
    BREAK(heap, *entry_at(&buddy, empty), (ENTRY_FREE | 7), 2);  /* 128 bytes, but only at 64 */
    BREAK(heap, *entry_at(&buddy, 16384), (ENTRY_FREE | 14), 2); /* past the end */
    struct ration_buddy_node *first = buddy.first[6];
    struct ration_buddy_node *second = first->next;
    BREAK(heap, second->next, NULL, 3);
    BREAK(heap, second->next, (struct ration_buddy_node *)(void *)blocks[2], 3);
    BREAK(heap, second->next, (struct ration_buddy_node *)(void *)&buddy, 3);
    BREAK(heap, second->prev, second, 4);
    BREAK(heap, *entry_at(&buddy, live), (ENTRY_FREE | 6), 5); /* its buddy is free too */
    BREAK(heap, buddy.nonempty, buddy.nonempty & ~((uint64_t)1 << 6), 6);
    BREAK(heap, buddy.nonempty, buddy.nonempty | (uint64_t)1 << 40, 6);
    BREAK(heap, buddy.stats.live_blocks, 99, 7);
    BREAK(heap, buddy.stats.free_bytes, 99, 7);
    BREAK(heap, buddy.stats.live_usable_bytes, 99, 7);
    BREAK(heap, buddy.stats.free_blocks, 99, 7);
    ration_heap_destroy(heap);
}

/* --- pool, arena, stacks, passthrough --- */

static void sees_every_fault_of_pool(void **state)
{
    (void)state;
    struct ration_pool pool;
    struct ration_pool_options o = {
        .object_bytes = 48, .n_objects = 20, .buffer = buffer, .buffer_bytes = sizeof buffer};
    struct ration_heap *heap = ration_pool_init(&pool, &o);
    void *objects[8];
    for (int i = 0; i < 8; i++)
        objects[i] = ration_pool_alloc(&pool);
    for (int i = 0; i < 6; i += 2)
        ration_pool_free(&pool, objects[i]);
    require_found(heap, 0);
    BREAK(heap, pool.chunks[0]->first, 1, 1);
    BREAK(heap, pool.chunks[0]->n, 19, 1);
    BREAK(heap, pool.capacity, 21, 1);
    BREAK(heap, pool.n_used, 21, 2);
    BREAK(heap, pool.head, 2, 3);                            /* number 1 is live */
    BREAK(heap, pool.head, 12, 3);                           /* number 11 is fresh */
    BREAK(heap, *link_at(&pool, 0), (uint32_t)pool.head, 3); /* a circle */
    BREAK(heap, *link_at(&pool, 4), 1, 4);                   /* one is left out */
    BREAK(heap, pool.head, 0, 4);
    BREAK(heap, pool.n_allocs, 100, 5);
    BREAK(heap, pool.n_frees, 0, 5);
    ration_heap_destroy(heap);
}

static void sees_every_fault_of_arena(void **state)
{
    (void)state;
    struct ration_arena arena;
    struct ration_arena_options o = {.buffer = buffer,
                                     .buffer_bytes = 4096,
                                     .source = ration_source_malloc(),
                                     .chunk_bytes = 4096};
    struct ration_heap *heap = ration_arena_init(&arena, &o);
    void *blocks[100];
    for (int i = 0; i < 100; i++)
        blocks[i] = ration_heap_alloc(heap, 100);
    for (int i = 1; i < 99; i += 2)
        ration_heap_free(heap, blocks[i]);
    require_found(heap, 0);
    assert_true(arena.first != arena.current && arena.first->next != NULL);
    BREAK(heap, arena.cursor, arena.cursor + 1, 1);
    BREAK(heap, arena.cursor, arena.current->end + 16, 1);
    BREAK(heap, arena.cursor, arena.current->blocks - 16, 1);
    BREAK(heap, arena.first->cursor, arena.first->cursor + 8, 1);
    struct ration_arena_chunk unlisted = *arena.current;
    BREAK(heap, arena.current, &unlisted, 1);
    BREAK(heap, arena.first->starts[0], arena.first->starts[0] & ~(uint64_t)1, 2);
    BREAK(heap, arena.first->freed[0], arena.first->freed[0] | 2, 3);
    size_t last =
        find_set_below(arena.current->starts, index_of(&arena, arena.current, arena.cursor) - 1);
    uint64_t *freed = &arena.current->freed[last / WORD_BITS];
    BREAK(heap, *freed, *freed | (uint64_t)1 << (last % WORD_BITS), 4);
    BREAK(heap, arena.stats.heap_bytes, arena.stats.heap_bytes - 1, 5);
    BREAK(heap, arena.first->bytes, SIZE_MAX / 2, 5);
    assert_true(arena.cursor < arena.limit);
    BREAK(heap, arena.limit, arena.cursor - 16, 6);
    BREAK(heap, arena.limit, arena.current->end + 16, 6);
    size_t next = index_of(&arena, arena.current, arena.cursor);
    uint64_t *starts = &arena.current->starts[next / WORD_BITS];
    BREAK(heap, *starts, *starts | (uint64_t)1 << (next % WORD_BITS), 6);
    freed = &arena.current->freed[next / WORD_BITS];
    BREAK(heap, *freed, *freed | (uint64_t)1 << (next % WORD_BITS), 6);
    ration_heap_destroy(heap);
}

static void sees_every_fault_of_stacks(void **state)
{
    (void)state;
    struct ration_stacks stacks;
    struct ration_stacks_options o = {.n_stacks = 10, .stack_bytes = 4096};
    struct ration_heap *heap = ration_stacks_init(&stacks, &o);
    void *taken[6];
    for (int i = 0; i < 6; i++)
        taken[i] = ration_heap_alloc(heap, 1);
    ration_heap_free(heap, taken[0]);
    ration_heap_free(heap, taken[4]);
    require_found(heap, 0);
    BREAK(heap, stacks.first_free, 2, 1); /* live */
    BREAK(heap, stacks.first_free, 9, 1); /* fresh */
    BREAK(heap, stacks.entries[0], 5, 1); /* a circle */
    BREAK(heap, stacks.first_free, 1, 2); /* one is left out */
    BREAK(heap, stacks.stats.live_blocks, 5, 3);
    BREAK(heap, stacks.stats.live_usable_bytes, 5, 3);
    ration_heap_destroy(heap);
}

static void sees_every_fault_of_passthrough(void **state)
{
    (void)state;
    struct ration_tlsf tlsf;
    ration_heaps_passthrough(true);
    struct ration_heap *heap = ration_tlsf_init(&tlsf, buffer, sizeof buffer, NULL);
    ration_heaps_passthrough(false);
    assert_non_null(ration_heap_alloc(heap, 10));
    require_found(heap, 0);
    BREAK(heap, heap->through->stats.live_blocks, 2, 1);
    BREAK(heap, heap->through->requested_bytes, 11, 1);
    ration_heap_destroy(heap);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_every_fault_of_fit),
        cmocka_unit_test(sees_a_block_in_the_wrong_list),
        cmocka_unit_test(sees_every_fault_of_tlsf),
        cmocka_unit_test(sees_every_fault_of_private),
        cmocka_unit_test(sees_every_fault_of_buddy),
        cmocka_unit_test(sees_every_fault_of_pool),
        cmocka_unit_test(sees_every_fault_of_arena),
        cmocka_unit_test(sees_every_fault_of_stacks),
        cmocka_unit_test(sees_every_fault_of_passthrough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
