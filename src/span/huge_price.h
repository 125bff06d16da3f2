/* What a huge page costs on this machine, now.
 *
 * It costs a fifth of the small pages that it stands for, if the kernel has one at hand: clearing it. If the kernel must
 * move other pages to make one (direct compaction), or if a virtual machine must get it back from its host, it costs
 * many times as much, and small pages would have come from where there are some. Nobody tells, so we look: the first
 * touch of a chunk is ours, by the clock. After a dear one the next chunks stay plain; twice as many after each further
 * one in a row.
 *
 * Caller: span lock. All is a hint. */
#ifndef RATION_SPAN_HUGE_PRICE_H
#define RATION_SPAN_HUGE_PRICE_H

#include "base/bits.h"

#include <stdbool.h>

/* Twice what 512 small pages cost by a fault each; measured 170 us cheap, 750 us in small pages, 4400 us dear. */
#define HUGE_DEAR_NS 1500000
/* So many chunks stay plain after a dear one, and after many in a row. */
enum { HUGE_PASSED_OVER_FIRST = 16, HUGE_PASSED_OVER_MOST = 1024 };

/* Whether to ask for the next `chunks` chunks. If not, they count as passed over. */
bool huge_price_affords(size_t chunks);

/* The touch of a chunk that was asked for took so long. */
void huge_price_seen(uint64_t nanoseconds);

#endif
