/* Explains an access that faults: which guarded block it belonged to, how far beside it, live or freed. The program's own
 * handler, or its end by the signal, comes after the report. */
#ifndef RATION_CORE_FAULT_H
#define RATION_CORE_FAULT_H

#include "base/fmt.h"
#include "os/os.h"

struct fence;

/* Watches from now on, if guards are there to be explained (harden=full, sample_guard). Cheap when done already. */
void fault_watch(void);

/* Adds where `address` lies beside or in the block of f, and what happened to the block: two lines, and the stacks of its
 * allocation, its free and of this call, if they are kept. */
void fault_add_fence(struct text *t, const struct fence *f, uintptr_t address);

/* The second line of it, and the stacks. */
void fault_add_history(struct text *t, const struct fence *f, bool is_freed);

/* Reports the access if it hit a guard, a freed block, or memory given back. Signal-safe. */
void fault_explain(uintptr_t address, enum os_access access);

#endif
