/* inspect/walk: each live block is visited once, in order, in whole and in parts, also while other
 * threads go on. */
#include "inspect/walk.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "core/harden.h"
#include "support/heap.h"

#include <pthread.h>

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
    walk_blocks(0, SIZE_MAX, note, &all);
    REQUIRE(seen_count == held && all.bytes == bytes);
    /* in parts: every cut gives the same */
    seen_count = 0;
    uintptr_t end = window.base + window.unit_count * UNIT_BYTES;
    struct visit_state parts = {0, 0};
    for (uintptr_t at = window.base; at < end; at += 777777)
        walk_blocks(at, 777777, note, &parts);
    REQUIRE(seen_count == held && parts.bytes == bytes);
    /* a range of one byte finds the block that starts there, and only it */
    for (int i = 0; i < LIVE; i += 97) {
        if (live[i] == NULL)
            continue;
        struct visit_state one = {0, 0};
        seen_count = 0;
        walk_blocks((uintptr_t)live[i], 1, note, &one);
        walk_blocks((uintptr_t)live[i] + 1, 15, note, &one);
        REQUIRE(seen_count == 1 && one.last == (uintptr_t)live[i]);
    }
}

static void test_visit(void **state)
{
    (void)state;
    require_in_child(visit_all, NULL);
}

struct public_walk {
    uintptr_t last;
    size_t blocks;
    size_t bytes;
    size_t stop_at;
};

static int see_block(const struct ration_block *block, void *context)
{
    struct public_walk *w = context;
    REQUIRE((uintptr_t)block->address > w->last && block->state == RATION_BLOCK_LIVE);
    REQUIRE(block->payload == block->address && block->bytes == block->usable_bytes);
    REQUIRE(block->requested_bytes == RATION_UNKNOWN);
    w->last = (uintptr_t)block->address;
    w->bytes += block->usable_bytes;
    w->blocks++;
    return w->blocks == w->stop_at ? 7 : 0;
}

static void walk_publicly(void *arg)
{
    (void)arg;
    fake_os_install();
    struct public_walk none = {0, 0, 0, 0};
    REQUIRE(ration_malloc_walk(see_block, &none) == 0 && none.blocks == 0);
    struct chance chance = {chance_seed()};
    fill(&chance);
    size_t bytes = 0;
    for (int i = 0; i < LIVE; i++)
        bytes += core_usable(live[i], "x");
    struct public_walk all = {0, 0, 0, 0};
    REQUIRE(ration_malloc_walk(see_block, &all) == 0);
    REQUIRE(all.bytes == bytes && all.blocks == heap_live_blocks());
    struct public_walk some = {0, 0, 0, 100};
    REQUIRE(ration_malloc_walk(see_block, &some) == 7 && some.blocks == 100);
}

static size_t asked[LIVE];

static int see_requested(const struct ration_block *block, void *context)
{
    for (int i = 0; i < LIVE; i++) {
        if (live[i] == block->address) {
            REQUIRE(block->requested_bytes == asked[i] && block->usable_bytes == asked[i]);
            ++*(size_t *)context;
        }
    }
    return 0;
}

/* Hardened, small blocks know what was asked for. */
static void walk_hardened(void *arg)
{
    (void)arg;
    size_t seen = 0;
    fake_os_install();
    REQUIRE(harden_begin(HARDEN_FULL));
    for (int i = 0; i < LIVE; i++) {
        asked[i] = (size_t)i + 1;
        live[i] = malloc_fast(asked[i]);
    }
    REQUIRE(ration_malloc_walk(see_requested, &seen) == 0 && seen == LIVE);
}

static void test_hardened(void **state)
{
    (void)state;
    require_in_child(walk_hardened, NULL);
}

static void test_public(void **state)
{
    (void)state;
    require_in_child(walk_publicly, NULL);
}

static uint32_t stop;

static void *churn(void *arg)
{
    struct chance chance = {(uintptr_t)arg};
    void *mine[64] = {NULL};
    while (!atomic_load_relaxed(&stop)) {
        size_t k = chance_below(&chance, 64);
        free_fast(mine[k]);
        mine[k] =
            malloc_fast(chance_below(&chance, chance_below(&chance, 16) == 0 ? 400000 : 3000));
    }
    for (size_t k = 0; k < 64; k++)
        free_fast(mine[k]);
    return NULL;
}

struct steady_walk {
    size_t found;
    size_t others;
    uintptr_t last;
};

/* The blocks that nobody touches are seen in every walk, and none twice. */
static int see_steady(const struct ration_block *block, void *context)
{
    struct steady_walk *w = context;
    REQUIRE((uintptr_t)block->address > w->last);
    w->last = (uintptr_t)block->address;
    for (int i = 0; i < LIVE; i += 30) {
        if (live[i] == block->address) {
            w->found++;
            return 0;
        }
    }
    w->others++;
    return 0;
}

static void walk_beside_threads(void *arg)
{
    (void)arg;
    pthread_t threads[3];
    fake_os_install();
    struct chance chance = {chance_seed()};
    fill(&chance);
    size_t kept = 0;
    for (int i = 0; i < LIVE; i++) {
        if (i % 30 != 0)
            free_fast(live[i]);
        else
            kept += live[i] != NULL;
    }
    for (uintptr_t i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
    for (int round = 0; round < 300; round++) {
        struct steady_walk w = {0, 0, 0};
        ration_malloc_walk(see_steady, &w);
        REQUIRE(w.found == kept);
    }
    atomic_store_relaxed(&stop, 1U);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    REQUIRE_SOUND();
}

static void test_threads(void **state)
{
    (void)state;
    require_in_child(walk_beside_threads, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_visit),
        cmocka_unit_test(test_public),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_hardened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
