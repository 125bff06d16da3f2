/* The C library's own questions about the heap, answered for this heap. */
#ifndef RATION_INSPECT_GLIBC_STATS_H
#define RATION_INSPECT_GLIBC_STATS_H

#include <malloc.h>
#include <stdio.h>

struct mallinfo2 stats_mallinfo2(void);

/* XML in the C library's schema, with elements of our own. 0, or -1 with errno. */
int stats_malloc_info(int options, FILE *stream);

/* The ledger on stderr. */
void stats_print(void);

#endif
