#include "replay.h"
#include "memory.h"
#include "process.h"
#include "verify.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ops_between_clocks = 64, ops_between_checks = 4096, least_timed_ns = 20000000 };

double lab_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double lab_utilisation(const struct lab_result *result)
{
    return result->peak_heap > 0 ? (double)result->peak_payload / (double)result->peak_heap : 0;
}

uint64_t lab_ceiling_heap(const struct trace *trace, size_t header, size_t grain,
                          size_t least_block)
{
    uint64_t *cost_of = lab_allocate(trace->n_ids, sizeof *cost_of);
    uint64_t now = 0, most = 0;
    for (size_t i = 0; i < trace->n_ops; i++) {
        const struct trace_op *op = &trace->ops[i];
        if (op->kind == TRACE_FREE_NULL)
            continue;
        uint64_t cost = 0;
        if (op->kind != TRACE_FREE) {
            cost = (op->size + header + grain - 1) & ~(uint64_t)(grain - 1);
            cost = cost < least_block ? least_block : cost;
        }
        now += cost - cost_of[op->id];
        cost_of[op->id] = cost;
        most = now > most ? now : most;
    }
    free(cost_of);
    return most;
}

/* ---- a moment ---------------------------------------------------------------------------- */

static int add_to_moment(const struct ration_block *block, void *context)
{
    struct lab_moment *moment = context;
    if (block->state != RATION_BLOCK_FREE)
        return 0;
    moment->n_free++;
    moment->free_bytes += block->bytes;
    if (block->bytes > moment->largest_free)
        moment->largest_free = block->bytes;
    return 0;
}

static struct lab_moment take_moment(struct lab_heap *lab, uint64_t payload, uint64_t usable)
{
    struct lab_moment moment = {
        .heap_bytes = space_bytes(&lab->space), .payload = payload, .slack = usable - payload};
    lab_walk(lab, add_to_moment, &moment);
    moment.overhead = moment.heap_bytes - usable - moment.free_bytes;
    return moment;
}

void lab_describe_free(struct lab_heap *lab, char *text, size_t text_bytes)
{
    struct lab_moment moment = {0};
    lab_walk(lab, add_to_moment, &moment);
    snprintf(text, text_bytes, "free %" PRIu64 " in %" PRIu64 " piece%s, largest %" PRIu64,
             moment.free_bytes, moment.n_free, moment.n_free == 1 ? "" : "s", moment.largest_free);
}

/* ---- the verified pass ------------------------------------------------------------------- */

struct pass {
    struct lab_result *result;
    struct lab_heap *lab;
    const struct trace *trace;
    struct verifier verifier;
    struct held *held; /* by id */
    uint64_t payload;
    uint64_t usable;
    double payload_sum, heap_sum;
    double deadline;
};

static size_t alignment_for(const struct lab_heap *lab, const struct trace_op *op)
{
    const size_t asked = (size_t)1 << op->align_shift;
    return asked > lab->alignment ? asked : lab->alignment;
}

static void note_failure(struct pass *pass, const struct trace_op *op)
{
    struct lab_result *result = pass->result;
    if (result->n_failures++ > 0)
        return;
    char free_text[120];
    lab_describe_free(pass->lab, free_text, sizeof free_text);
    snprintf(result->failure, sizeof result->failure, "FAIL %" PRIu64 " (%s)", op->size, free_text);
}

static int enter(struct pass *pass, const struct trace_op *op, char *payload)
{
    struct held *held = &pass->held[op->id];
    lab_follow(pass->lab, payload);
    *held = (struct held){.payload = payload,
                          .size = op->size,
                          .usable = ration_heap_usable_size(pass->lab->heap, payload)};
    pass->payload += held->size;
    pass->usable += held->usable;
    return verifier_enter(&pass->verifier, held, alignment_for(pass->lab, op), op);
}

static int leave(struct pass *pass, const struct trace_op *op)
{
    struct held *held = &pass->held[op->id];
    pass->payload -= held->size;
    pass->usable -= held->usable;
    return verifier_leave(&pass->verifier, held, op);
}

static int do_alloc(struct pass *pass, const struct trace_op *op)
{
    struct ration_heap *heap = pass->lab->heap;
    char *payload = NULL;
    pass->result->alloc_ops++;
    if (op->kind == TRACE_CALLOC)
        payload = ration_heap_alloc_zeroed(heap, 1, op->size);
    else if (op->kind == TRACE_ALIGNED)
        payload = ration_heap_alloc_aligned(heap, alignment_for(pass->lab, op), op->size);
    else
        payload = ration_heap_alloc(heap, op->size);
    if (payload == NULL) {
        note_failure(pass, op);
        return 0;
    }
    if (op->kind == TRACE_CALLOC && verifier_zero(&pass->verifier, payload, op->size, op) != 0)
        return -1;
    return enter(pass, op, payload);
}

static int do_free(struct pass *pass, const struct trace_op *op)
{
    struct held *held = &pass->held[op->id];
    pass->result->free_ops++;
    if (op->kind == TRACE_FREE_NULL) {
        ration_heap_free(pass->lab->heap, NULL);
        return 0;
    }
    if (held->payload == NULL) /* its allocation failed */
        return 0;
    if (leave(pass, op) != 0)
        return -1;
    ration_heap_free(pass->lab->heap, held->payload);
    held->payload = NULL;
    return 0;
}

static int do_realloc(struct pass *pass, const struct trace_op *op)
{
    struct held *held = &pass->held[op->id];
    if (held->payload == NULL)
        return do_alloc(pass, op);
    pass->result->alloc_ops++;
    const struct held old = *held;
    if (leave(pass, op) != 0)
        return -1;
    char *payload = ration_heap_resize(pass->lab->heap, held->payload, op->size);
    if (payload == NULL) {
        note_failure(pass, op);
        pass->payload += old.size;
        pass->usable += old.usable;
        return verifier_enter(&pass->verifier, held, 1, op);
    }
    const uint64_t kept = old.size < op->size ? old.size : op->size;
    if (verifier_compare(&pass->verifier, &old, payload, kept, op) != 0)
        return -1;
    return enter(pass, op, payload);
}

static int do_operation(struct pass *pass, const struct trace_op *op)
{
    switch ((enum trace_kind)op->kind) {
    case TRACE_FREE:
    case TRACE_FREE_NULL:
        return do_free(pass, op);
    case TRACE_REALLOC:
        return do_realloc(pass, op);
    case TRACE_MALLOC:
    case TRACE_CALLOC:
    case TRACE_ALIGNED:
        break;
    }
    return do_alloc(pass, op);
}

static void note_sizes(struct pass *pass, size_t index)
{
    struct lab_result *result = pass->result;
    const uint64_t heap = space_bytes(&pass->lab->space);
    pass->payload_sum += (double)pass->payload;
    pass->heap_sum += (double)heap;
    if (pass->payload > result->peak_payload)
        result->peak_payload = pass->payload;
    if (index == pass->trace->peak_op)
        result->at_peak = take_moment(pass->lab, pass->payload, pass->usable);
    const size_t n = pass->trace->n_ops;
    const size_t step = n / (most_samples - 1) + 1;
    if ((index % step == 0 || index + 1 == n) && result->n_samples < most_samples)
        result->samples[result->n_samples++] =
            (struct lab_sample){.op = index + 1, .payload = pass->payload, .heap = heap};
}

static int check_heap(struct pass *pass)
{
    struct ration_finding finding = {0};
    if (ration_heap_check(pass->lab->heap, &finding) == 0)
        return 0;
    snprintf(pass->result->text, sizeof pass->result->text, "invariant I%u broken: %s",
             finding.invariant, finding.text);
    return -1;
}

static void run_pass(struct pass *pass)
{
    struct lab_result *result = pass->result;
    const size_t n = pass->trace->n_ops;
    for (size_t i = 0; i < n; i++) {
        if (do_operation(pass, &pass->trace->ops[i]) != 0 ||
            ((i + 1) % ops_between_checks == 0 && check_heap(pass) != 0)) {
            result->outcome = LAB_WRONG;
            break;
        }
        result->n_ops++;
        note_sizes(pass, i);
        if (i % ops_between_clocks == 0 && lab_now() > pass->deadline) {
            result->outcome = LAB_SLOW;
            snprintf(result->text, sizeof result->text,
                     "stopped at the time limit after %zu of %zu operations (--seconds)", i + 1, n);
            break;
        }
    }
    if (result->outcome != LAB_WRONG && check_heap(pass) != 0)
        result->outcome = LAB_WRONG;
}

static void collect(struct pass *pass)
{
    struct lab_result *result = pass->result;
    struct ration_heap_stats stats;
    ration_heap_stats(pass->lab->heap, &stats);
    result->peak_heap = pass->lab->space.peak_bytes;
    result->mean_utilisation = pass->heap_sum > 0 ? pass->payload_sum / pass->heap_sum : 0;
    result->at_end = take_moment(pass->lab, pass->payload, pass->usable);
    result->has_moments = result->outcome == LAB_DONE;
    result->alloc_steps_max = stats.alloc_steps.max;
    result->free_steps_max = stats.free_steps.max;
    if (result->alloc_ops > 0)
        result->alloc_steps_mean = (double)stats.alloc_steps.all / (double)result->alloc_ops;
    if (result->free_ops > 0)
        result->free_steps_mean = (double)stats.free_steps.all / (double)result->free_ops;
    result->has_steps = true;
    result->n_splits = stats.n_splits;
    result->n_merges = stats.n_merges;
    result->n_system_calls = pass->lab->space.n_system_calls;
}

static void verify_and_measure(struct lab_result *result, const struct lab_choices *choices,
                               const struct trace *trace, double seconds)
{
    struct lab_heap lab;
    const char *message = "";
    if (lab_open(&lab, result->strategy, choices, trace->peak_payload, trace->peak_live, NULL, NULL,
                 &message) != 0) {
        result->outcome = LAB_SKIPPED;
        snprintf(result->text, sizeof result->text, "%s", message);
        return;
    }
    result->ceiling_heap = lab_ceiling_heap(trace, result->strategy->header_bytes, lab.alignment,
                                            result->strategy->least_block);
    struct pass pass = {.result = result,
                        .lab = &lab,
                        .trace = trace,
                        .held = lab_allocate(trace->n_ids, sizeof(struct held)),
                        .deadline = lab_now() + seconds};
    verifier_open(&pass.verifier, &lab, result->text, sizeof result->text);
    run_pass(&pass);
    collect(&pass);
    verifier_close(&pass.verifier);
    free(pass.held);
    lab_close(&lab);
}

/* ---- the timed pass ---------------------------------------------------------------------- */

struct timing {
    double clock_cost; /* seconds that reading the clock takes */
    double whole_seconds, alloc_seconds, free_seconds;
    uint64_t whole, allocs, frees; /* operations behind each */
};

static bool is_free(const struct trace_op *op)
{
    return op->kind == TRACE_FREE || op->kind == TRACE_FREE_NULL;
}

static void repeat_allocs(struct lab_heap *lab, const struct trace_op *op,
                          const struct trace_op *end, char **payload)
{
    for (; op < end; op++) {
        if (op->kind == TRACE_REALLOC)
            payload[op->id] = ration_heap_resize(lab->heap, payload[op->id], op->size);
        else if (op->kind == TRACE_ALIGNED)
            payload[op->id] =
                ration_heap_alloc_aligned(lab->heap, alignment_for(lab, op), op->size);
        else
            payload[op->id] = ration_heap_alloc(lab->heap, op->size);
    }
}

static void repeat_frees(struct lab_heap *lab, const struct trace_op *op,
                         const struct trace_op *end, char **payload)
{
    for (; op < end; op++) {
        if (op->kind == TRACE_FREE_NULL)
            continue;
        ration_heap_free(lab->heap, payload[op->id]);
        payload[op->id] = NULL;
    }
}

/* The operations in their order, with a clock only now and then. Returns 0, or -1 at the time
 * limit. */
static int time_whole(struct lab_heap *lab, const struct trace *trace, char **payload,
                      struct timing *timing, double deadline)
{
    const double before = lab_now();
    double now = before;
    const struct trace_op *op = trace->ops, *const end = trace->ops + trace->n_ops;
    while (op < end && now < deadline) {
        const struct trace_op *const stop = end - op > 4096 ? op + 4096 : end;
        for (; op < stop; op++) {
            if (is_free(op))
                repeat_frees(lab, op, op + 1, payload);
            else
                repeat_allocs(lab, op, op + 1, payload);
        }
        now = lab_now();
    }
    timing->whole_seconds += now - before;
    timing->whole += (uint64_t)(op - trace->ops);
    return op == end ? 0 : -1;
}

/* Clocks are read between rows of operations of one sort, not between operations: a clock costs
 * as much as a malloc. What it costs is known and taken off. */
static int time_sorts(struct lab_heap *lab, const struct trace *trace, char **payload,
                      struct timing *timing, double deadline)
{
    const struct trace_op *op = trace->ops, *const end = trace->ops + trace->n_ops;
    double before = lab_now();
    while (op < end && before < deadline) {
        const struct trace_op *row = op;
        const bool frees = is_free(op);
        while (op < end && is_free(op) == frees && op - row < 4096)
            op++;
        if (frees)
            repeat_frees(lab, row, op, payload);
        else
            repeat_allocs(lab, row, op, payload);
        const double after = lab_now();
        const double taken =
            after - before > timing->clock_cost ? after - before - timing->clock_cost : 0;
        *(frees ? &timing->free_seconds : &timing->alloc_seconds) += taken;
        *(frees ? &timing->frees : &timing->allocs) += (uint64_t)(op - row);
        before = after;
    }
    return op == end ? 0 : -1;
}

static double cost_of_clock(void)
{
    enum { n = 2000 };
    const double before = lab_now();
    for (int i = 0; i < n; i++)
        (void)lab_now();
    return (lab_now() - before) / n;
}

typedef int time_fn(struct lab_heap *lab, const struct trace *trace, char **payload,
                    struct timing *timing, double deadline);

/* The pages of the break are there before the clock starts: a strategy that writes its links or
 * headers into blocks would otherwise pay for every page's first touch, which the program pays for
 * in any case. What they hold stays. */
static void touch_pages(const struct lab_heap *lab, uint64_t heap_bytes)
{
    enum { most_touched = 256 << 20 };
    const size_t limit = lab->space.brk.limit_bytes;
    const size_t bytes = heap_bytes < limit ? heap_bytes : limit;
    if (bytes > most_touched)
        return;
    volatile char *const start = lab->space.brk.start;
    for (size_t at = 0; at < bytes; at += space_page_bytes)
        start[at] = start[at];
}

/* A fresh heap for each round, and rounds until there is something to measure. */
static void time_rounds(struct lab_result *result, const struct lab_choices *choices,
                        const struct trace *trace, double seconds, time_fn *run,
                        struct timing *timing)
{
    const double started = lab_now();
    char **payload = lab_allocate(trace->n_ids, sizeof *payload);
    do {
        struct lab_heap lab;
        const char *message;
        if (lab_open(&lab, result->strategy, choices, trace->peak_payload, trace->peak_live, NULL,
                     NULL, &message) != 0)
            break;
        memset(payload, 0, trace->n_ids * sizeof *payload);
        touch_pages(&lab, result->peak_heap);
        const int ended = run(&lab, trace, payload, timing, started + seconds);
        lab_close(&lab);
        if (ended != 0)
            break;
    } while ((lab_now() - started) * 1e9 < least_timed_ns);
    free(payload);
}

static double ns_each(double seconds, uint64_t count)
{
    return count > 0 ? 1e9 * seconds / (double)count : 0;
}

static void time_passes(struct lab_result *result, const struct lab_choices *choices,
                        const struct trace *trace, double seconds)
{
    struct timing timing = {.clock_cost = cost_of_clock()};
    time_rounds(result, choices, trace, seconds, time_whole, &timing);
    time_rounds(result, choices, trace, seconds, time_sorts, &timing);
    result->ns_per_op = ns_each(timing.whole_seconds, timing.whole);
    result->ns_per_alloc = ns_each(timing.alloc_seconds, timing.allocs);
    result->ns_per_free = ns_each(timing.free_seconds, timing.frees);
}

void lab_replay(struct lab_result *result, const struct lab_strategy *strategy,
                const struct lab_choices *choices, const struct trace *trace,
                const struct lab_limits *limits)
{
    *result = (struct lab_result){.strategy = strategy, .accounting = "simulated break and maps"};
    if (strategy->is_process) {
        process_replay(result, trace, limits);
        return;
    }
    verify_and_measure(result, choices, trace, limits->seconds);
    if (result->outcome == LAB_DONE && limits->times && trace->n_ops >= lab_least_timed_ops)
        time_passes(result, choices, trace, limits->seconds);
}
