/* cache/keep: the slot freed last comes first, others go to their shelf, nothing is lost at a thread's end or in a child; a
 * random life of wide slots, with purges. */
#include "cache/cache.h"

#include "slab/shelf.h"
#include "span/span.h"
#include "support/heap.h"

enum { LIVE_MAX = 2000, WIDE = CLASS_COUNT - 1 };

static struct cache *cache;
static unsigned char *live[LIVE_MAX];
static size_t live_count;

static void open_heap(void)
{
    fake_os_install();
    REQUIRE(span_open(&no_slab));
    cache = cache_acquire();
    live_count = 0;
}

static uint8_t *state_of(const void *p)
{
    struct slab *s = slab_of((uintptr_t)p);
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    REQUIRE(slot < s->slots);
    return &s->states[slot];
}

static void give(struct cache *to, void *p)
{
    REQUIRE(*state_of(p) == SLOT_LIVE);
    *state_of(p) = SLOT_KEPT;
    keep_put(to, slab_of((uintptr_t)p), p);
}

static void keep_the_last(void *arg)
{
    (void)arg;
    open_heap();
    struct bin *bin = &cache->bins[WIDE];
    char *p[KEPT_MAX + 2];
    for (int i = 0; i < KEPT_MAX + 2; i++) {
        p[i] = cache_take(cache, WIDE);
        REQUIRE(p[i] != NULL && *state_of(p[i]) == SLOT_LIVE && bin->is_zero);
    }
    for (int i = 0; i < KEPT_MAX + 2; i++) {
        give(cache, p[i]);
        REQUIRE(cache_check(cache) == 0 && slab_check(slab_of((uintptr_t)p[0])) == 0);
    }
    REQUIRE(*state_of(p[0]) == SLOT_FREE && *state_of(p[1]) == SLOT_FREE);
    for (int i = KEPT_MAX + 1; i > 1; i--) {
        REQUIRE(*state_of(p[i]) == SLOT_KEPT);
        REQUIRE(cache_take(cache, WIDE) == p[i] && *state_of(p[i]) == SLOT_LIVE && !bin->is_zero);
    }
    REQUIRE(bin->n_kept == 0 && cache_take(cache, WIDE) == p[0]); /* the shelf's lowest */
    cache_return_leases(cache);
}

static void test_last_freed_first(void **state)
{
    (void)state;
    require_in_child(keep_the_last, NULL);
}

/* Of a slab that was made for another thread a few are kept, while few are kept at all; the others go to the shelf at once, and
 * what was kept stays. */
static void keep_few_of_others(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *other = cache_acquire();
    const struct bin *bin = &other->bins[WIDE];
    char *p[KEPT_OF_OTHERS + KEPT_MAX];
    for (int i = 0; i < KEPT_OF_OTHERS + KEPT_MAX; i++)
        p[i] = cache_take(cache, WIDE);
    REQUIRE(slab_of((uintptr_t)p[0])->made_for == cache->shelf && cache->shelf != other->shelf);
    for (int i = 0; i <= KEPT_OF_OTHERS; i++)
        give(other, p[i]);
    REQUIRE(bin->n_kept == KEPT_OF_OTHERS && *state_of(p[KEPT_OF_OTHERS]) == SLOT_FREE);
    for (int i = 0; i < KEPT_OF_OTHERS; i++)
        REQUIRE(bin->kept[i] == p[i] && *state_of(p[i]) == SLOT_KEPT);
    for (int i = KEPT_OF_OTHERS + 1; i < KEPT_OF_OTHERS + KEPT_MAX; i++)
        give(cache, p[i]);
    REQUIRE(cache->bins[WIDE].n_kept == KEPT_MAX - 1);
    REQUIRE(cache_check_all() == 0);
}

static void test_few_of_others(void **state)
{
    (void)state;
    require_in_child(keep_few_of_others, NULL);
}

/* A thread without a cache of its own keeps nothing. */
static void keep_nowhere(void *arg)
{
    (void)arg;
    open_heap();
    void *p = cache_take(cache, WIDE);
    void *q = cache_take(cache, WIDE);
    give(&late_cache, p);
    REQUIRE(late_cache.bins[WIDE].n_kept == 0 && *state_of(p) == SLOT_FREE);
    REQUIRE(keep_take_from_shelf(&late_cache, WIDE, true) == NULL);
    REQUIRE(keep_take_from_shelf(&late_cache, WIDE, false) == NULL);
    cache->bins[WIDE].is_zero = true;
    REQUIRE(keep_take_from_shelf(cache, WIDE, false) == p && !cache->bins[WIDE].is_zero);
    give(&late_cache, p);
    give(&late_cache, q);
    REQUIRE(slab_of((uintptr_t)q) == &no_slab); /* the slab's last */
}

static void test_no_cache(void **state)
{
    (void)state;
    require_in_child(keep_nowhere, NULL);
}

/* Who frees none takes several at once, and hands them out from below. */
static void take_ahead(void *arg)
{
    (void)arg;
    open_heap();
    char *p[KEPT_MAX + 2];
    for (int i = 0; i < KEPT_MAX + 2; i++)
        p[i] = cache_take(cache, WIDE);
    for (int i = 0; i <= KEPT_MAX; i++)
        give(&late_cache, p[i]);
    REQUIRE(keep_take_from_shelf(cache, WIDE, true) == p[0] && cache->bins[WIDE].n_kept == 0);
    REQUIRE(keep_take_from_shelf(cache, WIDE, false) == p[1]);
    REQUIRE(cache->bins[WIDE].n_kept == KEPT_MAX - 1 && cache_check_all() == 0);
    for (int i = 2; i <= KEPT_MAX; i++)
        REQUIRE(*state_of(p[i]) == SLOT_KEPT && cache_take(cache, WIDE) == p[i]);
    REQUIRE(cache->bins[WIDE].n_kept == 0 && shelf_check(WIDE) == 0);
}

static void test_ahead(void **state)
{
    (void)state;
    require_in_child(take_ahead, NULL);
}

static void end_with_kept(void *arg)
{
    (void)arg;
    open_heap();
    void *p[KEPT_MAX];
    for (int i = 0; i < KEPT_MAX; i++)
        p[i] = cache_take(cache, WIDE);
    struct slab *s = slab_of((uintptr_t)p[0]);
    for (int i = 0; i < KEPT_MAX; i++)
        give(cache, p[i]);
    *state_of(p[1]) =
        SLOT_LIVE; /* as if the thread was just handing it out when its process forked */
    cache_release(cache);
    REQUIRE(cache->bins[WIDE].n_kept == 0 && cache_check(cache) == 0);
    REQUIRE(*state_of(p[0]) == SLOT_FREE && *state_of(p[1]) == SLOT_LIVE);
    REQUIRE(s->place == SLAB_READY && slab_count_free(s) == s->slots - 1U);
    REQUIRE(shelf_check(WIDE) == 0);
}

static void test_end(void **state)
{
    (void)state;
    require_in_child(end_with_kept, NULL);
}

struct count {
    size_t live, kept;
};

static void look(struct slab *s, void *arg)
{
    struct count *count = arg;
    REQUIRE(slab_check(s) == 0);
    for (unsigned i = 0; i < s->slots; i++) {
        count->live += s->states[i] == SLOT_LIVE;
        count->kept += s->states[i] == SLOT_KEPT;
    }
}

static void check_all(const struct cache *other)
{
    struct count count = {0, 0};
    size_t kept = 0;
    REQUIRE(cache_check_all() == 0 && span_check() == 0);
    for (unsigned c = WIDE_FIRST; c < CLASS_COUNT; c++) {
        shelf_visit(c, look, &count);
        REQUIRE(shelf_check(c) == 0);
        kept += cache->bins[c].n_kept + other->bins[c].n_kept;
    }
    REQUIRE(count.live == live_count && count.kept == kept); /* no slot lost, none invented */
}

static unsigned char *take_and_fill(struct cache *from, unsigned c, bool is_exact)
{
    unsigned char *p = is_exact || from->bins[c].n_kept != 0 ? cache_take(from, c)
                                                             : keep_take_from_shelf(from, c, false);
    REQUIRE(p != NULL);
    size_t size = size_classes[slab_of((uintptr_t)p)->class_index].size;
    for (size_t i = 0; i < size && from->bins[c].is_zero; i++)
        REQUIRE(p[i] == 0);
    pattern_write(p, size, (uintptr_t)p);
    return p;
}

static void require_filled(const unsigned char *p)
{
    size_t size = size_classes[slab_of((uintptr_t)p)->class_index].size;
    REQUIRE(pattern_is(p, size, (uintptr_t)p));
}

/* Two caches, whose blocks either frees. */
static void live_at_random(void *arg)
{
    open_heap();
    struct cache *other = cache_acquire();
    struct chance chance = {chance_seed() + *(unsigned *)arg};
    for (int step = 0; step < 30000; step++) {
        size_t what = chance_below(&chance, 1000);
        bool grows = step / 5000 % 2 == 0;
        struct cache *mine = chance_below(&chance, 2) == 0 ? cache : other;
        if (live_count < LIVE_MAX && (live_count == 0 || what < (grows ? 600U : 350U))) {
            unsigned c = WIDE_FIRST + (unsigned)chance_below(&chance, CLASS_COUNT - WIDE_FIRST);
            live[live_count++] = take_and_fill(mine, c, what % 2 == 0);
        } else if (what < 980) {
            size_t i = chance_below(&chance, live_count);
            require_filled(live[i]);
            give(mine, live[i]);
            live[i] = live[--live_count];
        } else if (what < 995) {
            heap_purge_class(WIDE_FIRST +
                             (unsigned)chance_below(&chance, CLASS_COUNT - WIDE_FIRST));
        } else if (what < 997) {
            cache_return_leases(mine);
        }
        if (step % 500 == 0)
            check_all(other);
    }
    while (live_count > 0)
        give(cache, live[--live_count]);
    cache_release(cache);
    cache_release(other);
    check_all(other);
    struct span_counts counts;
    span_count(&counts);
    REQUIRE(counts.runs[RUN_SLAB] == 0);
}

static void test_random_life(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        require_in_child(live_at_random, &i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_freed_first),
        cmocka_unit_test(test_few_of_others),
        cmocka_unit_test(test_no_cache),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_random_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
