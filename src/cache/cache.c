#include "cache/cache.h"

#include "area/records.h"
#include "slab/shelf.h"
#include "span/kept.h"

const struct cache no_cache_zeros;
struct cache late_cache;
struct cache hard_cache;
THREAD_LOCAL struct cache *my_cache = &no_cache;

struct cache_list all_caches = {.lock = LOCK_INIT(RANK_CACHES)};

/* Not inlined: none of this is on a fast path. */
static NOINLINE void lock_caches(void)
{
    lock_take(&all_caches.lock);
}

static NOINLINE void unlock_caches(void)
{
    lock_drop(&all_caches.lock);
}

/* Those in no use, the newest first. */
static struct {
    struct cache *resting, *empty;
    unsigned n_resting;
} waiting;

static struct cache *take_waiting_locked(void)
{
    struct cache **list = waiting.resting != NULL ? &waiting.resting : &waiting.empty;
    struct cache *cache = *list;
    if (cache == NULL)
        return NULL;
    waiting.n_resting -= list == &waiting.resting;
    *list = cache->next_waiting;
    return cache;
}

static void put_waiting_locked(struct cache **list, struct cache *cache)
{
    cache->next_waiting = *list;
    *list = cache;
    cache->in_use = false;
}

enum { SHELVES_A_CPU = 4, SHELVES_LEAST = 8 };

/* Threads that run at the same time shall seldom share a shelf; but shelves keep memory, and threads may be many. */
static NOINLINE unsigned count_shelves_locked(void)
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
    lock_caches();
    struct cache *cache = take_waiting_locked();
    if (cache == NULL)
        cache = create_locked();
    if (cache != NULL)
        cache->in_use = true;
    unlock_caches();
    return cache;
}

void cache_return_leases(struct cache *cache)
{
    keep_drop(cache);
    pocket_drop(&cache->pocket);
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

NOINLINE void cache_release(struct cache *cache)
{
    cache_return_leases(cache);
    lock_caches();
    put_waiting_locked(&waiting.empty, cache);
    unlock_caches();
}

/* At most: a slot may have been freed several times since it was leased. */
static size_t free_bytes_in_leases(const struct cache *cache)
{
    size_t bytes = 0;
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        const struct slab *s = cache->bins[c].slab;
        if (s != NULL)
            bytes += min_size((size_t)(LEASE_TILL - atomic_load_relaxed(&s->till)), s->opened) *
                     size_classes[s->class_index].size;
    }
    return bytes;
}

/* False: as many rest as may. */
static bool begin_rest(struct cache *cache)
{
    keep_drop(cache);
    pocket_drop(&cache->pocket);
    cache->rests_since_ms = (uint32_t)os->now_ms();
    lock_caches();
    bool rests = waiting.n_resting < count_shelves_locked() / SHELVES_A_CPU;
    if (rests) {
        waiting.n_resting++;
        put_waiting_locked(&waiting.resting, cache);
    }
    unlock_caches();
    return rests;
}

size_t cache_rest(struct cache *cache, bool may_rest)
{
    size_t bytes = free_bytes_in_leases(cache);
    if (!may_rest || !begin_rest(cache))
        cache_release(cache);
    return bytes;
}

/* All behind the first old one are older. They are in use again, by the caller. */
static struct cache *take_rested_locked(uint32_t now_ms, uint32_t age_ms)
{
    struct cache **link = &waiting.resting;
    while (*link != NULL && (int32_t)(now_ms - (*link)->rests_since_ms - age_ms) < 0)
        link = &(*link)->next_waiting;
    struct cache *rested = *link;
    *link = NULL;
    for (struct cache *c = rested; c != NULL; c = c->next_waiting) {
        c->in_use = true;
        waiting.n_resting--;
    }
    return rested;
}

bool cache_end_rests(uint64_t now_ms, uint64_t age_ms)
{
    lock_caches();
    struct cache *rested = take_rested_locked((uint32_t)now_ms, (uint32_t)age_ms);
    unlock_caches();
    bool any = rested != NULL;
    while (rested != NULL) {
        struct cache *cache = rested;
        rested = cache->next_waiting;
        cache_release(cache);
    }
    return any;
}

void cache_release_all_but(const struct cache *mine)
{
    cache_end_rests(os->now_ms(), 0);
    for (struct cache *c = all_caches.first; c != NULL; c = c->next) {
        if (c != mine && c->in_use)
            cache_release(c);
    }
}

void cache_visit(void (*visit)(struct cache *cache, void *arg), void *arg)
{
    lock_caches();
    for (struct cache *c = all_caches.first; c != NULL; c = c->next)
        visit(c, arg);
    unlock_caches();
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
    if (s->place != SLAB_LEASED || !class_may_hold(s->class_index, c))
        return 3;
    if (bin->mask == 0)
        return 0;
    unsigned first = bin->group * GROUP_SLOTS;
    if (bin->states != s->states + first || bin->size != size_classes[s->class_index].size ||
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
    return pocket_check(&cache->pocket) == 0 ? 0 : 6;
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

static unsigned times_leased(const struct cache *cache, const struct slab *s)
{
    unsigned times = 0;
    for (unsigned c = 0; c < WIDE_FIRST; c++)
        times += cache->bins[c].slab == s;
    return times;
}

static int check_sole_leases(const struct cache *cache)
{
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        const struct slab *s = cache->bins[c].slab;
        unsigned times = 0;
        for (const struct cache *k = cache; s != NULL && k != NULL; k = k->next)
            times += times_leased(k, s);
        if (times > 1)
            return 3;
    }
    return 0;
}

static bool has_leases(const struct cache *cache)
{
    for (unsigned c = 0; c < WIDE_FIRST; c++) {
        if (cache->bins[c].slab != NULL)
            return true;
    }
    return false;
}

static bool keeps_slots(const struct cache *cache)
{
    for (unsigned c = WIDE_FIRST; c < CLASS_COUNT; c++) {
        if (cache->bins[c].n_kept != 0)
            return true;
    }
    return false;
}

/* The caches of a list, which are `most` at most; or SIZE_MAX if one does not belong there. */
static size_t count_waiting(const struct cache *first, size_t most)
{
    size_t n = 0;
    for (const struct cache *c = first; c != NULL; c = c->next_waiting) {
        if (n++ == most || c->in_use || keeps_slots(c) || !pocket_is_empty(&c->pocket) ||
            (first == waiting.empty && has_leases(c)))
            return SIZE_MAX;
    }
    return n;
}

static int check_waiting_locked(void)
{
    size_t unused = 0;
    for (const struct cache *c = all_caches.first; c != NULL; c = c->next)
        unused += !c->in_use;
    size_t resting = count_waiting(waiting.resting, unused);
    size_t empty = count_waiting(waiting.empty, unused);
    return resting == waiting.n_resting && empty == unused - resting ? 0 : 5;
}

static bool is_in_a_pocket(size_t first)
{
    const struct cache *c = all_caches.first;
    while (c != NULL && !pocket_has(&c->pocket, first))
        c = c->next;
    return c != NULL;
}

static int check_pocketed_runs(void)
{
    size_t end = pocket_find_run(SIZE_MAX);
    for (size_t page = pocket_find_run(0); page < end; page = pocket_find_run(page + 1)) {
        if (!is_in_a_pocket(page))
            return 6;
    }
    return 0;
}

int cache_check_all(void)
{
    lock_caches();
    int broken = check_waiting_locked();
    if (broken == 0)
        broken = check_pocketed_runs();
    for (const struct cache *cache = all_caches.first; cache != NULL && broken == 0;
         cache = cache->next) {
        broken = cache_check(cache);
        if (broken == 0)
            broken = check_sole_leases(cache);
        if (broken == 0)
            broken = check_sole_kept(cache);
    }
    unlock_caches();
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
