/* cache/cache: acquiring, releasing, recycling, resting; C1 to C6 broken on purpose. */
#include "cache/cache.h"

#include "area/records.h"
#include "slab/shelf.h"
#include "span/span.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>

static void open_heap(void)
{
    fake_os_install();
    REQUIRE(span_open(&no_slab));
}

static void *take(struct cache *cache, unsigned c)
{
    return cache_take(cache, c);
}

static void count_cache(struct cache *cache, void *arg)
{
    (void)cache;
    ++*(int *)arg;
}

static int caches_made(void)
{
    int n = 0;
    cache_visit(count_cache, &n);
    return n;
}

static void recycle(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *a = cache_acquire();
    struct cache *b = cache_acquire();
    REQUIRE(a != NULL && b != NULL && a != b && a->in_use && b->in_use && caches_made() == 2);
    REQUIRE(cache_check(a) == 0);
    void *block = take(a, 7);
    struct slab *s = slab_of((uintptr_t)block);
    REQUIRE(s->place == SLAB_LEASED && a->bins[7].slab == s);
    cache_release(a);
    REQUIRE(!a->in_use && a->bins[7].slab == NULL && a->bins[7].mask == 0 && cache_check(a) == 0);
    REQUIRE(s->place == SLAB_READY && slab_check(s) == 0); /* at once for every other thread */
    REQUIRE(take(b, 7) != block && b->bins[7].slab == s);
    REQUIRE(cache_acquire() == a && caches_made() == 2);
    REQUIRE(cache_check(a) == 0 && cache_check(b) == 0);
}

static void test_recycle(void **state)
{
    (void)state;
    require_in_child(recycle, NULL);
}

struct cpus {
    unsigned count, shelves;
};

/* The first thread has the common shelves while it is alone; then all take turns at the others. */
static void give_shelves(void *arg)
{
    const struct cpus *cpus = arg;
    open_heap();
    fake.cpu_count = cpus->count;
    struct cache *first = cache_acquire();
    REQUIRE(first->shelf == COMMON_SHELF);
    void *block = take(first, 7);
    struct slab *s = slab_of((uintptr_t)block);
    REQUIRE(s->shelf == COMMON_SHELF);
    for (unsigned i = 1; i < 2 * cpus->shelves; i++) {
        struct cache *next = cache_acquire();
        REQUIRE(first->shelf == 1 && next->shelf == i % cpus->shelves + 1);
        take(next, 7);
        REQUIRE(next->bins[7].slab->shelf == next->shelf);
    }
    REQUIRE(s->shelf == COMMON_SHELF); /* until its next lease */
    cache_return_leases(first);
    take(first, 7);
    REQUIRE(first->bins[7].slab == s && s->shelf == 1);
}

/* A cache for whose shelves there is no memory shares those of the one before. */
static void share_shelves(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *a = cache_acquire();
    struct cache *b = cache_acquire();
    REQUIRE(a->shelf == 1 && b->shelf == 2);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    while (records_take(CACHE_LINE) != NULL)
        ;
    REQUIRE(records.area_used == 0);
    records.first_used -= sizeof *a; /* room for a cache */
    struct cache *c = cache_acquire();
    REQUIRE(c != NULL && c->shelf == 2 && take(c, 7) == NULL);
    REQUIRE(cache_acquire() == NULL && cache_check_all() == 0);
    fake.refuse = 0;
    REQUIRE(cache_acquire()->shelf == 3 && take(c, 7) != NULL && c->bins[7].slab->shelf == 2);
}

static void test_shelves(void **state)
{
    (void)state;
    struct cpus machines[] = {{1, 8}, {2, 8}, {3, 12}, {32, 128}, {1000, 128}};
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        require_in_child(give_shelves, &machines[i]);
    require_in_child(share_shelves, NULL);
}

static void return_leases(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *cache = cache_acquire();
    void *blocks[WIDE_FIRST];
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        blocks[c] = take(cache, c);
        REQUIRE(blocks[c] != NULL);
    }
    cache_return_leases(cache);
    REQUIRE(cache->in_use && cache_check(cache) == 0);
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        struct slab *s = slab_of((uintptr_t)blocks[c]);
        REQUIRE(s->place == SLAB_READY && slab_count_free(s) == s->slots - 1U &&
                slab_check(s) == 0);
        REQUIRE(cache->bins[c].slab == NULL && cache->bins[c].mask == 0);
    }
    REQUIRE(take(cache, 0) != NULL); /* it may be used on */
    cache_return_leases(cache);
    cache_return_leases(cache); /* nothing left to return */
}

static void test_return_leases(void **state)
{
    (void)state;
    require_in_child(return_leases, NULL);
}

static void release_all_but_one(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *mine = cache_acquire();
    struct cache *other = cache_acquire();
    struct cache *third = cache_acquire();
    struct slab *kept = slab_of((uintptr_t)take(mine, 3));
    struct slab *given = slab_of((uintptr_t)take(other, 3));
    cache_release(third);
    cache_release_all_but(mine);
    REQUIRE(mine->in_use && !other->in_use && !third->in_use);
    REQUIRE(kept->place == SLAB_LEASED && given->place == SLAB_READY);
}

static void test_release_all_but(void **state)
{
    (void)state;
    require_in_child(release_all_but_one, NULL);
}

enum { W = WIDE_FIRST + 3 };

/* The cache keeps n slots of class W. */
static void keep(struct cache *cache, unsigned n)
{
    void *p[KEPT_MAX];
    for (unsigned i = 0; i < n; i++)
        p[i] = take(cache, W);
    for (unsigned i = 0; i < n; i++) {
        struct slab *s = slab_of((uintptr_t)p[i]);
        s->states[slot_starting_at(s, (uintptr_t)p[i])] = SLOT_KEPT;
        REQUIRE(keep_put(cache, s, p[i]) == 0);
    }
}

/* Its leases wait for the next thread. */
static void rest(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *a = cache_acquire();
    void *p = take(a, 7);
    void *q = take(a, 7);
    struct slab *s = slab_of((uintptr_t)p);
    REQUIRE(take(a, WIDE_FIRST) != NULL);
    size_t slot = slot_of(s, (uintptr_t)q);
    s->states[slot] = SLOT_FREE;
    s->till--;
    uint64_t mask = a->bins[7].mask;
    REQUIRE(cache_rest(a, true) == size_classes[7].size);
    REQUIRE(!a->in_use && a->bins[7].slab == s && s->place == SLAB_LEASED);
    REQUIRE(cache_check_all() == 0);
    REQUIRE(cache_acquire() == a && a->in_use && caches_made() == 1 && cache_check_all() == 0);
    REQUIRE(a->bins[7].mask == mask && slab_of((uintptr_t)take(a, 7)) == s);
    s->till -= 10 * s->slots; /* as if its slots were freed again and again */
    REQUIRE(cache_rest(a, false) == (size_t)s->opened * size_classes[7].size);
    REQUIRE(a->bins[7].slab == NULL && !a->in_use && cache_check_all() == 0); /* it may not */
}

/* It keeps no slots of wide slabs. */
static void rest_without_slots(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *a = cache_acquire();
    keep(a, 2);
    const struct slab *s = slab_of((uintptr_t)a->bins[W].kept[0]);
    cache_rest(a, true);
    REQUIRE(a->bins[W].n_kept == 0 && slab_count_live(s) == 0 && cache_check_all() == 0);
}

/* One a processor rests; of these the last is the first to go on. */
static void rest_few(void *arg)
{
    const unsigned *cpus = arg;
    open_heap();
    fake.cpu_count = *cpus;
    struct cache *all[40];
    for (unsigned i = 0; i < 40; i++) {
        all[i] = cache_acquire();
        take(all[i], 7);
    }
    unsigned most = (unsigned)max_size(2, min_size(*cpus, 32));
    for (unsigned i = 0; i < 40; i++) {
        cache_rest(all[i], true);
        REQUIRE((all[i]->bins[7].slab != NULL) == (i < most) && !all[i]->in_use);
    }
    REQUIRE(cache_check_all() == 0);
    for (unsigned i = most; i-- > 0;)
        REQUIRE(cache_acquire() == all[i] && all[i]->bins[7].slab != NULL);
    const struct cache *empty = cache_acquire();
    REQUIRE(empty->bins[7].slab == NULL && cache_check_all() == 0);
    cache_rest(all[0], true); /* there is room again */
    REQUIRE(all[0]->bins[7].slab != NULL && caches_made() == 40 && cache_check_all() == 0);
}

/* A pass ends the rest of the old ones; they are as good as before, but empty. */
static void end_rests(void *arg)
{
    (void)arg;
    open_heap();
    fake.cpu_count = 3;
    struct cache *all[3];
    struct slab *slabs[3];
    for (int i = 0; i < 3; i++) {
        all[i] = cache_acquire();
        slabs[i] = slab_of((uintptr_t)take(all[i], 7));
    }
    fake.now_ms = UINT32_MAX - 150; /* the low half of the clock turns over */
    for (int i = 0; i < 3; i++) {
        cache_rest(all[i], true);
        fake.now_ms += 100;
    }
    REQUIRE(!cache_end_rests(fake.now_ms, 301) && all[0]->bins[7].slab == slabs[0]);
    REQUIRE(cache_end_rests(fake.now_ms, 200));
    REQUIRE(all[0]->bins[7].slab == NULL && slabs[0]->place == SLAB_READY);
    REQUIRE(all[1]->bins[7].slab == NULL && all[2]->bins[7].slab == slabs[2]);
    REQUIRE(!all[0]->in_use && !all[1]->in_use && cache_check_all() == 0);
    REQUIRE(cache_acquire() == all[2]);
    REQUIRE(!cache_end_rests(fake.now_ms, 0));
    struct cache *one = cache_acquire();
    struct cache *other = cache_acquire();
    REQUIRE(one != other && one->in_use && other->in_use && caches_made() == 3 &&
            cache_check_all() == 0);
    cache_rest(one, true);
    cache_release_all_but(all[2]);
    REQUIRE(!one->in_use && !other->in_use && cache_check_all() == 0);
}

static void test_rest(void **state)
{
    (void)state;
    unsigned cpus[] = {1, 2, 3, 32, 1000};
    require_in_child(rest, NULL);
    require_in_child(rest_without_slots, NULL);
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
        require_in_child(rest_few, &cpus[i]);
    require_in_child(end_rests, NULL);
}

static void break_waiting(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *resting = cache_acquire();
    struct cache *empty = cache_acquire();
    take(resting, 7);
    struct bin leased_bin = resting->bins[7];
    cache_rest(resting, true);
    cache_release(empty);
    REQUIRE(cache_check_all() == 0);
    empty->in_use = true;
    REQUIRE(cache_check_all() == 5);
    empty->in_use = false;
    resting->in_use = true;
    REQUIRE(cache_check_all() == 5);
    resting->in_use = false;
    empty->next_waiting = resting; /* on both lists, and has a lease */
    REQUIRE(cache_check_all() == 5);
    empty->next_waiting = empty; /* without an end */
    REQUIRE(cache_check_all() == 5);
    empty->next_waiting = NULL;
    empty->bins[7] = leased_bin;
    REQUIRE(cache_check_all() == 5);
    empty->bins[7] = (struct bin){.mask = 0};
    resting->bins[W].n_kept = 1;
    REQUIRE(cache_check_all() == 5);
    resting->bins[W].n_kept = 0;
    REQUIRE(cache_check_all() == 0);
}

static void test_c5_waiting(void **state)
{
    (void)state;
    require_in_child(break_waiting, NULL);
}

static void acquire_without_memory(void *arg)
{
    (void)arg;
    open_heap();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    int n = 0;
    while (cache_acquire() != NULL)
        n++;
    REQUIRE(n > 10 && caches_made() == n); /* the built-in block of records holds some */
    fake.refuse = 0;
    REQUIRE(cache_acquire() != NULL && caches_made() == n + 1);
}

static void test_acquire_without_memory(void **state)
{
    (void)state;
    require_in_child(acquire_without_memory, NULL);
}

static void refill_the_empty_ones(void *arg)
{
    (void)arg;
    open_heap();
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        REQUIRE(cache_take(&no_cache, c) == NULL && cache_take(&late_cache, c) == NULL);
        REQUIRE(no_cache.bins[c].mask == 0 && late_cache.bins[c].mask == 0);
        REQUIRE(no_cache.bins[c].slab == NULL && late_cache.bins[c].slab == NULL);
    }
}

static void test_empty_caches_stay_empty(void **state)
{
    (void)state;
    require_in_child(refill_the_empty_ones, NULL);
}

static struct cache *mine;
static struct slab *leased;
enum { C = 10 };

static int make_mine(void **state)
{
    (void)state;
    open_heap();
    mine = cache_acquire();
    take(mine, C);
    leased = mine->bins[C].slab;
    assert_int_equal(cache_check(mine), 0);
    assert_int_not_equal(mine->bins[C].mask, 0);
    return 0;
}

static void test_c1_mask(void **state)
{
    (void)state;
    unsigned slot = lowest_bit(mine->bins[C].mask);
    leased->states[slot] = SLOT_LIVE;
    assert_int_equal(cache_check(mine), 1);
    leased->states[slot] = SLOT_FREE;
    uint16_t opened = leased->opened;
    leased->opened = (uint16_t)slot;
    assert_int_equal(cache_check(mine), 1);
    leased->opened = opened;
    assert_int_equal(cache_check(mine), 0);
}

static void test_c2_bin(void **state)
{
    (void)state;
    struct bin *bin = &mine->bins[C];
    struct bin good = *bin;
    bin->states += 1;
    assert_int_equal(cache_check(mine), 2);
    *bin = good;
    bin->base += 16;
    assert_int_equal(cache_check(mine), 2);
    *bin = good;
    bin->size += 16;
    assert_int_equal(cache_check(mine), 2);
    *bin = good;
    mine->bins[C].group++;
    assert_int_equal(cache_check(mine), 2);
    mine->bins[C].group--;
    mine->bins[C + 1].mask = 1; /* slots, but no slab */
    assert_int_equal(cache_check(mine), 2);
    mine->bins[C + 1].mask = 0;
    assert_int_equal(cache_check(mine), 0);
}

static void test_c3_lease(void **state)
{
    (void)state;
    for (int place = SLAB_RETIRED; place <= SLAB_HELD; place++) {
        leased->place = (uint8_t)place;
        assert_int_equal(cache_check(mine), place == SLAB_LEASED ? 0 : 3);
    }
    leased->place = SLAB_LEASED;
    mine->bins[C + 1].slab = leased; /* of another class */
    assert_int_equal(cache_check(mine), 3);
    mine->bins[C + 1].slab = NULL;
    mine->bins[C - 1] = mine->bins[C]; /* which may hold its blocks, but not for both */
    assert_int_equal(cache_check(mine), 0);
    assert_int_equal(cache_check_all(), 3);
    mine->bins[C - 1] = (struct bin){.mask = 0};
    assert_int_equal(cache_check(mine), 0);
}

static void test_c3_two_lessees(void **state)
{
    (void)state;
    assert_int_equal(cache_check_all(), 0);
    struct cache *other = cache_acquire();
    other->bins[C] = mine->bins[C];
    assert_int_equal(cache_check(other), 0);
    assert_int_equal(cache_check_all(), 3);
    other->bins[C] = (struct bin){.mask = 0};
    mine->bins[C].group++; /* what is wrong in one cache is told, too */
    assert_int_equal(cache_check_all(), 2);
    mine->bins[C].group--;
    assert_int_equal(cache_check_all(), 0);
}

static void break_kept(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *cache = cache_acquire();
    struct bin *bin = &cache->bins[W];
    keep(cache, 2);
    REQUIRE(bin->n_kept == 2 && cache_check(cache) == 0 && cache_check_all() == 0);
    struct bin good = *bin;
    struct slab *s = slab_of((uintptr_t)bin->kept[0]);
    bin->mask = 1;
    REQUIRE(cache_check(cache) == 4);
    *bin = good;
    bin->stop = 1;
    REQUIRE(cache_check(cache) == 4);
    *bin = good;
    bin->n_kept = KEPT_MAX + 1;
    REQUIRE(cache_check(cache) == 4);
    *bin = good;
    bin->kept[1] = (char *)bin->kept[1] + 16; /* no slot begins there */
    REQUIRE(cache_check(cache) == 4);
    bin->kept[1] = &good; /* nor is this a slab's */
    REQUIRE(cache_check(cache) == 4);
    *bin = good;
    s->states[slot_starting_at(s, (uintptr_t)bin->kept[0])] = SLOT_FREE;
    REQUIRE(cache_check(cache) == 4);
    s->states[slot_starting_at(s, (uintptr_t)bin->kept[0])] = SLOT_KEPT;
    REQUIRE(cache_check(cache) == 0);
    cache->bins[W + 1].kept[0] = bin->kept[0]; /* of another class */
    cache->bins[W + 1].n_kept = 1;
    REQUIRE(cache_check(cache) == 4);
    cache->bins[W + 1].n_kept = 0;
    cache->bins[3].n_kept = 1; /* narrow */
    REQUIRE(cache_check(cache) == 4);
    cache->bins[3].n_kept = 0;
    bin->kept[1] = bin->kept[0]; /* twice */
    REQUIRE(cache_check(cache) == 0 && cache_check_all() == 4);
    *bin = good;
    struct cache *other = cache_acquire();
    REQUIRE(cache_check_all() == 0);
    other->bins[W].kept[0] = good.kept[1]; /* by two caches */
    other->bins[W].n_kept = 1;
    REQUIRE(cache_check(other) == 0 && cache_check_all() == 4);
}

static void test_c4_kept(void **state)
{
    (void)state;
    require_in_child(break_kept, NULL);
}

static uintptr_t take_run(size_t bytes)
{
    bool is_zero;
    void *p = span_alloc(bytes, 1, RUN_LARGE, &is_zero);
    REQUIRE(p != NULL);
    return (uintptr_t)p;
}

/* It goes when its thread does, or rests. */
static void break_pocket(void *arg)
{
    (void)arg;
    open_heap();
    struct cache *cache = cache_acquire();
    cache->pocket.is_open = true;
    REQUIRE(pocket_put(&cache->pocket, take_run(KIB(32))) != 0 && cache_check_all() == 0);
    struct pocket good = cache->pocket;
    cache->pocket.lengths = 0;
    REQUIRE(cache_check(cache) == 0 && cache_check_all() == 6);
    cache->pocket = good;
    cache->pocket.is_open = false;
    REQUIRE(cache_check(cache) == 6);
    cache->pocket = good;
    cache->in_use = false; /* on no list, and a run in its pocket */
    REQUIRE(cache_check_all() == 5);
    cache->in_use = true;
    cache_release(cache);
    REQUIRE(cache_check_all() == 0 && span_dirty_bytes() == KIB(32));
    REQUIRE(cache_acquire() == cache);
    REQUIRE(pocket_put(&cache->pocket, take_run(KIB(32))) != 0);
    cache_rest(cache, true);
    REQUIRE(cache_check_all() == 0 && span_dirty_bytes() == KIB(32));
}

static void test_c6_pocket(void **state)
{
    (void)state;
    require_in_child(break_pocket, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recycle),
        cmocka_unit_test(test_shelves),
        cmocka_unit_test(test_return_leases),
        cmocka_unit_test(test_release_all_but),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_acquire_without_memory),
        cmocka_unit_test(test_empty_caches_stay_empty),
        cmocka_unit_test_setup(test_c1_mask, make_mine),
        cmocka_unit_test(test_c2_bin),
        cmocka_unit_test(test_c3_lease),
        cmocka_unit_test(test_c3_two_lessees),
        cmocka_unit_test(test_c4_kept),
        cmocka_unit_test(test_c5_waiting),
        cmocka_unit_test(test_c6_pocket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
