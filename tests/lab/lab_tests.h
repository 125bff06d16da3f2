/* What the lab's white-box tests share: cmocka, and heaps opened without a command line. */
#ifndef RATION_TESTS_LAB_H
#define RATION_TESTS_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lab/generate.h"
#include "lab/replay.h"
#include <stdio.h>
#include <string.h>

/* A heap of strategy `name` for at most 1 MiB of payload; fails the test when it does not open. */
static inline void open_heap(struct lab_heap *lab, const char *name,
                             const struct lab_choices *choices)
{
    static const struct lab_choices none;
    const char *message = "";
    const struct lab_strategy *strategy = strategy_find(name);
    assert_non_null(strategy);
    if (lab_open(lab, strategy, choices != NULL ? choices : &none, 1 << 20, 1000, NULL, NULL,
                 &message) != 0)
        fail_msg("%s does not open: %s", name, message);
}

/* A live block of `size` bytes; the break follows as it does in a replay. */
static inline char *take(struct lab_heap *lab, size_t size)
{
    char *payload = ration_heap_alloc(lab->heap, size);
    assert_non_null(payload);
    lab_follow(lab, payload);
    return payload;
}

static inline void give(struct lab_heap *lab, void *payload)
{
    ration_heap_free(lab->heap, payload);
}

/* Verify the trace that generator `name` makes, without the timed pass. */
static inline void replay_generated(struct lab_result *result, const struct lab_strategy *strategy,
                                    const struct lab_choices *choices, const char *name)
{
    static const struct lab_choices none;
    const struct lab_limits limits = {.seconds = 60};
    struct trace trace;
    generator_run(generator_find(name), 1, &trace);
    lab_replay(result, strategy, choices != NULL ? choices : &none, &trace, &limits);
    trace_drop(&trace);
}

#endif
