/* The malloc behind a frame's malloc (interpose.c): found by the dynamic linker, or linked. */
#ifndef RATION_HEAPS_FRAME_NEXT_H
#define RATION_HEAPS_FRAME_NEXT_H

#include "base/compiler.h"

struct frame_next {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t n, size_t size);
    void *(*realloc)(void *block, size_t size);
    void *(*memalign)(size_t alignment, size_t size);
    void (*free)(void *block);
    size_t (*usable_size)(void *block);
    void *(*operator_new)(size_t size); /* NULL in a program in C */
    void *(*operator_new_aligned)(size_t size, size_t alignment);
};

/* Fills what is there; may allocate meanwhile. frame_next_found.c or frame_next_linked.c. */
HIDDEN void frame_next_find(struct frame_next *next);

#endif
