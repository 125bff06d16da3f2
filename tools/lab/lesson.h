/*
 * A small trace in slow motion: every look along a list, split, merge and list change of every
 * operation, with the heap and its free lists after it. Shown in the terminal or as a page.
 */
#ifndef RATION_LAB_LESSON_H
#define RATION_LAB_LESSON_H

#include "strategy.h"
#include "trace.h"
#include <stdio.h>

struct lesson_request {
    const struct trace *trace;
    const struct lab_strategy *const *strategies;
    size_t n_strategies;
    const struct lab_choices *choices;
    size_t first; /* operations shown */
};

/* A part of the heap after an operation. Addresses count from the heap's start; mappings, which
 * lie elsewhere, from lesson_map_base. */
struct lesson_part {
    uint64_t address;
    uint64_t bytes;
    uint64_t requested; /* of a live part */
    uint32_t id;        /* of a live part */
    enum ration_block_state state;
};

struct lesson_event {
    enum ration_event_kind kind;
    unsigned list;
    uint64_t block; /* lesson_nowhere: none */
    uint64_t other;
    uint64_t bytes;
};

/* A free block in its place in a list. */
struct lesson_link {
    unsigned list;
    uint64_t block;
};

struct lesson_step {
    const struct trace_op *op;
    bool failed;
    uint64_t placed_at; /* payload, lesson_nowhere when there is none */
    struct lesson_event *events;
    size_t n_events;
    struct lesson_part *parts;
    size_t n_parts;
    struct lesson_link *links; /* in the order of the lists */
    size_t n_links;
    uint64_t heap_bytes;
    uint64_t payload_bytes;
    char free_text[100]; /* "free 48 in 3 pieces, largest 16" */
};

struct lesson {
    const struct lab_strategy *strategy;
    struct lesson_step *steps; /* steps[0] is the heap before the first operation */
    size_t n_steps;
};

#define lesson_map_base (UINT64_C(1) << 40)
#define lesson_nowhere  UINT64_MAX

/* Record a lesson; lesson_drop is owed. Returns 0, or -1 with a message. */
int lesson_record(struct lesson *lesson, const struct lab_strategy *strategy,
                  const struct lesson_request *request, const char **message);
void lesson_drop(struct lesson *lesson);

/* What a free list is called: "2^5", "unsorted", "list 3" … */
void lesson_list_name(const struct lab_strategy *strategy, unsigned list, char text[24]);

/* "p3 = malloc(16)". */
void lesson_op_text(const struct trace_op *op, char text[64]);

/* Both return an exit status. */
int lesson_print(const struct lesson_request *request, FILE *out);
int lesson_write_page(const struct lesson_request *request, FILE *out);

#endif
