/* core/harden: what the levels do to places, contents and sizes; H1 and H2. */
#include "core/harden.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "support/heap.h"

#include <string.h>

static void start(enum harden level)
{
    fake_os_install();
    heap_go_on_after_misuse();
    REQUIRE(harden_begin(level) && harden_level == level);
}

static uint8_t state_of(const void *p)
{
    const struct slab *s = slab_of((uintptr_t)p);
    return s->states[((uintptr_t)p - s->base) / size_classes[s->class_index].size];
}

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

static void fast_level(void *arg)
{
    (void)arg;
    start(HARDEN_FAST);
    char *p = malloc_fast(100);
    REQUIRE(p != NULL && my_cache == &hard_cache && slab_is_guarded(slab_of((uintptr_t)p)));
    REQUIRE(core_usable(p, "x") == 112 && state_of(p) == SLOT_LIVE);
    memset(p, 1, 112);
    free_fast(p);
    REQUIRE(state_of(p) == SLOT_HELD_BACK && is_zero(p, 112)); /* H2 */
    for (int i = 0; i < 50; i++) {
        char *q = malloc_fast(100);
        REQUIRE(q != p);
        free_fast(q);
    }
    harden_drain(life_cache());
    REQUIRE(state_of(p) == SLOT_FREE && cache_check(life_cache()) == 0);
}

/* How many of some blocks lie right behind the one before. */
static int count_neighbours(size_t n)
{
    enum { BLOCKS = 64 };
    int neighbours = 0;
    char *before = malloc_fast(n);
    size_t size = core_usable(before, "x");
    for (int i = 0; i < BLOCKS; i++) {
        char *p = malloc_fast(n);
        REQUIRE(p != NULL && core_usable(p, "x") == size);
        neighbours += p == before + size;
        before = p;
    }
    return neighbours;
}

/* One in eight or so would be by chance. */
static void random_places(void *arg)
{
    (void)arg;
    start(HARDEN_FAST);
    REQUIRE(count_neighbours(16) < 40);
    REQUIRE(count_neighbours(3000) < 40);
    REQUIRE(cache_check(life_cache()) == 0);
}

static void full_level(void *arg)
{
    (void)arg;
    start(HARDEN_FULL);
    static const size_t sizes[] = {0, 1, 7, 8, 9, 16, 100, 1000, 4096, 16376, 16377, 16384, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        char *p = malloc_fast(n);
        REQUIRE(p != NULL && core_usable(p, "x") >= n);
        REQUIRE(core_usable(p, "x") == n);
        REQUIRE(core_good_size(n) == core_usable(p, "x"));
        memset(p, 0xee, n);
        p = core_realloc(p, n + 50, "realloc");
        for (size_t k = 0; k < n; k++)
            REQUIRE((uint8_t)p[k] == 0xee);
        free_fast(p);
    }
    for (size_t align = 32; align <= 65536; align *= 2) {
        void *p = core_aligned(align, align - 8);
        REQUIRE(p != NULL && (uintptr_t)p % align == 0);
        free_fast(p);
    }
}

/* H1 by looking at every FREE slot of a class after random use. */
static void zero_when_free(void *arg)
{
    (void)arg;
    start(HARDEN_FULL);
    struct chance chance = {chance_seed()};
    char *live[300] = {0};
    for (int i = 0; i < 20000; i++) {
        size_t k = chance_below(&chance, 300);
        free_fast(live[k]);
        live[k] = malloc_fast(200);
        memset(live[k], 0xaa, 200);
    }
    harden_drain(life_cache());
    const struct slab *s = slab_of((uintptr_t)live[0]);
    uint32_t size = size_classes[s->class_index].size;
    for (unsigned i = 0; i < s->slots; i++)
        REQUIRE(s->states[i] != SLOT_FREE ||
                is_zero((const char *)s->base + (size_t)i * size, size));
}

/* Blocks from before are freed as ever, and their slabs hand out no more. */
static void blocks_from_before(void *arg)
{
    (void)arg;
    fake_os_install();
    char *early = malloc_fast(64);
    memset(early, 3, 64);
    REQUIRE(harden_begin(HARDEN_FULL));
    const struct slab *s = slab_of((uintptr_t)early);
    REQUIRE(!slab_is_guarded(s) && core_usable(early, "x") == 64);
    for (int i = 0; i < 5000; i++)
        REQUIRE(slab_of((uintptr_t)malloc_fast(64)) != s);
    char *moved = core_realloc(early, 100, "realloc");
    REQUIRE(moved != NULL && moved[63] == 3 && core_usable(moved, "x") == 100);
    REQUIRE(state_of(early) == SLOT_FREE && s->place == SLAB_HELD);
}

static void test_fast(void **state)
{
    (void)state;
    require_in_child(fast_level, NULL);
    require_in_child(random_places, NULL);
}

static void test_full(void **state)
{
    (void)state;
    require_in_child(full_level, NULL);
}

static void test_zero_when_free(void **state)
{
    (void)state;
    require_in_child(zero_when_free, NULL);
}

static void test_blocks_from_before(void **state)
{
    (void)state;
    require_in_child(blocks_from_before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_zero_when_free),
        cmocka_unit_test(test_blocks_from_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
