/* The registry of published heaps, as a tool reads it that calls nothing in the program: from
 * inside, from a signal handler, or from another process by copying its memory.
 *
 * Every program (or library) that links libration-heaps.a has a registry of its own: the list of
 * its published heaps (ration_heap_publish). When it publishes its first heap it offers the
 * registry to libration, if the process runs under it: that is the whole seam. A reader follows
 * first -> next_published, and finds the figures of a heap where its kind says that they lie.
 *
 * A reader takes no lock. It must bound its loops and check what it reads: a heap may end meanwhile,
 * and a handle may lie in memory that its owner has left. Figures of a heap in use are torn.
 *
 * All of this is for tools. Programs use ration_heap_publish() and ration_heaps_each() (heap.h). */
#ifndef RATION_REGISTRY_H
#define RATION_REGISTRY_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ration_figure {
    RATION_FIGURE_HEAP_BYTES, /* as in struct ration_heap_stats */
    RATION_FIGURE_LIVE_BYTES, /* usable bytes of live blocks; in an arena, freed ones count */
    RATION_FIGURE_LIVE_BLOCKS,
    RATION_FIGURE_ALLOCS,
    RATION_FIGURE_FREES,
    RATION_FIGURE_FAILURES,
    RATION_FIGURE_COUNT
};

/* A figure is (plus - minus) * times: words of 8 bytes at these distances from the base. 0: none
 * (the word counts as 0; `times` as 1). All three 0: this kind does not keep the figure. */
struct ration_figure_place {
    uint16_t plus, minus, times;
};

/* Of a kind: where its figures lie. The base is the handle, or what handle->through points to. */
struct ration_figures {
    bool are_through;
    struct ration_figure_place places[RATION_FIGURE_COUNT];
};

enum { RATION_REGISTRY_VERSION = 1 };

struct ration_registry {
    uint32_t version;          /* of this structure and of those that it leads to */
    uint32_t handle_bytes;     /* sizeof(struct ration_heap): a second look at the same */
    struct ration_heap *first; /* newest first */
};

/* Offers a registry to libration, which defines this; heaps refer to it weakly. The registry stays
 * valid as long as its program or library is loaded. Any thread. Returns 0, or -1 if libration knows
 * as many as it can. */
int ration_registry_join(const struct ration_registry *registry);

#ifdef __cplusplus
}
#endif

#endif
