/* Opens the heap before the program begins: nearly every program allocates, and what its first request would touch
 * (window, first cache, tables, one slab's record) is touched here, so that a program that measures itself does not see it. No
 * block is handed out, and no block's memory is touched.
 *
 * Of the constructors of this library this one is linked last and runs last: the options are read, and whoever closes the
 * fast paths (hardening) has done so. Then there is nothing to open. */
#include "cache/cache.h"
#include "core/life.h"

#include <stdlib.h>

/* The buffer that the C library gives to a terminal: asked for by nearly every program, and its slab has a short record. */
enum { FIRST_BYTES = 1024 };

__attribute__((constructor)) static void open_heap(void)
{
    struct cache *cache = life_cache();
    if (cache != NULL && cache == my_cache)
        cache_refill(cache, class_of(FIRST_BYTES));
    free(NULL); /* brings the code of the entry points, which lie together, into the process's pages */
}
