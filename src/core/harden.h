/* Hardening chosen at run time (RATION=harden=fast|full), in the same library, at no cost while it is off.
 *
 * It gets in the way of the fast paths as core/events.h says: they are closed. The thread's own cache works as ever, behind
 * life_cache().
 *
 *   fast  a free slot at random, of the mask or, above 2 KiB, of a slab's first eight; a freed block is zeroed and held
 *         back (SLOT_HELD_BACK) until some hundred others were freed, in random order
 *   full  also: a tail behind the requested bytes, checked by free, in which one byte too many shows; a block is checked
 *         to be zero still when it leaves quarantine and when it is handed out again
 *
 * Blocks handed out before begin_process are in slabs that are not guarded and are never leased again.
 *
 * Invariants:
 *  H1  under full, every FREE slot of a guarded slab is zero memory.
 *  H2  a slot is SLOT_HELD_BACK exactly while it is in one quarantine, but for a fork that struck its thread's free. */
#ifndef RATION_CORE_HARDEN_H
#define RATION_CORE_HARDEN_H

#include "cache/cache.h"
#include "conf/conf.h"

enum { HARDEN_TAIL_BYTES = 8 }; /* at the end of a slot, under full */

extern enum harden harden_level HIDDEN; /* HARDEN_OFF until harden_begin */

/* Turns hardening on; once, before threads begin. False, with nothing changed, if other threads have caches already. */
bool harden_begin(enum harden level);

/* A small block; null if it does not fit a slot (then *is_large) or out of memory. */
void *harden_alloc(size_t n, size_t align, bool *is_large);

/* Frees a block of a guarded slab, or reports. */
void harden_free(struct slab *s, void *p, const char *function);

/* Whether a live block starts at p. *bytes: what the program may use; under full that is what was asked for. */
bool harden_is_live(const struct slab *s, const void *p, size_t *bytes);

/* Frees what a cache's thread holds back. Caller: that thread, or nobody runs it. */
void harden_drain(struct cache *cache);

#endif
