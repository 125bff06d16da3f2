/* libration-frame.a: the next malloc is that of a library loaded later, libration or the C library. */
#define _GNU_SOURCE
#include "heaps/frame_next.h"
#include <dlfcn.h>

void frame_next_find(struct frame_next *next)
{
    *(void **)&next->calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next->realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next->memalign = dlsym(RTLD_NEXT, "memalign");
    *(void **)&next->free = dlsym(RTLD_NEXT, "free");
    *(void **)&next->usable_size = dlsym(RTLD_NEXT, "malloc_usable_size");
    *(void **)&next->operator_new = dlsym(RTLD_NEXT, "_Znwm");
    *(void **)&next->operator_new_aligned = dlsym(RTLD_NEXT, "_ZnwmSt11align_val_t");
    *(void **)&next->malloc = dlsym(RTLD_NEXT, "malloc");
}
