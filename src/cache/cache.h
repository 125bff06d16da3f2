/* Caches: what one thread holds. For each size class a bin: a lease of one slab and a mask
 * of up to 64 of its slots; of a wide class the few slots that the thread freed last.
 *
 * malloc takes the lowest slot of the mask, marks it LIVE in the slab's record and is done. The
 * mask is a hint: its slots are FREE in the record until they are handed out, so it can be dropped
 * at any time (thread exit, fork) and nothing is lost, and a free of a slot that waits in a mask is
 * recognised as a double free.
 *
 * Invariants (cache_check):
 *  C1  each slot of a mask is FREE, and lies below `opened` of the leased slab.
 *  C2  states, base and size of a bin are those of one group of the leased slab.
 *  C3  a leased slab is SLAB_LEASED, of the bin's class or one that may hold its blocks, and leased by this bin only.
 *  C4  the bin of a wide class has an empty mask, KEPT_MAX kept slots at most, each of which is KEPT, of the class, and
 *      kept once, by this cache only.
 *  C5  a cache in no use is on one of two lists, those that rest and those that are empty; it keeps no slot and no run, and
 *      an empty one has no lease.
 *  C6  each pocketed run is in a pocket (cache_check_all), and each pocket is sound.
 *
 * A cache belongs to its thread; nobody else touches bins or leases while that thread lives. When it ends, the cache may
 * rest: it has its leases on, for the next thread that begins, until a purge pass ends them.
 * Records of caches are never unmapped. The lists are locked (RANK_CACHES). */
#ifndef RATION_CACHE_CACHE_H
#define RATION_CACHE_CACHE_H

#include "os/lock.h"
#include "slab/slab.h"
#include "span/pocket.h"

/* Wide slots that a thread keeps of a class. One of a slab that was made for another thread it keeps only beside fewer than
 * KEPT_OF_OTHERS. */
enum { KEPT_MAX = 5, KEPT_OF_OTHERS = 2 };

struct bin {
    uint64_t
        mask; /* bit i: slot i of the group was free when the mask was taken, and was not handed out since */
    uint32_t size;    /* of a slot, in bytes */
    uint32_t is_zero; /* every slot in the mask is zero memory */

    union {
        struct {
            uint8_t *states;   /* of the group's slots */
            uintptr_t base;    /* address of the group's first slot */
            struct slab *slab; /* the lease; null: none */
            uint64_t window;   /* as many low bits as a mask's slots lie apart at most */
            uint64_t offered;  /* of the next group: the slots that were offered before */
        };
        void *kept[KEPT_MAX]; /* of a wide class: the last one was freed last */
    };
    uint16_t group; /* the mask's group */
    uint16_t
        step; /* from this group to the next: 0 if slots freed just now are taken first, else 1 */
    uint16_t stop;   /* groups from here on are the slow path's; 0 of a wide class */
    uint16_t n_kept; /* 0 of a narrow class */
} LINE_ALIGNED;
_Static_assert(sizeof(struct bin) == CLASS_STRIDE, "a row of a table by class");

struct cache {
    struct bin bins[CLASS_COUNT];
    struct cache *next;            /* in the list of all caches, which only grows */
    struct quarantine *quarantine; /* core/harden.h; null until something is held back */
    uint32_t until_sample;         /* core/sample.h; 0: not chosen yet */
    bool is_owned;                 /* not one of the three below */
    uint8_t shelf;   /* slab/shelf.h: number of the thread's shelves; may change at any time */
    bool in_use;     /* by a living thread, or by who ends its rest */
    uint32_t thread; /* the system's number of that thread; for statistics */
    uint32_t rests_since_ms;
    struct cache *next_waiting; /* of those in no use */
    struct pocket pocket;       /* of large blocks' runs */
};

/* All caches ever made, in use or waiting for a thread. Who only looks may follow `next` without the
 * lock: the list grows at its head, and records of caches stay. */
struct cache_list {
    struct lock lock;
    struct cache *first;
};
extern struct cache_list all_caches HIDDEN;

/* The calling thread's cache: its own, or one of these three, whose masks are empty for ever
 * and which is_owned tells from the others. */
extern THREAD_LOCAL struct cache *my_cache HIDDEN;
extern const struct cache no_cache_zeros HIDDEN;
/* The thread has none yet. Read-only: a first request brings no page of memory in to find it empty. */
#define no_cache (*(struct cache *)(uintptr_t)&no_cache_zeros)
extern struct cache late_cache HIDDEN; /* the thread's destructor has run; it gets none any more */
extern struct cache hard_cache
    HIDDEN; /* hardening is on: the thread has one, and shall not use it directly */

/* The bin that serves a request of n <= SMALL_MAX bytes. */
static ALWAYS_INLINE struct bin *bin_for(struct cache *cache, size_t n)
{
    return (struct bin *)(void *)((char *)cache->bins + class_row(n));
}

/* Takes the lowest slot of a bin whose mask is not empty. */
static ALWAYS_INLINE void *bin_take(struct bin *bin)
{
    uint64_t mask = bin->mask;
    uint64_t slot = lowest_bit_wide(mask);
    bin->mask = mask & (mask - 1);
    atomic_store_relaxed(&bin->states[slot], SLOT_LIVE);
    return (void *)(bin->base + bin->size * slot);
}

/* Its thread reads what another one may just write that opened these shelves. */
static inline uint8_t cache_shelf(const struct cache *cache)
{
    return atomic_load_acquire(&cache->shelf);
}

/* Fills the mask of the narrow class c. False if out of memory, or if `cache` is one of the three above. */
bool cache_refill(struct cache *cache, unsigned c);

/* The rest of it, below bin_refill. */
bool cache_refill_slow(struct cache *cache, unsigned c);

/* The same, but of a slab of c itself, whose slots are aligned as c's are: what the cache leased for c goes back. */
bool cache_refill_exact(struct cache *cache, unsigned c);

/* A slot of class c, LIVE. Null if out of memory, or if `cache` is one of the three above. */
void *cache_take(struct cache *cache, unsigned c);

/* The slot of a wide class that the thread freed last. It keeps one at least, which by C4 needs none of the tests of
 * slab_of and slot_starting_at. */
static inline void *keep_take_last(struct bin *bin)
{
    uintptr_t p = (uintptr_t)bin->kept[--bin->n_kept];
    struct slab *s = atomic_load_relaxed(&atomic_load_relaxed(&window.map)[window_unit(p)]);
    uint64_t x = (p - s->base) * s->reciprocal;
    atomic_store_relaxed(&s->states[x >> 32], SLOT_LIVE);
    bin->is_zero = false;
    return (void *)p;
}

/* The same if it keeps none: a slot from the shelf; if not is_exact, rather one that holds memory, perhaps of a class that may
 * hold such a block (shelf_take_used). Sets bin->is_zero. Null as cache_take. */
void *keep_take_from_shelf(struct cache *cache, unsigned c, bool is_exact);

/* The rest of keep_put. */
size_t keep_put_slow(struct cache *cache, struct slab *s, void *p);

/* The thread keeps p, a slot of s that the caller has made KEPT. For that the one kept longest may go to its shelf; or this
 * one, if s was made for another thread or `cache` is one of the three above. Returns what shelf_give_slot does, or 0. */
static inline size_t keep_put(struct cache *cache, struct slab *s, void *p)
{
    struct bin *bin = &cache->bins[s->class_index];
    unsigned most = s->made_for == cache_shelf(cache) ? KEPT_MAX : KEPT_OF_OTHERS;
    if (UNLIKELY(!cache->is_owned || bin->n_kept >= most))
        return keep_put_slow(cache, s, p);
    bin->kept[bin->n_kept++] = p;
    return 0;
}

/* Gives all kept slots to their shelves. */
void keep_drop(struct cache *cache);

static ALWAYS_INLINE bool has_four_bits(uint64_t mask)
{
    mask &= mask - 1;
    mask &= mask - 1;
    mask &= mask - 1;
    return mask != 0;
}

/* Makes the free slots `mask` of a group the bin's mask. */
static ALWAYS_INLINE void bin_set_mask(struct bin *bin, unsigned group, uint64_t mask, bool is_zero)
{
    unsigned first = group * GROUP_SLOTS;
    bin->is_zero = is_zero;
    bin->states = bin->slab->states + first;
    bin->base = bin->slab->base + (uintptr_t)first * bin->size;
    bin->mask = mask;
    bin->group = (uint16_t)group;
    /* The slots' last users stored FREE with release: what they did there happened before what
     * comes now. */
    atomic_fence_acquire();
}

/* The common cases of a refill: slots of the same group that were freed meanwhile, or those of the
 * next group that was offered before. Of these the ones close to the first; if they are few, all.
 * The slots' bits, or 0: the slow path's. */
static ALWAYS_INLINE uint64_t bin_look(const struct bin *bin, unsigned *group)
{
    unsigned g = (unsigned)bin->group + bin->step;
    if (UNLIKELY(g >= bin->stop))
        return 0;
    *group = g;
    uint64_t mask =
        zero_bytes(bin->slab->states + (size_t)g * GROUP_SLOTS, GROUP_SLOTS) & bin->offered;
    if (UNLIKELY(mask == 0))
        return 0;
    uint64_t near = mask & (bin->window << lowest_bit_wide(mask));
    if (UNLIKELY(!has_four_bits(near)))
        return bin->step == 0 ? 0 : mask;
    if (near == 0)
        __builtin_unreachable();
    return near;
}

static ALWAYS_INLINE bool bin_refill(struct bin *bin)
{
    unsigned group;
    uint64_t mask = bin_look(bin, &group);
    if (mask != 0)
        bin_set_mask(bin, group, mask, false);
    return mask != 0;
}

/* Makes what bin_look found the bin's mask, and takes its lowest slot: what was computed need not be loaded again. */
static ALWAYS_INLINE void *bin_set_mask_and_take(struct bin *bin, unsigned group, uint64_t mask)
{
    uint64_t slot = lowest_bit_wide(mask);
    uint64_t first = (uint64_t)group * GROUP_SLOTS;
    uint8_t *states = bin->slab->states + first;
    uintptr_t base = bin->slab->base + first * bin->size;
    uintptr_t address = base + slot * bin->size;
    bin_set_mask(bin, group, mask & (mask - 1), false);
    atomic_store_relaxed(&states[slot], SLOT_LIVE);
    return (void *)address;
}

/* A cache for the calling thread: one that rests, or is empty, or new; null if out of memory. */
struct cache *cache_acquire(void);

/* Ends all leases of a cache; it may be used on. */
void cache_return_leases(struct cache *cache);

/* Ends all leases; the cache waits for another thread. */
void cache_release(struct cache *cache);

/* The same, but if it may rest, and fewer caches than processors do, it keeps the leases for another thread. Returns the bytes
 * in free slots of what it leased, at most. */
size_t cache_rest(struct cache *cache, bool may_rest);

/* Ends the leases of caches that rest since age_ms before now_ms, or longer. False: there was none. */
bool cache_end_rests(uint64_t now_ms, uint64_t age_ms);

/* In a child after fork: releases the caches of all threads but the caller's, and those that rest. */
void cache_release_all_but(const struct cache *mine);

/* Calls visit for each cache ever made. */
void cache_visit(void (*visit)(struct cache *cache, void *arg), void *arg);

/* The number of the first broken invariant, or 0. Caller: the cache's thread, or nobody uses it.
 * That no other cache has the same lease (C3) only cache_check_all can tell. */
int cache_check(const struct cache *cache);

/* The same for all caches. Nobody uses any. */
int cache_check_all(void);

/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void cache_fork_prepare(bool nested);
bool cache_lock_is_mine(void);
void cache_fork_parent(void);
void cache_fork_child(void);

#endif
