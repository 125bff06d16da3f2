/* Whose memory an address is that libration never handed out: a stack, a library's data, the heap of another allocator, a
 * file, nothing. Reads the system's list of mappings; allocates nothing, and does not read at the address. */
#ifndef RATION_CORE_FOREIGN_H
#define RATION_CORE_FOREIGN_H

#include "base/fmt.h"

/* Adds one line that says it. */
void foreign_describe(struct text *t, uintptr_t address);

#endif
