#include "cache/cache.h"

#include "area/records.h"
#include "slab/shelf.h"
#include "span/kept.h"

const struct cache no_cache_zeros;
struct cache late_cache;
struct cache hard_cache;
THREAD_LOCAL struct cache *my_cache = &no_cache;

struct cache_list all_caches = {.lock = LOCK_INIT(RANK_CACHES)};

static struct cache *find_unused_locked(void)
{
    struct cache *c = all_caches.first;
    while (c != NULL && c->in_use)
        c = c->next;
    return c;
}

enum { SHELVES_A_CPU = 4, SHELVES_LEAST = 8 };

/* Threads that run at the same time shall seldom share a shelf; but shelves keep memory, and threads may be many. */
static unsigned count_shelves_locked(void)
{
    static unsigned count;
    if (count == 0)
        count = (unsigned)max_size(SHELVES_LEAST,
                                   min_size(os->cpu_count() * (size_t)SHELVES_A_CPU, OWN_SHELVES));
    return count;
}

static bool open_shelves_locked(uint8_t number)
{
    if (!shelf_open(number))
        return false;
    kept_open(number);
    return true;
}

/* A thread that is alone needs no shelves but the common ones. */
static void give_shelves_locked(struct cache *cache)
{
    struct cache *other = cache->next;
    if (other == NULL)
        return;
    if (other->shelf == COMMON_SHELF && open_shelves_locked(1))
        atomic_store_release(&other->shelf, (uint8_t)1);
    uint8_t number = (uint8_t)(other->shelf % count_shelves_locked() + 1);
    cache->shelf = open_shelves_locked(number) ? number : other->shelf;
}

static struct cache *create_locked(void)
{
    struct cache *cache = records_take(sizeof *cache);
    if (cache == NULL)
        return NULL;
    cache->is_owned = true;
    cache->next = all_caches.first;
    give_shelves_locked(cache);
    atomic_store_release(&all_caches.first, cache);
    return cache;
}

struct cache *cache_acquire(void)
{
    lock_take(&all_caches.lock);
    struct cache *cache = find_unused_locked();
    if (cache == NULL)
        cache = create_locked();
    if (cache != NULL)
        cache->in_use = true;
    lock_drop(&all_caches.lock);
    return cache;
}

void cache_return_leases(struct cache *cache)
{
    keep_drop(cache);
    for (unsigned c = 0; c < CLASS_COUNT && !class_is_wide(c); c++) {
        struct bin *bin = &cache->bins[c];
        struct slab *s = bin->slab;
        bin->mask = 0;
        bin->slab = NULL;
        bin->stop = 0;
        if (s != NULL)
            shelf_return(s);
    }
}

void cache_release(struct cache *cache)
{
    cache_return_leases(cache);
    lock_take(&all_caches.lock);
    cache->in_use = false;
    lock_drop(&all_caches.lock);
}

void cache_release_all_but(const struct cache *mine)
{
    for (struct cache *c = all_caches.first; c != NULL; c = c->next) {
        if (c != mine && c->in_use)
            cache_release(c);
    }
}

void cache_visit(void (*visit)(struct cache *cache, void *arg), void *arg)
{
    lock_take(&all_caches.lock);
    for (struct cache *c = all_caches.first; c != NULL; c = c->next)
        visit(c, arg);
    lock_drop(&all_caches.lock);
}

static int check_mask(const struct bin *bin, const struct slab *s, unsigned first)
{
    for (uint64_t rest = bin->mask; rest != 0; rest &= rest - 1) {
        unsigned slot = lowest_bit(rest);
        if (bin->states[slot] != SLOT_FREE || first + slot >= s->opened)
            return 1;
    }
    return 0;
}

static int check_kept(const struct bin *bin, unsigned c)
{
    if (bin->mask != 0 || bin->stop != 0 || bin->n_kept > KEPT_MAX)
        return 4;
    for (unsigned i = 0; i < bin->n_kept; i++) {
        uintptr_t p = (uintptr_t)bin->kept[i];
        const struct slab *s = slab_of(p);
        if (s == &no_slab || s->class_index != c)
            return 4;
        size_t slot = slot_starting_at(s, p);
        if (slot >= s->slots || s->states[slot] != SLOT_KEPT)
            return 4;
    }
    return 0;
}

static int check_bin(const struct bin *bin, unsigned c)
{
    if (class_is_wide(c))
        return check_kept(bin, c);
    const struct slab *s = bin->slab;
    if (bin->n_kept != 0)
        return 4;
    if (s == NULL)
        return bin->mask == 0 ? 0 : 2;
    if (s->place != SLAB_LEASED || s->class_index != c)
        return 3;
    if (bin->mask == 0)
        return 0;
    unsigned first = bin->group * GROUP_SLOTS;
    if (bin->states != s->states + first || bin->size != size_classes[c].size ||
        bin->base != s->base + (uintptr_t)first * bin->size)
        return 2;
    return check_mask(bin, s, first);
}

int cache_check(const struct cache *cache)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        int broken = check_bin(&cache->bins[c], c);
        if (broken != 0)
            return broken;
    }
    return 0;
}

static unsigned times_kept(const struct bin *bin, const void *p)
{
    unsigned times = 0;
    for (unsigned i = 0; i < bin->n_kept; i++)
        times += bin->kept[i] == p;
    return times;
}

/* Against the caches behind `cache` in the list. */
static int check_sole_kept(const struct cache *cache)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        for (unsigned i = 0; i < cache->bins[c].n_kept; i++) {
            unsigned times = 0;
            for (const struct cache *k = cache; k != NULL; k = k->next)
                times += times_kept(&k->bins[c], cache->bins[c].kept[i]);
            if (times != 1)
                return 4;
        }
    }
    return 0;
}

static int check_sole_leases(const struct cache *cache)
{
    for (unsigned c = 0; c < CLASS_COUNT && !class_is_wide(c); c++) {
        const struct slab *s = cache->bins[c].slab;
        for (const struct cache *other = cache->next; s != NULL && other != NULL;
             other = other->next) {
            if (other->bins[c].slab == s)
                return 3;
        }
    }
    return 0;
}

int cache_check_all(void)
{
    int broken = 0;
    lock_take(&all_caches.lock);
    for (const struct cache *cache = all_caches.first; cache != NULL && broken == 0;
         cache = cache->next) {
        broken = cache_check(cache);
        if (broken == 0)
            broken = check_sole_leases(cache);
        if (broken == 0)
            broken = check_sole_kept(cache);
    }
    lock_drop(&all_caches.lock);
    return broken;
}

bool cache_lock_is_mine(void)
{
    return lock_is_mine(&all_caches.lock);
}

void cache_fork_prepare(bool nested)
{
    lock_fork_take(&all_caches.lock, nested);
}

void cache_fork_parent(void)
{
    lock_fork_parent(&all_caches.lock);
}

void cache_fork_child(void)
{
    lock_fork_child(&all_caches.lock);
}
