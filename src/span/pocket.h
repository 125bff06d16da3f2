/* Pockets: the few large blocks' runs that a thread freed last, for its next blocks of just these lengths.
 *
 * All that decides about a pocketed run is its tag: that of a large block, plus TAG_POCKET. Who takes TAG_POCKET away by
 * compare-and-swap has the run; the pocket only says where to look. So its thread takes no lock, and a purge pass gives back what is
 * old from under it: a pass adds TAG_OLD, the next one gives back the runs that still have it.
 *
 * A full pocket takes no more: what its thread does not ask for again grows old and leaves room. A pocket is open only while it
 * pays. A closed one remembers the last few lengths that were freed, and opens when requests keep meeting them; after one that
 * does not it sleeps for a while, so as not to cost. An open one closes when more than a fourth of the requests find nothing.
 *
 * Invariants (pocket_check):
 *  P1  the runs of a pocket, none longer than POCKET_BYTES_EACH, have POCKET_BYTES together at most.
 *  P2  a closed pocket is empty.
 * That each run with TAG_POCKET is in a pocket, the caches know (C6 of cache/cache.h).
 *
 * Its thread alone writes a pocket, or who has its cache when the thread is gone; passes read it. */
#ifndef RATION_SPAN_POCKET_H
#define RATION_SPAN_POCKET_H

#include "base/bits.h"
#include "base/compiler.h"

enum { POCKET_RUNS = 8 };
#define POCKET_BYTES_EACH KIB(128)
#define POCKET_BYTES      KIB(256)

struct pocket {
    uint64_t lengths;             /* a byte each: pages of a run; 0: none */
    uint32_t firsts[POCKET_RUNS]; /* where the runs begin, or began */
    uint64_t freed;               /* while it is closed: as lengths, of the blocks freed last */
    uint16_t asleep; /* while it is closed: so many requests pass unseen, and all frees meanwhile */
    uint16_t credit; /* for each request met, less three for one that was not */
    bool is_open;
    uint8_t next; /* the place to be looked at, or overwritten, next */
};

static ALWAYS_INLINE bool pocket_is_empty(const struct pocket *p)
{
    return p->lengths == 0;
}

/* A run of `bytes`, POCKET_BYTES_EACH at most, rounded up to pages, for a large block; its contents are anything. Null: there is
 * none just so long. */
void *pocket_take(struct pocket *p, size_t bytes);

/* Frees the large block that starts at `address` into the pocket. Returns its bytes; or 0: none starts there, it is too long, or
 * there is no room. */
size_t pocket_put(struct pocket *p, uintptr_t address);

/* Gives back the runs of a pocket of any thread's: all, or those that the last pass has met there, too. They are said to be free
 * since stamp_ms. Returns how many. */
size_t pocket_give_back(const struct pocket *p, bool all, uint64_t stamp_ms);

/* Gives back all runs of the caller's. */
void pocket_drop(struct pocket *p);

/* The first page from `page` on at which a pocketed run begins, or the end of all runs. Nobody uses any pocket. */
size_t pocket_find_run(size_t page);
bool pocket_has(const struct pocket *p, size_t first);

/* The number of the first broken invariant, or 0. Caller: who may write it. */
int pocket_check(const struct pocket *p);

#endif
