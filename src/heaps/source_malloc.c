#include "heaps/internal.h"
#include <stdlib.h>

static void *take(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    void *memory = NULL;
    return posix_memalign(&memory, max_size(alignment, sizeof(void *)), bytes) == 0 ? memory : NULL;
}

static void give(void *context, void *memory, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(memory);
}

const struct ration_source *ration_source_malloc(void)
{
    static const struct ration_source source = {.take = take, .give = give};
    return &source;
}
