/* cache/refill: every slot of every narrow class handed out exactly once, in masks; frees come back;
 * and what is said to be zero is zero, whether the slab is fresh, made of dirty memory, or purged
 * in part. */
#include "cache/cache.h"

#include "slab/shelf.h"
#include "span/span.h"
#include "support/heap.h"

#include <string.h>

enum { LIVE_MAX = 20000 };

static void *live[LIVE_MAX];
static size_t live_count;
static struct cache *cache;

static void open_heap(void)
{
    fake_os_install();
    REQUIRE(span_open(&no_slab));
    cache = cache_acquire();
    live_count = 0;
}

/* A refill as malloc sees it; checks the mask it brings. */
static bool refill(unsigned c)
{
    struct bin *bin = &cache->bins[c];
    if (!cache_refill(cache, c))
        return false;
    const struct slab *s = cache->bins[c].slab;
    REQUIRE(bin->mask != 0 && cache_check(cache) == 0 && slab_check(s) == 0);
    REQUIRE(s->place == SLAB_LEASED && bin->size == size_classes[s->class_index].size);
    REQUIRE(highest_bit(bin->mask) + cache->bins[c].group * GROUP_SLOTS < s->slots);
    if (bin->is_zero) {
        for (uint64_t rest = bin->mask; rest != 0; rest &= rest - 1) {
            const uint64_t *slot =
                (const uint64_t *)(bin->base + bin->size * (size_t)lowest_bit(rest));
            for (size_t i = 0; i < bin->size / sizeof *slot; i++)
                REQUIRE(slot[i] == 0);
        }
    }
    return true;
}

/* Takes a slot and dirties all of it. */
static unsigned char *take(unsigned c)
{
    struct bin *bin = &cache->bins[c];
    if (bin->mask == 0 && !refill(c))
        return NULL;
    unsigned char *p = bin_take(bin);
    memset(p, 0xa5, bin->size);
    return p;
}

static void give(void *p)
{
    struct slab *s = slab_of((uintptr_t)p);
    size_t slot = slot_of(s, (uintptr_t)p);
    REQUIRE(slot < s->slots && s->states[slot] == SLOT_LIVE);
    s->states[slot] = SLOT_FREE;
    if (hint_take_one_is_negative(&s->till))
        shelf_event((uintptr_t)p);
}

/* Two slabs' worth of slots: each once, each at a slot's start. */
static void hand_out_once(void *arg)
{
    (void)arg;
    static uint8_t seen[2 * SLOTS_MAX];
    open_heap();
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        unsigned slots = size_classes[c].slots;
        const struct slab *slabs[2] = {NULL, NULL};
        memset(seen, 0, sizeof seen);
        for (unsigned i = 0; i < 2 * slots; i++) {
            uintptr_t p = (uintptr_t)take(c);
            const struct slab *s = slab_of(p);
            int which = slabs[0] == NULL || slabs[0] == s ? 0 : 1;
            REQUIRE(slabs[which] == NULL || slabs[which] == s);
            slabs[which] = s;
            size_t slot = slot_of(s, p);
            REQUIRE(slot < slots && !seen[(unsigned)which * SLOTS_MAX + slot]);
            seen[(unsigned)which * SLOTS_MAX + slot] = 1;
        }
        REQUIRE(slab_count_free(slabs[0]) == 0 && slab_count_free(slabs[1]) == 0);
        REQUIRE(slabs[0]->place == SLAB_FULL && cache->bins[c].slab == slabs[1]);
    }
}

static void test_once(void **state)
{
    (void)state;
    require_in_child(hand_out_once, NULL);
}

/* In a fresh slab, masks are rows of neighbouring slots from the lowest on, and zero memory. The first does not touch a
 * second page if the first one holds a dozen slots. */
static void look_at_fresh_masks(void *arg)
{
    (void)arg;
    open_heap();
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        struct bin *bin = &cache->bins[c];
        unsigned next = 0;
        while (next < size_classes[c].slots) {
            REQUIRE(refill(c));
            if (cache->bins[c].slab->fresh)
                REQUIRE(bin->is_zero);
            unsigned first = cache->bins[c].group * GROUP_SLOTS;
            REQUIRE(first + lowest_bit(bin->mask) == next);
            unsigned n = count_bits(bin->mask);
            uint64_t row = n == GROUP_SLOTS ? UINT64_MAX : ((uint64_t)1 << n) - 1;
            REQUIRE(bin->mask >> lowest_bit(bin->mask) == row);
            size_t on_page = ((size_t)1 << page_shift) / bin->size;
            REQUIRE(next > 0 || n == min_size(on_page, batch_of(size_classes[c].size)) ||
                    on_page < 12);
            while (bin->mask != 0)
                memset(bin_take(bin), 1, bin->size);
            next += n;
        }
    }
}

static void test_fresh_masks(void **state)
{
    (void)state;
    require_in_child(look_at_fresh_masks, NULL);
}

static void take_some(unsigned c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        live[i] = take(c);
}

/* The rest of the mask, for ever. */
static void use_up_mask(unsigned c)
{
    while (cache->bins[c].mask != 0)
        take(c);
}

/* All slots of a slab into live, so that its mask is empty. Returns their count. */
static unsigned take_slab(unsigned c)
{
    unsigned slots = size_classes[c].slots;
    take_some(c, slots);
    REQUIRE(cache->bins[c].mask == 0);
    return slots;
}

/* A slab keeps what it can offer: with all but a few of a leased slab's slots freed again, the same
 * slab serves on. */
static void rewind_to_frees(void *arg)
{
    (void)arg;
    open_heap();
    for (unsigned c = 0; c < WIDE_FIRST; c += 3) {
        unsigned slots = take_slab(c);
        const struct slab *s = cache->bins[c].slab;
        for (unsigned i = 0; i < slots; i++)
            give(live[i]);
        for (unsigned i = 0; i < slots; i++)
            REQUIRE(slab_of((uintptr_t)take(c)) == s);
    }
}

static void test_rewind(void **state)
{
    (void)state;
    require_in_child(rewind_to_frees, NULL);
}

static unsigned free_in_group(const struct bin *bin)
{
    return count_zero_bytes(bin->slab->states + (size_t)bin->group * GROUP_SLOTS, GROUP_SLOTS);
}

/* Of a slab all of whose slots were handed out, each stride-th is freed: the slots in the mask that comes next. */
static unsigned mask_after_frees(unsigned c, unsigned stride)
{
    struct bin *bin = &cache->bins[c];
    unsigned slots = take_slab(c);
    for (unsigned i = 0; i < slots; i += stride)
        give(live[i]);
    REQUIRE(refill(c));
    unsigned n = count_bits(bin->mask);
    REQUIRE(n <= free_in_group(bin));
    return n;
}

/* A batch where slots lie close, all of the group where they are sparse: a mask of few costs as much. */
static void look_at_density(void *arg)
{
    (void)arg;
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        open_heap();
        unsigned n = mask_after_frees(c, 1);
        REQUIRE(n == min_size(batch_of(size_classes[c].size), free_in_group(&cache->bins[c])));
        open_heap();
        n = mask_after_frees(c, 4);
        REQUIRE(n == free_in_group(&cache->bins[c]));
    }
}

static void test_density(void **state)
{
    (void)state;
    require_in_child(look_at_density, NULL);
}

/* The course that the slow path sets after a mask that is not warm: never beyond the last group of which slots were offered,
 * and into that one, too. */
static void require_course(const struct bin *bin)
{
    unsigned opened = bin->slab->opened;
    unsigned groups = (opened + GROUP_SLOTS - 1) / GROUP_SLOTS;
    unsigned in_last = opened % GROUP_SLOTS;
    REQUIRE(bin->stop <= groups);
    if (bin->step == 1 && bin->group + 2U == groups) {
        REQUIRE(bin->stop == groups);
        REQUIRE(bin->offered == (in_last == 0 ? UINT64_MAX : ((uint64_t)1 << in_last) - 1));
    }
}

/* `taken` slots of a slab, of which every second one is freed: all masks of these. */
static void walk_masks(unsigned c, unsigned taken)
{
    open_heap();
    struct bin *bin = &cache->bins[c];
    take_some(c, taken);
    use_up_mask(c);
    for (unsigned i = 0; i < taken; i += 2)
        give(live[i]);
    const struct slab *s = bin->slab;
    unsigned group;
    while (bin->slab == s) {
        bool is_fast = bin_look(bin, &group) != 0;
        REQUIRE(refill(c));
        if (!is_fast)
            require_course(bin);
        use_up_mask(c);
    }
}

static void look_at_courses(void *arg)
{
    (void)arg;
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        walk_masks(c, size_classes[c].slots);
        walk_masks(c, size_classes[c].slots * 2 / 3);
    }
}

static void test_course(void **state)
{
    (void)state;
    require_in_child(look_at_courses, NULL);
}

/* Slots freed behind a mask are no reason to stay while they are fewer than a batch and than eight. */
static void look_at_few_warm(void *arg)
{
    (void)arg;
    unsigned c = class_of(600);
    open_heap();
    mask_after_frees(c, 2);
    struct bin *bin = &cache->bins[c];
    unsigned group = bin->group;
    use_up_mask(c);
    REQUIRE(free_in_group(bin) < 8);
    unsigned char *first = (unsigned char *)bin->base;
    for (unsigned i = 0; free_in_group(bin) < 7; i++) {
        if (bin->states[i] == SLOT_LIVE)
            give(first + (size_t)i * bin->size);
    }
    REQUIRE(cache_refill_slow(cache, c) && bin->group != group);
}

static void test_few_warm(void **state)
{
    (void)state;
    require_in_child(look_at_few_warm, NULL);
}

static void look(struct slab *s, void *arg)
{
    *(size_t *)arg += s->slots - slab_count_free(s);
    REQUIRE(slab_check(s) == 0);
}

static void check_all(void)
{
    size_t counted = 0;
    REQUIRE(cache_check(cache) == 0 && span_check() == 0);
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        shelf_visit(c, look, &counted);
        if (cache->bins[c].slab != NULL)
            look(cache->bins[c].slab, &counted);
    }
    REQUIRE(counted == live_count); /* no slot lost, none invented */
}

/* A life of all classes with dirty, fresh and purged memory, failing purges too. */
static void live_at_random(void *arg)
{
    open_heap();
    struct chance chance = {chance_seed() + *(unsigned *)arg};
    fake.fail_entries = ENTRY_BIT(ENTRY_PAGES_PURGE);
    for (int step = 0; step < 60000; step++) {
        size_t what = chance_below(&chance, 1000);
        bool grows = step / 6000 % 2 == 0;
        fake.fail_at = fake.counted + chance_below(&chance, 3);
        if (live_count < LIVE_MAX && (live_count == 0 || what < (grows ? 600 : 350))) {
            unsigned c =
                (unsigned)chance_below(&chance, chance_below(&chance, 4) == 0 ? WIDE_FIRST : 12);
            live[live_count++] = take(c);
        } else if (what < 980) {
            size_t i = chance_below(&chance, live_count);
            give(live[i]);
            live[i] = live[--live_count];
        } else if (what < 995) {
            heap_purge_class((unsigned)chance_below(&chance, WIDE_FIRST));
        } else if (what < 997) {
            cache_return_leases(cache);
        }
        if (step % 500 == 0)
            check_all();
    }
    while (live_count > 0)
        give(live[--live_count]);
    cache_return_leases(cache);
    check_all();
}

static void test_random_life(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        require_in_child(live_at_random, &i);
}

static void refuse_memory(void *arg)
{
    (void)arg;
    open_heap();
    live[live_count++] = take(39); /* the map of the window's first units exists from here on */
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    void *p;
    while ((p = take(39)) != NULL)
        live[live_count++] = p;
    REQUIRE(live_count > 100 && cache->bins[39].slab == NULL && cache->bins[39].mask == 0);
    check_all();
    give(live[--live_count]); /* one slot is not enough for a slab to be ready, but the sweep may
                                 find it */
    for (int i = 0; i < 40; i++)
        give(live[--live_count]);
    REQUIRE((p = take(39)) != NULL);
    live[live_count++] = p;
    check_all();
}

static void test_out_of_memory(void **state)
{
    (void)state;
    require_in_child(refuse_memory, NULL);
}

/* The thread's own cache goes on with a slab of the next class; who asks for an alignment, or for another thread, does not. */
static void stand_in(void *arg)
{
    (void)arg;
    open_heap();
    enum { C = 30 };
    struct slab *longer = shelf_lease(C + 1, COMMON_SHELF, false);
    longer->opened = longer->slots;
    longer->states[3] = SLOT_LIVE;
    shelf_return(longer);
    REQUIRE(refill(C) && cache->bins[C].slab->class_index == C);
    cache_return_leases(cache);
    my_cache = cache;
    cache->bins[C].size = 0;
    REQUIRE(shelf_lease(C, COMMON_SHELF, false)->class_index == C); /* its ready one */
    unsigned char *p = take(C);
    REQUIRE(cache->bins[C].slab == longer && (uintptr_t)p == longer->base);
    REQUIRE(cache->bins[C].window ==
            ~(uint64_t)0 >> (GROUP_SLOTS - batch_of(size_classes[C + 1].size)));
    for (int i = 0; i < 20; i++)
        REQUIRE(slab_of((uintptr_t)take(C)) == longer);
    REQUIRE(longer->states[2] == SLOT_LIVE && cache_check_all() == 0);
    REQUIRE(cache_refill_exact(cache, C) && cache->bins[C].slab->class_index == C);
    REQUIRE(longer->place == SLAB_READY && cache_check_all() == 0 && shelf_check(C + 1) == 0);
    REQUIRE(!cache_refill_exact(&late_cache, C));
}

static void test_stand_ins(void **state)
{
    (void)state;
    require_in_child(stand_in, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),          cmocka_unit_test(test_fresh_masks),
        cmocka_unit_test(test_rewind),        cmocka_unit_test(test_random_life),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_stand_ins),
        cmocka_unit_test(test_density),       cmocka_unit_test(test_few_warm),
        cmocka_unit_test(test_course),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
