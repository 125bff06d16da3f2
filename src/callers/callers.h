/* Who calls: the return addresses on the calling thread's stack, taken quickly, without a lock and without allocating.
 *
 * How. Programs of today's distributions keep no frame pointers, so that a walk along them ends, or goes astray, at the
 * first function without one, and nothing on the stack tells. The unwinder of the compiler's runtime (libgcc) knows how
 * each function leaves its frame, but takes a quarter of a microsecond for each. So the unwinder is asked once for every
 * return address, and what it did is kept as that address's rule:
 *
 *   fixed   the caller's stack pointer is so many bytes above this frame's; its frame pointer was kept, or lies there
 *   frame   the frame pointer is valid here: the caller's stack pointer and its frame pointer are found through it
 *   end     there is no caller: the walk is complete
 *   ask     neither (a signal's frame, a stack realigned, a rule that failed once): the unwinder is asked each time
 *
 * A walk follows rules while each return address that it meets has one. If one has none, or the walk leaves the thread's
 * stack, the unwinder does the whole of it, and leaves rules behind. Of each 1024 walks of a thread one is made both ways,
 * and a rule that led elsewhere becomes `ask`.
 *
 * When it is not valid: under code without unwind tables (of a just-in-time compiler) the row ends there. Code that was
 * unloaded, with other code loaded at its addresses, may leave wrong rules until they are met by such a check.
 *
 * Nothing is read but between the stack pointer and the end of the thread's stack, and only where the unwinder found a
 * frame before. The unwinder itself trusts the unwind tables of the program.
 *
 * Safe in signal handlers and after fork. */
#ifndef RATION_CALLERS_CALLERS_H
#define RATION_CALLERS_CALLERS_H

#include "base/compiler.h"

enum { CALLERS_MAX = 64 };

/* Loads the unwinder and lets it do what it does only once; may allocate, and takes the loader's lock. Call early, under no
 * lock. False: there is no unwinder or no memory; callers_take gives nothing then. Idempotent. */
bool callers_begin(void);

/* The return addresses, innermost first, without those in this library (with them where it is linked into the program
 * itself). Returns how many, at most max <= CALLERS_MAX. */
unsigned callers_take(uintptr_t *callers, unsigned max);

/* How walks went since the start. Hints: updates may be lost. */
struct callers_counts {
    uint64_t quick;   /* by rules alone */
    uint64_t asked;   /* by the unwinder */
    uint64_t checked; /* made both ways */
    uint64_t wrong;   /* of those, how many led elsewhere */
};
extern struct callers_counts callers_counts HIDDEN;

#endif
