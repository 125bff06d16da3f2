/* Lost blocks: those that no pointer leads to any more.
 *
 * A conservative mark over all live blocks (Boehm and Weiser, "Garbage collection in an
 * uncooperative environment", 1988): every aligned word in the program's writable memory, its
 * stacks, and the callee-saved registers of the caller is taken for a pointer if it points into a
 * live block, at its start or inside. What is reached that way is reachable; the rest is lost. A
 * number that looks like a pointer hides a lost block; a pointer that is kept only in another form
 * (a difference, a tagged high half), in a page that was swapped out, or in a register of another
 * running thread makes a reachable block look lost.
 *
 * Its tables are mapped for the time of the search, 20 bytes for each live block. */
#ifndef RATION_INSPECT_LEAKS_H
#define RATION_INSPECT_LEAKS_H

#include "inspect/leak_sites.h"
#include "sizeclass/sizeclass.h"

struct leak_count {
    size_t blocks;
    size_t bytes; /* asked for where that is recorded, else usable */
};

struct leaks {
    struct leak_count lost;
    struct leak_count reachable;
    struct leak_count lost_by_class[CLASS_COUNT + 1]; /* the last: large blocks */
    struct leak_sites sites;                          /* empty unless callers are recorded */
};

/* Lost blocks to which other lost blocks lead are told apart where call sites are recorded: who mends the leak of the one
 * mends that of the other. False if there is no memory for the tables or the system does not list the mappings. */
bool leaks_find(struct leaks *found);

/* For people, to `fd`. */
void leaks_print(const struct leaks *found, int fd);

/* For `ration leaks`: "process PID LOST-BLOCKS LOST-BYTES REACHABLE-BLOCKS REACHABLE-BYTES", then
 * "lost SLOT-BYTES BLOCKS BYTES" for each size class, 0 standing for large blocks; then leak_sites_tell. */
void leaks_tell(const struct leaks *found, int fd);

/* Gives back what leaks_find took for call sites. */
void leaks_forget(struct leaks *found);

#endif
