/* Call sites: rows of callers, each kept once and known by a number. The table only grows; no lock, safe in signal handlers
 * and after fork.
 *
 * A site's number is its place: 64-bit words from the start of the memory that sites lie in. Word 0 of a site holds its
 * length and a part of its hash, the callers follow. A site is written before the table names it, and never changes. */
#ifndef RATION_CALLERS_SITES_H
#define RATION_CALLERS_SITES_H

#include "callers/callers.h"

enum { SITE_NONE = 0 };

/* After the window is open. False if out of memory. Idempotent. */
bool sites_begin(void);

/* The number of this row of callers. SITE_NONE if it is empty, or if there is no room for another. */
uint32_t site_of(const uintptr_t *callers, unsigned n);

/* The callers of a site, which stay where they are, and how many; 0 for SITE_NONE and for numbers that are no site's. */
unsigned site_callers(uint32_t site, const uintptr_t **callers);

/* Sites so far, and rows that found no room. */
uint32_t sites_count(void);
uint32_t sites_refused(void);

#endif
