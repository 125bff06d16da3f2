/* The event seam: the one place that every allocation and every free comes by while somebody listens.
 *
 * Off (nobody listens): nothing is told, and the fast paths do not know of any of this.
 * On: the fast paths are closed, as they are under hardening. Each thread's my_cache is hard_cache, whose masks are
 *     empty for ever, so each malloc takes the slow path; and slabs are guarded (start_limit 0), so each free fails the
 *     slot test. Both end in a function that tells the listeners; beside them, hardening works at any level.
 *
 * Who listens today: src/record. A listener is asked to be quick: it runs in every malloc and free of the program.
 *
 * Invariants:
 *  E1  while the fast paths are open, nothing is told, my_cache is the thread's own, and no slab is guarded.
 *  E2  once they are closed, my_cache is no thread's own cache, and every slab leased since is guarded.
 *  E3  a block is told after it has become live and before the program gets its address, and again while it is live
 *      still, before it is freed: between the two nobody else is told of that address, so what a listener keeps for an
 *      address needs no lock. Two threads that free one block at once break this; only one of them frees it.
 *  E4  a listener runs under no lock of the allocator.
 *  E5  a call that fails, or is refused as misuse, is not told; of a realloc that fails the end is told with address 0.
 *
 * A block that was handed out before events_listen lies in a slab that is not guarded: its free is not told.
 * Listening begins once, before threads begin, and never ends. */
#ifndef RATION_CORE_EVENTS_H
#define RATION_CORE_EVENTS_H

#include "base/compiler.h"
#include "base/fmt.h"

enum event_kind {
    EVENT_MALLOC,        /* the block at `address` was handed out */
    EVENT_FREE,          /* the block at `address` is about to be freed */
    EVENT_REALLOC_BEGIN, /* the block at `address` is about to be freed, but for a failure */
    EVENT_REALLOC_END, /* `address` was handed out in its place (perhaps the same); 0: it failed, and old_address lives */
};

struct event {
    enum event_kind kind;
    uint32_t thread; /* the system's number of the thread */
    uintptr_t address;
    uintptr_t old_address; /* EVENT_REALLOC_END */
    size_t bytes;          /* that the program asked for; 0 when it frees */
    const char *
        function; /* malloc, calloc, realloc, aligned_alloc, free, free_sized, operator delete …; operator new
                                 shows as malloc, and delete without a size as free */
    const uintptr_t *callers; /* return addresses, innermost first, the allocator's own left out */
    unsigned n_callers;       /* 0: nobody wants them, or they cannot be had */
};

/* Functions of a listener; each may be null but `tell`. */
struct event_listener {
    void (*tell)(const struct event *event);
    /* Adds what is known of an address to the report of a misuse of it; lines begin with two spaces. */
    void (*describe)(struct text *t, uintptr_t address);
    void (*thread_ends)(void); /* the calling thread; it may allocate and free after this */
    void (*forked)(void);      /* in the child, which has one thread */
};

extern bool fast_paths_are_closed HIDDEN; /* written once, early */
extern bool events_are_on HIDDEN;         /* the same; implies the other */

/* Closes the fast paths. False, with nothing changed, if other threads have caches already. Idempotent. */
bool events_close_fast_paths(void);

/* Adds a listener (it stays the caller's), which wants up to n_callers return addresses with each event. False, with
 * nothing changed, if there are too many listeners or the fast paths cannot be closed. */
bool events_listen(const struct event_listener *listener, unsigned n_callers);

/* Tell all listeners. For core/ only. */
void events_tell_malloc(void *p, size_t n, const char *function);
void events_tell_free(void *p, const char *function);
void events_tell_realloc(void *p, const char *function);
void events_tell_realloc_end(void *old, void *p, size_t n, const char *function);

void events_describe(struct text *t, uintptr_t address);
void events_thread_ends(void);
void events_fork_child(void);

/* The system's number of the calling thread, asked for once. */
uint32_t events_thread_id(void);

#endif
