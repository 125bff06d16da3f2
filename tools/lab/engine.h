/*
 * What the lab's own engines share: they are kinds of ration_heap whose figures and events are
 * kept in the same way. An engine's structure starts with this one.
 */
#ifndef RATION_LAB_ENGINE_H
#define RATION_LAB_ENGINE_H

#include "strategy.h"

struct engine {
    struct ration_heap heap; /* first: a heap's handle is its engine */
    struct space *space;
    struct ration_heap_stats stats;
    uint64_t steps; /* of the operation in progress */
    ration_observe_fn *observe;
    void *observe_context;
};

static inline struct engine *engine_of(const struct ration_heap *heap)
{
    return (struct engine *)(uintptr_t)heap;
}

static inline void engine_event(struct engine *engine, enum ration_event_kind kind, unsigned list,
                                const void *block, const void *other, size_t bytes)
{
    if (__builtin_expect(engine->observe != NULL, 0)) {
        const struct ration_event event = {
            .kind = kind, .list = list, .block = block, .other = other, .bytes = bytes};
        engine->observe(engine->observe_context, &event);
    }
}

/* A search looks at a free block: one step. */
static inline void engine_examine(struct engine *engine, const void *block, size_t bytes)
{
    engine->steps++;
    engine_event(engine, RATION_EVENT_EXAMINE, 0, block, NULL, bytes);
}

/* A search turns to another list: one step. */
static inline void engine_turn(struct engine *engine, unsigned list)
{
    engine->steps++;
    engine_event(engine, RATION_EVENT_CLASS, list, NULL, NULL, 0);
}

/* Open and close the count of steps of one operation. `usable` is what became live or was freed. */
void engine_begin(struct engine *engine);
void engine_end_alloc(struct engine *engine, size_t usable, bool succeeded);
void engine_end_free(struct engine *engine, size_t usable);

/* resize and try_resize for engines without growth in place: a block that is large enough stays. */
void *engine_resize(struct ration_heap *heap, void *block, size_t size);
void *engine_try_resize(struct ration_heap *heap, void *block, size_t size);

/* Everything of the statistics that can be had from a walk. */
void engine_stats(const struct ration_heap *heap, struct ration_heap_stats *stats);

/* For engines with nothing to give back but their space. */
void engine_destroy(struct ration_heap *heap);

/*
 * The check of every engine, by its walk:
 *   E1  parts come in address order without overlap
 *   E2  the live parts are as many as the counter says, with as many usable bytes
 *   E3  every part lies in memory that the heap owns
 */
void engine_check(const struct ration_heap *heap, struct ration_finding *finding);

bool engine_owns(const struct ration_heap *heap, const void *address);

/* A growing list of addresses: what a walk needs to tell free blocks from live ones. */
struct address_set {
    uintptr_t *at;
    size_t count;
    size_t capacity;
};

void address_set_add(struct address_set *set, const void *address);
void address_set_sort(struct address_set *set);
bool address_set_has(const struct address_set *set, const void *address); /* after sort */
void address_set_drop(struct address_set *set);

/* Visit one part; returns what the visitor returned. */
static inline int engine_visit(ration_walk_fn *visit, void *context, const void *address,
                               size_t bytes, size_t header_bytes, enum ration_block_state state)
{
    const bool has_payload = state == RATION_BLOCK_FREE || state == RATION_BLOCK_LIVE;
    char *from = (char *)(uintptr_t)address;
    const struct ration_block block = {.address = from,
                                       .bytes = bytes,
                                       .payload = has_payload ? from + header_bytes : NULL,
                                       .usable_bytes = has_payload ? bytes - header_bytes : 0,
                                       .requested_bytes = RATION_UNKNOWN,
                                       .state = state};
    return visit(&block, context);
}

/* Allocate the engine's structure of `bytes` and start its handle. */
void *engine_open(struct lab_heap *lab, size_t bytes, const struct ration_heap_ops *ops,
                  size_t alignment, ration_observe_fn *observe, void *context);

static inline size_t align_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

#endif
