/* libration-frame-static.a: the next malloc is libration itself, in the same archive, under names of
 * its own (interposed.txt). */
#include "heaps/frame_next.h"

void *ration_next_malloc(size_t size);
void *ration_next_calloc(size_t n, size_t size);
void *ration_next_realloc(void *block, size_t size);
void *ration_next_memalign(size_t alignment, size_t size);
void ration_next_free(void *block);
size_t ration_next_malloc_usable_size(void *block);
void *ration_next__Znwm(size_t size);
void *ration_next__ZnwmSt11align_val_t(size_t size, size_t alignment);

void frame_next_find(struct frame_next *next)
{
    *next = (struct frame_next){
        .malloc = ration_next_malloc,
        .calloc = ration_next_calloc,
        .realloc = ration_next_realloc,
        .memalign = ration_next_memalign,
        .free = ration_next_free,
        .usable_size = ration_next_malloc_usable_size,
        .operator_new = ration_next__Znwm,
        .operator_new_aligned = ration_next__ZnwmSt11align_val_t,
    };
}
