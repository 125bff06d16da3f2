#include "core/sample.h"

#include "core/fence.h"
#include "core/life.h"

enum { SAMPLES_MAX = 4096 }; /* live at once: 4 pages of memory and tables each at most */

/* Among variables that every process touches: each slow path reads it, and shall bring no page more for that. */
uint32_t sample_every __attribute__((section(".data")));

static uint64_t chance = 0x9e3779b97f4a7c15U; /* hint: two threads may draw the same */
static uint32_t large_left;                   /* hint: large blocks until the next sample */

void sample_begin(uint32_t every)
{
    os->random(&chance, sizeof chance);
    chance |= 1;
    sample_every = every;
    fence_begin();
    if (every != 0 && life_cache() != NULL)
        fence_keep_callers();
    if (every != 0 && my_cache->is_owned)
        cache_return_leases(my_cache);
}

/* From 1 to twice `mean` less one, each as likely. xorshift64 (Marsaglia, 2003). */
static uint32_t draw_distance(uint32_t mean)
{
    uint64_t x = atomic_load_relaxed(&chance);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    atomic_store_relaxed(&chance, x);
    return 1 + (uint32_t)((x >> 32) % (2 * (uint64_t)mean - 1));
}

static void choose_if_new(struct cache *cache)
{
    if (cache->until_sample == 0)
        cache->until_sample = draw_distance(sample_every);
}

static uint64_t lowest_bits(uint64_t mask, uint32_t n)
{
    uint64_t rest = mask;
    for (; n > 0; n--)
        rest &= rest - 1;
    return mask & ~rest;
}

/* until_sample counts the sample itself: at 1 the next allocation is it. */
void sample_refill(struct cache *cache, struct bin *bin)
{
    choose_if_new(cache);
    uint32_t slots = count_bits(bin->mask);
    uint32_t before = cache->until_sample - 1;
    if (before != 0 && before < slots) {
        bin->mask = lowest_bits(bin->mask, before);
        slots = before;
    }
    cache->until_sample -= min_size(before, slots);
    bin->stop = 0; /* the next refill comes by the slow path, too */
}

bool sample_is_due(struct cache *cache)
{
    choose_if_new(cache);
    bool is_due = cache->until_sample == 1;
    if (is_due)
        cache->until_sample = draw_distance(sample_every);
    return is_due;
}

bool sample_count_one(struct cache *cache)
{
    bool is_due = sample_is_due(cache);
    if (!is_due)
        cache->until_sample--;
    return is_due;
}

bool sample_large(uint32_t every)
{
    uint32_t left = atomic_load_relaxed(&large_left);
    bool is_due = left <= 1;
    atomic_store_relaxed(&large_left, is_due ? draw_distance(every) : left - 1);
    return is_due;
}

void *sample_alloc(size_t n, size_t align, bool zero)
{
    if (fence_live_count() >= SAMPLES_MAX)
        return NULL;
    enum fence_place place =
        (atomic_load_relaxed(&chance) & 7) == 0 ? FENCE_AT_START : FENCE_AT_END;
    return fence_alloc(n, align, place, true, zero);
}
