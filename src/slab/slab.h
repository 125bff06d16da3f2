/* Slabs: runs cut into equal slots, and their records.
 *
 * One byte of state per slot, kept in the slab's record far from the slots, is the only truth about a slot. A free from
 * any thread is a check and a store of that byte; bytes of different slots do not disturb each other, so no atomic
 * read-modify-write is needed and nobody owns the byte. What is in the slots is never read or written here.
 *
 * Places of a slab, and who may hand out its slots:
 *   SLAB_LEASED   one cache; nobody else; never a wide one
 *   SLAB_FULL     nobody; on its shelf's full list; fewer than shelf_ready_at() slots are known to be free
 *   SLAB_READY    nobody; on its shelf's ready list; the next lease takes it. If wide: whoever has the shelf's lock. A narrow one
 *                 may be empty, one of a list
 *   SLAB_HELD     nobody; out of the lists while its free pages are purged
 *   SLAB_RETIRED  not a slab any more; the record waits on the shelf for the next slab of this class
 *
 * A slot's state goes FREE -> LIVE by the lessee (malloc) and LIVE -> FREE by whoever frees. The store of FREE is a
 * release: it pairs with the acquire fence after the lessee's scan, so the new user of the slot comes after the old.
 *
 * A wide slot (sizeclass.h) goes FREE -> LIVE or KEPT under the shelf's lock, LIVE -> KEPT by whoever frees, KEPT -> LIVE
 * and KEPT -> FREE by the thread that keeps it (cache/keep.c), these without a lock. As it is not FREE in between, its slab stays.
 *
 * `till` counts frees down to the next event (slab_event). It is a hint: two threads may lose counts, and nothing but
 * the time of the event depends on it. Shelf sweeps recount the states and heal it.
 *
 * Invariants (slab_check):
 *  L1  base is aligned to UNIT_BYTES and the map gives this slab for each of its units; none for a retired one.
 *  L2  every state byte is FREE, LIVE, HELD_BACK or, of a wide slot, KEPT; those at and behind `slots` are LIVE padding.
 *  L3  opened <= slots, and no slot at or behind `opened` is LIVE.
 *  L4  a page marked purged holds only FREE slots.
 *  L5  place and list agree: FULL and READY slabs are on that list of their shelf, others on none; a wide READY one has a FREE
 *      slot (shelf_check).
 *  L6  reciprocal, start_limit and slots are those of the class; of a guarded or wide slab start_limit is 0.
 *
 * Locking: header fields but `till` change under the shelf's lock, or by the lessee while leased. */
#ifndef RATION_SLAB_SLAB_H
#define RATION_SLAB_SLAB_H

#include "area/window.h"
#include "base/bytes.h"
#include "os/os.h"
#include "sizeclass/sizeclass.h"

enum slot_state {
    SLOT_FREE = 0, /* so that a fresh record is a slab of free slots */
    SLOT_LIVE = 1,
    SLOT_HELD_BACK = 2, /* freed, and not to be handed out yet: core/harden.h */
    SLOT_KEPT = 3,      /* freed, and for one thread to hand out again: cache/keep.c */
};

enum slab_place {
    SLAB_RETIRED,
    SLAB_LEASED,
    SLAB_FULL,
    SLAB_READY,
    SLAB_HELD,
};

struct slab {
    uintptr_t base;      /* address of slot 0 */
    uint64_t reciprocal; /* sizeclass.h: the slot test */
    uint32_t
        start_limit; /* sizeclass.h; 0 makes every address fail free's test: the slab is guarded or wide */
    int32_t till; /* hint: frees until the next event */
    uint8_t class_index;
    uint8_t place;   /* enum slab_place; read without the lock as a hint */
    uint16_t opened; /* slots below it were offered by some lease */
    uint16_t slots;
    uint8_t shelf;         /* number of the one where it lies, or goes when its lease ends */
    bool fresh : 1;        /* slots from `opened` on are zero memory */
    bool is_guarded : 1;   /* made while slabs_are_guarded */
    uint64_t purged_pages; /* bit k: page k is purged, and no slot of it was offered since */
    uint32_t stamp_ms;     /* time of the last event, low 32 bits */
    uint16_t purge_pass;   /* the last pass that looked at it */
    uint8_t made_for;      /* of a wide one: the thread's number of shelf */
    struct slab *previous, *next;
    uint8_t states[]; /* one per slot, padded to a multiple of 64 */
};
_Static_assert(offsetof(struct slab, states) == 64, "states begin on a line of their own");

/* Stands in the map for every unit that is no slab's. Never written. */
extern struct slab no_slab HIDDEN;

/* The slab that holds `address`, or &no_slab. Safe for any number. */
static ALWAYS_INLINE struct slab *slab_of(uintptr_t address)
{
    size_t unit = window_unit(address);
    if (UNLIKELY(unit >= atomic_load_acquire(&window.unit_count)))
        return &no_slab;
    return atomic_load_relaxed(&atomic_load_relaxed(&window.map)[unit]);
}

/* The slot that starts at `address`, or a number >= SLOTS_MAX if none does. `address` lies in s. */
enum { SLOTS_MAX = 4096, SLAB_PAGES_MAX = 64 };
static ALWAYS_INLINE size_t slot_of(const struct slab *s, uintptr_t address)
{
    uint64_t x = (address - s->base) * s->reciprocal;
    return LIKELY((uint32_t)x < s->start_limit) ? (size_t)(x >> 32) : SLOTS_MAX;
}

/* The same, of a guarded or wide slab as well. s is not no_slab. */
static inline size_t slot_starting_at(const struct slab *s, uintptr_t address)
{
    uint64_t x = (address - s->base) * s->reciprocal;
    return (uint32_t)x < size_classes[s->class_index].start_limit ? (size_t)(x >> 32) : SLOTS_MAX;
}

static ALWAYS_INLINE bool slab_is_wide(const struct slab *s)
{
    return class_is_wide(s->class_index);
}

static ALWAYS_INLINE bool slab_is_guarded(const struct slab *s)
{
    return s->is_guarded;
}

/* The slot that `address`, which lies in s, is a part of, of any slab; not below `slots`: the unused end. */
static inline size_t slot_around(const struct slab *s, uintptr_t address)
{
    return (address - s->base) / size_classes[s->class_index].size;
}

static inline size_t slab_bytes(const struct slab *s)
{
    return (size_t)class_units(s->class_index) * UNIT_BYTES;
}

static inline unsigned padded_slots(const struct slab *s)
{
    return (unsigned)align_up(s->slots, 64);
}

/* Slots known to be free now; frees by other threads may add to it at any time. */
static inline unsigned slab_count_free(const struct slab *s)
{
    return count_zero_bytes(s->states, padded_slots(s));
}

/* Slots that hold a block now. */
static inline unsigned slab_count_live(const struct slab *s)
{
    unsigned live = 0;
    for (unsigned i = 0; i < s->slots; i++)
        live += atomic_load_relaxed(&s->states[i]) == SLOT_LIVE;
    return live;
}

/* States are scanned a group at a time. */
enum { GROUP_SLOTS = 64 };

/* Slots of `size` bytes that a lease takes into its mask at once, where most are free. */
static inline unsigned batch_of(uint32_t size)
{
    return size <= 256 ? 64 : size <= 512 ? 16 : size <= 1024 ? 12 : 4;
}

/* New slabs are guarded (core/events.h); they are zeroed when made from memory that is not zero. Set once, early. */
extern bool slabs_are_guarded HIDDEN;
/* New records, which are only made while all of the class are in use: the most slabs that it ever had at once. */
extern uint32_t slab_records_made[CLASS_COUNT] HIDDEN;
extern bool slabs_are_zeroed HIDDEN;

/* A new slab of class c, leased to the caller; null if out of memory. `record` is a retired record of the class, whose run
 * comes back if it can, or null. */
struct slab *slab_create(unsigned c, struct slab *record);

/* Of a slab just created from fresh memory: asks for a huge page where one begins in it, if slabs are being filled. To touch
 * that may take milliseconds, so the caller has no lock; the slab is leased to it, or it has a slot of it. */
void slab_ask_huge(const struct slab *s);

/* Takes a slab whose slots are all free out of the map and gives its run back. The caller keeps the record. */
void slab_retire(struct slab *s);

/* Slots of a group, the first of which is `first`, are about to be handed out: those of `mask`, not 0. Tells whether all
 * of them are zero memory. Caller: the lessee; of a wide slab who has the shelf's lock. */
bool slab_offer(struct slab *s, unsigned first, uint64_t mask);

/* Whether free slot `slot` of a wide slab may hold memory: it was offered before, or the slab was made of used pages, and none of
 * its own was purged since. */
bool slab_slot_is_used(const struct slab *s, unsigned slot);

/* Collects the ranges of s whose pages hold free slots only and are not purged yet; marks them purged. Nobody may lease s
 * meanwhile. Returns the count of ranges, at most max. */
size_t slab_collect_purge(struct slab *s, struct os_range *ranges, size_t max);

/* The system did not purge this range after all. */
void slab_unmark_purged(struct slab *s, const struct os_range *range);

/* Whether a map entry is right about a unit, for window_check. */
bool slab_covers(const struct slab *s, size_t unit);

/* The number of the first broken invariant, or 0. */
int slab_check(const struct slab *s);

#endif
