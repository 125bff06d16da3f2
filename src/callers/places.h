/* Where code lies: an address as a module (program or library) and an offset in it, for reports. Takes no lock where the C
 * library offers that (glibc 2.35), allocates nothing. */
#ifndef RATION_CALLERS_PLACES_H
#define RATION_CALLERS_PLACES_H

#include "base/fmt.h"

/* A caller's place. `offset` is an address as the module's file counts them, so that addr2line understands it, of the call
 * itself: a return address may belong to the next line already, or the next function. */
struct place {
    const char *module; /* its path; null: the address lies in no module */
    uintptr_t offset;
};

struct place place_of(uintptr_t caller);

/* Adds MODULE+0xOFFSET, or the address alone. */
void place_add(struct text *t, uintptr_t caller);

/* Adds a line for each caller to a report: "    #0 MODULE+0xOFFSET". */
void places_add(struct text *t, const uintptr_t *callers, unsigned n);

#endif
