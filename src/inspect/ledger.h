/* The ledger: every byte of the heap by what it is there for (ration/stats.h), taken from a view. */
#ifndef RATION_INSPECT_LEDGER_H
#define RATION_INSPECT_LEDGER_H

#include "inspect/view.h"

#include <ration/stats.h>

/* Without residency resident_bytes are mapped_bytes, and the process's own figures stay 0: a third
 * of the work, for callers that ask about the heap alone. */
void ledger_take(struct ration_stats *stats, const struct view *v, bool with_residency);

/* The same of this process. */
void ledger_take_own(struct ration_stats *stats, bool with_residency);

/* Mapped bytes that hold or can hold blocks: all parts but the tables. */
size_t ledger_heap_bytes(const struct ration_stats *stats);

#endif
