/* Shelves: per size class, the slabs that no cache leases.
 *
 * A lease takes the slab that has waited longest on the ready list: by then the most frees have gathered in it. When a
 * slab has no free slot left to offer, it is returned here: full, or ready if enough was freed meanwhile. Enough is a
 * threshold (shelf_ready_at), because a lease that brings one slot costs as much as one that brings sixty.
 *
 * A class has a common shelf and some of threads' own (shelf_open). A slab goes to the shelf of who leased it, and to the
 * common one when half of it is free, unless it is one of the thread's last few, or when a purge has found it idle. A thread
 * leases from its own shelf, then from the common one: so slabs with many live blocks seldom change hands, and their dirty
 * lines need not travel. Only when there is no memory for another slab it leases from any shelf.
 *
 * Slabs of wide slots are never leased and all on the common shelf: threads take single slots, or a few, of the slab at the lowest
 * address among the few that have been ready for the longest time, or of one among these that was made for them. Else each thread
 * would hold a slab of 256 KiB for each class that it uses, a third of it free.
 *
 * Locking: a lock for each shelf (RANK_SHELF), inside each function. span functions are called under it. */
#ifndef RATION_SLAB_SHELF_H
#define RATION_SLAB_SHELF_H

#include "slab/slab.h"

/* `till` of a leased slab: so far away that the difference counts the frees since. */
enum { LEASE_TILL = 1 << 30 };

/* Numbers of a class's shelves: the common one, and up to OWN_SHELVES of threads; more threads than these share them. */
enum { COMMON_SHELF = 0, OWN_SHELVES = 128 };

/* Makes sure that there are shelves of this number; those of the number before are open. False if out of memory. The caller
 * lets in one at a time, and none during a fork. */
bool shelf_open(uint8_t number);

/* A slab of the narrow class c, leased to the caller, its `till` at LEASE_TILL, for `used`, if any, whose lease ends. Null
 * if out of memory.
 * `own` is the caller's shelf, which may be the common one. If the class has none ready, rather than to make one, a slab of another
 * class that may hold such blocks (class_may_hold), is half free, and was used: a stand-in; not if is_exact, nor where slabs
 * are guarded. */
struct slab *shelf_exchange(struct slab *used, unsigned c, uint8_t own, bool is_exact);

static inline struct slab *shelf_lease(unsigned c, uint8_t own, bool is_exact)
{
    return shelf_exchange(NULL, c, own, is_exact);
}

/* Ends the lease. */
void shelf_return(struct slab *s);

/* A slot of the wide class c, LIVE; null if out of memory. The free slot at the lowest address of a slab, or if that has
 * more, the one behind so many to pass over. *is_zero: it is zero memory. */
void *shelf_take_slot(unsigned c, uint8_t own, unsigned pass_over, bool *is_zero);

/* Where slots go that are taken ahead, beside the one that was asked for: KEPT, for the same thread to hand out next. */
struct shelf_ahead {
    void **slots; /* room for `most`; the last one is to be handed out first */
    uint16_t *n;  /* 0; set under the shelf's lock, so that a fork meets all of them or none */
    unsigned most;
};

/* The same, of the first class from c on that may hold such a block (class_may_hold) and of which the free slot that comes first
 * holds memory. Not zero memory, and not aligned as c's slots are. Null if there is none. So the classes share what they have
 * touched, for each has its peak at another time. If the slot is of class c and its slab was made for the caller, the next free
 * ones that hold memory are taken ahead; ahead may be null. */
void *shelf_take_used(unsigned c, uint8_t own, const struct shelf_ahead *ahead);

/* Frees a slot of a wide slab, whatever its state; the caller has it for itself. No lock, but for an event. Returns the bytes in
 * free slots of the slab, or 0 if nothing happened to it that a purge would want to know. */
size_t shelf_give_slot(struct slab *s, size_t slot);

/* `till` of the slab at `address` fell below zero: moves it to the list where it belongs. Any thread, any time; an
 * address whose slab is gone meanwhile is ignored. Returns the bytes in free slots of a slab that nobody leases. */
size_t shelf_event(uintptr_t address);

/* Free slots from which on a slab of class c is ready for a lease. */
unsigned shelf_ready_at(unsigned c);

/* What a purge pass wants: slabs whose last event was at least age_ms before now_ms, each once in a pass. */
struct shelf_pass {
    uint16_t number; /* not 0; another than those of the passes shortly before */
    uint32_t now_ms;
    uint32_t age_ms;
};

/* Takes up to max ready slabs of class c off their list (SLAB_HELD). Returns how many; 0 when the pass is through. */
size_t shelf_hold_old(unsigned c, const struct shelf_pass *pass, struct slab **held, size_t max);

/* Puts held slabs back where they belong. */
void shelf_put_back(struct slab **held, size_t n);

/* Takes every slab on the lists out of use for good: its live slots stay valid and can be freed, nothing is handed out. */
void shelf_set_aside(void);

/* Class c's slabs on the two lists, for checks: calls visit for each under the lock. */
void shelf_visit(unsigned c, void (*visit)(struct slab *s, void *arg), void *arg);

/* 5 if invariant L5 of slab.h is broken in class c, or 0: the lists against each slab of the
 * window. */
int shelf_check(unsigned c);

/* Fork: every shelf's lock, class by class, the common ones first. */
/* nested: the caller interrupted a thread that holds locks of the allocator, this one perhaps (os/lock.h). */
void shelf_fork_prepare(bool nested);
bool shelf_lock_is_mine(void);
void shelf_fork_parent(void);
void shelf_fork_child(void);

#endif
