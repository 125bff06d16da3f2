#include "lesson.h"
#include "memory.h"
#include "replay.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The lists as the events tell them: one row of links, lists kept together and in order. */
struct lists {
    struct lesson_link *links;
    size_t count;
    size_t capacity;
};

struct recorder {
    struct lab_heap lab;
    struct lists lists;
    bool has_lists;              /* false: the strategy walks all blocks */
    struct lesson_event *events; /* of the operation in progress */
    size_t n_events;
    size_t events_capacity;
    struct held {
        char *payload;
        uint64_t size;
    } * held; /* by id */
    size_t n_ids;
    uint64_t payload_bytes;
};

static uint64_t place_of(const struct recorder *recorder, const void *address)
{
    const struct space *space = &recorder->lab.space;
    const char *at = address;
    if (at == NULL)
        return lesson_nowhere;
    if (at >= space->maps.start && at < space->maps.start + space->maps.limit_bytes)
        return lesson_map_base + (uint64_t)(at - space->maps.start);
    return (uint64_t)(at - space->brk.start);
}

/* ---- free lists -------------------------------------------------------------------------- */

static void remove_link(struct lists *lists, uint64_t block)
{
    for (size_t i = 0; i < lists->count; i++) {
        if (lists->links[i].block != block)
            continue;
        lists->count--;
        memmove(&lists->links[i], &lists->links[i + 1], (lists->count - i) * sizeof *lists->links);
        return;
    }
}

/* Behind `other`, or at the front of `list`; lists stand in the order of their numbers. */
static void insert_link(struct lists *lists, unsigned list, uint64_t block, uint64_t other)
{
    size_t at = 0;
    while (at < lists->count && lists->links[at].list < list)
        at++;
    for (size_t i = 0; i < lists->count && other != lesson_nowhere; i++)
        if (lists->links[i].block == other)
            at = i + 1;
    if (lists->count == lists->capacity) {
        lists->capacity = lists->capacity > 0 ? 2 * lists->capacity : 32;
        lists->links = lab_resize(lists->links, lists->capacity, sizeof *lists->links);
    }
    memmove(&lists->links[at + 1], &lists->links[at], (lists->count - at) * sizeof *lists->links);
    lists->links[at] = (struct lesson_link){.list = list, .block = block};
    lists->count++;
}

static void observe(void *context, const struct ration_event *event)
{
    struct recorder *recorder = context;
    const struct lesson_event seen = {.kind = event->kind,
                                      .list = event->list,
                                      .block = place_of(recorder, event->block),
                                      .other = place_of(recorder, event->other),
                                      .bytes = event->bytes};
    if (recorder->n_events == recorder->events_capacity) {
        recorder->events_capacity =
            recorder->events_capacity > 0 ? 2 * recorder->events_capacity : 64;
        recorder->events =
            lab_resize(recorder->events, recorder->events_capacity, sizeof *recorder->events);
    }
    recorder->events[recorder->n_events++] = seen;
    if (event->kind == RATION_EVENT_REMOVE)
        remove_link(&recorder->lists, seen.block);
    else if (event->kind == RATION_EVENT_INSERT && recorder->has_lists) {
        remove_link(&recorder->lists, seen.block);
        insert_link(&recorder->lists, seen.list, seen.block, seen.other);
    }
}

/* ---- one step ---------------------------------------------------------------------------- */

struct part_list {
    const struct recorder *recorder;
    struct lesson_step *step;
    size_t capacity;
};

static void name_owner(const struct recorder *recorder, const void *payload,
                       struct lesson_part *part)
{
    for (size_t id = 0; id < recorder->n_ids; id++) {
        if (recorder->held[id].payload == payload) {
            part->id = (uint32_t)id;
            part->requested = recorder->held[id].size;
        }
    }
}

static int add_part(const struct ration_block *block, void *context)
{
    struct part_list *list = context;
    struct lesson_step *step = list->step;
    if (step->n_parts == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 32;
        step->parts = lab_resize(step->parts, list->capacity, sizeof *step->parts);
    }
    struct lesson_part *part = &step->parts[step->n_parts++];
    *part = (struct lesson_part){.address = place_of(list->recorder, block->address),
                                 .bytes = block->bytes,
                                 .state = block->state};
    if (block->state == RATION_BLOCK_LIVE)
        name_owner(list->recorder, block->payload, part);
    return 0;
}

static void *copy(const void *from, size_t count, size_t size)
{
    void *to = lab_allocate(count, size);
    if (count > 0)
        memcpy(to, from, count * size);
    return to;
}

/* The whole buffer of a heap in a fixed buffer is shown: its one large free block is part of the
 * lesson. */
static void finish_step(struct recorder *recorder, struct lesson_step *step)
{
    struct part_list list = {.recorder = recorder, .step = step};
    ration_heap_walk(recorder->lab.heap, add_part, &list);
    step->events = copy(recorder->events, recorder->n_events, sizeof *recorder->events);
    step->n_events = recorder->n_events;
    step->links = copy(recorder->lists.links, recorder->lists.count, sizeof *step->links);
    step->n_links = recorder->lists.count;
    step->payload_bytes = recorder->payload_bytes;
    step->heap_bytes = recorder->lab.break_follows_blocks
                           ? (uint64_t)(recorder->lab.buffer_end - recorder->lab.space.brk.start)
                           : space_bytes(&recorder->lab.space);
    uint64_t free_bytes = 0, largest = 0;
    size_t n_free = 0;
    for (size_t i = 0; i < step->n_parts; i++) {
        if (step->parts[i].state != RATION_BLOCK_FREE)
            continue;
        n_free++;
        free_bytes += step->parts[i].bytes;
        largest = step->parts[i].bytes > largest ? step->parts[i].bytes : largest;
    }
    snprintf(step->free_text, sizeof step->free_text,
             "free %" PRIu64 " in %zu piece%s, largest %" PRIu64, free_bytes, n_free,
             n_free == 1 ? "" : "s", largest);
    recorder->n_events = 0;
}

static void release(struct recorder *recorder, const struct trace_op *op)
{
    struct held *held = &recorder->held[op->id];
    if (op->kind == TRACE_FREE_NULL || held->payload == NULL)
        return;
    ration_heap_free(recorder->lab.heap, held->payload);
    recorder->payload_bytes -= held->size;
    *held = (struct held){0};
}

static void request(struct recorder *recorder, const struct trace_op *op, struct lesson_step *step)
{
    struct held *held = &recorder->held[op->id];
    struct ration_heap *heap = recorder->lab.heap;
    void *payload;
    if (op->kind == TRACE_REALLOC && held->payload != NULL)
        payload = ration_heap_resize(heap, held->payload, op->size);
    else if (op->kind == TRACE_ALIGNED)
        payload = ration_heap_alloc_aligned(heap, (size_t)1 << op->align_shift, op->size);
    else
        payload = ration_heap_alloc(heap, op->size);
    step->failed = payload == NULL;
    if (payload == NULL)
        return;
    lab_follow(&recorder->lab, payload);
    recorder->payload_bytes += op->size - held->size;
    *held = (struct held){.payload = payload, .size = op->size};
    step->placed_at = place_of(recorder, payload);
}

/* A fixed buffer of the next power of two that leaves room for holes, so that the picture is not
 * one huge free block. */
static size_t buffer_for(const struct trace *trace)
{
    size_t bytes = 32;
    while (bytes < trace->peak_payload + 32 * trace->peak_live)
        bytes *= 2;
    return bytes;
}

static struct lab_choices choices_for(const struct lesson_request *request,
                                      const struct lab_strategy *strategy)
{
    struct lab_choices choices = *request->choices;
    const bool is_fixed =
        strcmp(strategy->name, "buddy") == 0 || strcmp(strategy->name, "tlsf") == 0;
    if (is_fixed && choices.heap_bytes == 0)
        choices.heap_bytes = buffer_for(request->trace);
    return choices;
}

int lesson_record(struct lesson *lesson, const struct lab_strategy *strategy,
                  const struct lesson_request *request_, const char **message)
{
    *lesson = (struct lesson){.strategy = strategy};
    if (strategy->is_process) {
        *message = "a real malloc runs in a process of its own and shows no steps";
        return -1;
    }
    const struct trace *trace = request_->trace;
    const struct lab_choices choices = choices_for(request_, strategy);
    struct recorder recorder = {.n_ids = trace->n_ids,
                                .has_lists = strcmp(strategy->name, "implicit") != 0};
    if (lab_open(&recorder.lab, strategy, &choices, trace->peak_payload, trace->peak_live, observe,
                 &recorder, message) != 0) {
        free(recorder.events);
        free(recorder.lists.links);
        return -1;
    }
    recorder.held = lab_allocate(trace->n_ids, sizeof *recorder.held);
    const size_t n = trace->n_ops < request_->first ? trace->n_ops : request_->first;
    lesson->steps = lab_allocate(n + 1, sizeof *lesson->steps);
    lesson->n_steps = n + 1;
    lesson->steps[0].placed_at = lesson_nowhere;
    finish_step(&recorder, &lesson->steps[0]);
    for (size_t i = 0; i < n; i++) {
        struct lesson_step *step = &lesson->steps[i + 1];
        step->op = &trace->ops[i];
        step->placed_at = lesson_nowhere;
        if (step->op->kind == TRACE_FREE || step->op->kind == TRACE_FREE_NULL)
            release(&recorder, step->op);
        else
            request(&recorder, step->op, step);
        finish_step(&recorder, step);
    }
    lab_close(&recorder.lab);
    free(recorder.events);
    free(recorder.lists.links);
    free(recorder.held);
    return 0;
}

void lesson_drop(struct lesson *lesson)
{
    for (size_t i = 0; i < lesson->n_steps; i++) {
        free(lesson->steps[i].events);
        free(lesson->steps[i].parts);
        free(lesson->steps[i].links);
    }
    free(lesson->steps);
}

/* ---- words ------------------------------------------------------------------------------- */

static void name_bin(unsigned list, char text[24])
{
    if (list >= 128)
        snprintf(text, 24, "fast %u", 32 + 16 * (list - 128));
    else if (list == 1)
        snprintf(text, 24, "unsorted");
    else if (list < 64)
        snprintf(text, 24, "small %u", 16 * list);
    else
        snprintf(text, 24, "large %u", list);
}

void lesson_list_name(const struct lab_strategy *strategy, unsigned list, char text[24])
{
    static const char *const zones[] = {"TINY", "SMALL", "LARGE"};
    const char *name = strategy->name;
    if (strcmp(name, "buckets") == 0 || strcmp(name, "buddy") == 0)
        snprintf(text, 24, "%" PRIu64, UINT64_C(1) << list);
    else if (strcmp(name, "ptmalloc") == 0)
        name_bin(list, text);
    else if (strcmp(name, "zones") == 0 && list < 3)
        snprintf(text, 24, "%s", zones[list]);
    else if (strcmp(name, "segregated-fit") == 0 || strcmp(name, "tlsf") == 0 ||
             strcmp(name, "slab") == 0)
        snprintf(text, 24, "list %u", list);
    else if (strcmp(name, "buckets-range") == 0)
        snprintf(text, 24, "%" PRIu64 " to %" PRIu64, list == 0 ? 1 : (UINT64_C(2) << list) + 1,
                 UINT64_C(4) << list);
    else
        snprintf(text, 24, "free list");
}

void lesson_op_text(const struct trace_op *op, char text[64])
{
    switch ((enum trace_kind)op->kind) {
    case TRACE_MALLOC:
        snprintf(text, 64, "p%" PRIu32 " = malloc(%" PRIu64 ")", op->id, op->size);
        break;
    case TRACE_CALLOC:
        snprintf(text, 64, "p%" PRIu32 " = calloc(1, %" PRIu64 ")", op->id, op->size);
        break;
    case TRACE_ALIGNED:
        snprintf(text, 64, "p%" PRIu32 " = aligned_alloc(%" PRIu64 ", %" PRIu64 ")", op->id,
                 UINT64_C(1) << op->align_shift, op->size);
        break;
    case TRACE_REALLOC:
        snprintf(text, 64, "p%" PRIu32 " = realloc(p%" PRIu32 ", %" PRIu64 ")", op->id, op->id,
                 op->size);
        break;
    case TRACE_FREE:
        snprintf(text, 64, "free(p%" PRIu32 ")", op->id);
        break;
    case TRACE_FREE_NULL:
        snprintf(text, 64, "free(NULL)");
        break;
    }
}
