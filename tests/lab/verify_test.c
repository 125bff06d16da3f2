/* The verifier finds what it is there for. A correct strategy with one defect at a time is
 * replayed, and every defect must be named; without a defect all is well. */
#include "lab/engine.h"
#include "lab/verify.h"
#include "lab_tests.h"
#include <stdlib.h>

enum defect {
    NO_DEFECT,
    OVERLAPS,          /* a block reaches into the one before it */
    MISALIGNED,        /* an address that is off by 4 */
    IGNORES_ALIGNMENT, /* an aligned request is served like any other */
    OUTSIDE,           /* a block that reaches past the break */
    TOO_SMALL,         /* usable size below what was asked for */
    DAMAGES,           /* every 10th allocation writes into a live block */
    DAMAGES_END,       /* the same, to the last byte of a large block */
    LOSES,             /* a resize that does not copy */
    FORGETS_INVARIANT, /* its own check finds something */
};

enum { most_blocks = 4096 };

/* A bump allocator that never reuses, with a table of its blocks. */
struct broken {
    struct engine engine;
    enum defect defect;
    struct {
        char *address;
        size_t bytes;
    } blocks[most_blocks];
    size_t n_blocks;
};

static enum defect chosen;

static struct broken *broken_of(const struct ration_heap *heap)
{
    return (struct broken *)(uintptr_t)heap;
}

static void damage(struct broken *broken)
{
    if (broken->n_blocks % 10 != 9)
        return;
    const size_t victim = broken->n_blocks - 2;
    char *from = broken->blocks[victim].address;
    if (broken->defect == DAMAGES)
        from[0] ^= 1;
    else if (broken->defect == DAMAGES_END && broken->blocks[victim].bytes >= 100000)
        from[broken->blocks[victim].bytes - 1] ^= 1;
}

static void *broken_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct broken *broken = broken_of(heap);
    engine_begin(&broken->engine);
    if (broken->defect == IGNORES_ALIGNMENT)
        alignment = 16;
    char *end = broken->engine.space->brk.end;
    const size_t lead = align_up((uintptr_t)end, alignment) - (uintptr_t)end;
    const size_t bytes = align_up(size > 0 ? size : 1, 16);
    if (broken->n_blocks == most_blocks ||
        space_move_break(broken->engine.space, (intptr_t)(lead + bytes)) == (void *)-1)
        return NULL;
    char *block = end + lead;
    if (broken->n_blocks == 9 && broken->defect == OVERLAPS)
        block -= 16;
    if (broken->n_blocks == 9 && broken->defect == MISALIGNED)
        block += 4;
    if (broken->n_blocks == 9 && broken->defect == OUTSIDE)
        block += 16;
    broken->blocks[broken->n_blocks].address = block;
    broken->blocks[broken->n_blocks++].bytes = size;
    damage(broken);
    engine_end_alloc(&broken->engine, bytes, true);
    return block;
}

static size_t size_of(const struct broken *broken, const void *block)
{
    for (size_t i = broken->n_blocks; i > 0; i--)
        if (broken->blocks[i - 1].address == block)
            return broken->blocks[i - 1].bytes;
    return 0;
}

static size_t broken_usable(const struct ration_heap *heap, const void *block)
{
    const struct broken *broken = broken_of(heap);
    const size_t bytes = align_up(size_of(broken, block) > 0 ? size_of(broken, block) : 1, 16);
    return broken->defect == TOO_SMALL && broken->n_blocks > 9 ? bytes - 16 : bytes;
}

static void *broken_resize(struct ration_heap *heap, void *block, size_t size)
{
    const struct broken *broken = broken_of(heap);
    const size_t old = size_of(broken, block);
    char *moved = broken_alloc(heap, size, 16);
    if (moved != NULL && broken->defect != LOSES)
        memcpy(moved, block, old < size ? old : size);
    return moved;
}

static void *broken_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    (void)heap, (void)block, (void)size;
    return NULL;
}

static void broken_free(struct ration_heap *heap, void *block)
{
    (void)heap, (void)block;
}

static int broken_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    (void)heap, (void)visit, (void)context;
    return 0;
}

static void broken_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    if (broken_of(heap)->defect == FORGETS_INVARIANT)
        *finding = (struct ration_finding){.invariant = 7, .text = "seven must hold"};
}

static int broken_open(struct lab_heap *lab, const struct lab_choices *choices,
                       ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "broken",
                                               .alloc = broken_alloc,
                                               .resize = broken_resize,
                                               .try_resize = broken_try_resize,
                                               .free = broken_free,
                                               .owns = engine_owns,
                                               .usable_size = broken_usable,
                                               .walk = broken_walk,
                                               .check = broken_check,
                                               .stats = engine_stats,
                                               .destroy = engine_destroy};
    (void)choices;
    (void)message;
    struct broken *broken = engine_open(lab, sizeof *broken, &ops, 16, observe, context);
    broken->defect = chosen;
    return 0;
}

static const struct lab_strategy strategy_broken = {
    .name = "broken", .what = "for this test", .least_block = 16, .open = broken_open};

/* Twenty blocks, some of them large, one aligned, one resized twice, all freed. */
static struct trace make_trace(void)
{
    struct trace trace;
    trace_start(&trace, "broken");
    for (uint32_t i = 0; i < 20; i++) {
        const bool is_aligned = i == 11;
        trace_add(&trace, is_aligned ? TRACE_ALIGNED : TRACE_MALLOC, i,
                  i % 4 == 3 ? 100000 + i : 20 + i);
        if (is_aligned)
            trace_last(&trace)->align_shift = 9;
        if (i == 15)
            trace_add(&trace, TRACE_REALLOC, 14, 300);
    }
    trace_add(&trace, TRACE_REALLOC, 14, 30);
    for (uint32_t i = 0; i < 20; i++)
        trace_add(&trace, TRACE_FREE, i, 0);
    for (uint32_t i = 0; i < trace.n_ops; i++)
        trace.ops[i].line = i + 5;
    trace_finish(&trace);
    return trace;
}

static struct lab_result replay(enum defect defect)
{
    static const struct lab_choices none;
    static const struct lab_limits limits = {.seconds = 60};
    static struct lab_result result;
    struct trace trace = make_trace();
    chosen = defect;
    lab_replay(&result, &strategy_broken, &none, &trace, &limits);
    trace_drop(&trace);
    return result;
}

static void a_correct_strategy_passes(void **state)
{
    (void)state;
    const struct lab_result result = replay(NO_DEFECT);
    assert_string_equal(result.text, "");
    assert_int_equal(result.outcome, LAB_DONE);
}

static void every_defect_is_named(void **state)
{
    (void)state;
    static const struct {
        enum defect defect;
        const char *text;
        bool names_line;
    } cases[] = {
        {OVERLAPS, "the block overlaps one that is live", true},
        {MISALIGNED, "the address is not aligned as it must be", true},
        {IGNORES_ALIGNMENT, "the address is not aligned as it must be", true},
        {OUTSIDE, "the block reaches out of the heap", true},
        {TOO_SMALL, "the usable size is below the size asked for", true},
        {DAMAGES, "the contents changed while the block was live", true},
        {DAMAGES_END, "the contents changed while the block was live", true},
        {LOSES, "realloc did not keep the contents", true},
        {FORGETS_INVARIANT, "invariant I7 broken: seven must hold", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct lab_result result = replay(cases[i].defect);
        if (result.outcome != LAB_WRONG || strstr(result.text, cases[i].text) == NULL)
            fail_msg("defect %d: outcome %d, '%s' instead of '%s'", cases[i].defect, result.outcome,
                     result.text, cases[i].text);
        if (cases[i].names_line && strncmp(result.text, "line ", 5) != 0)
            fail_msg("defect %d: '%s' names no line", cases[i].defect, result.text);
    }
}

static void the_line_is_that_of_the_operation(void **state)
{
    (void)state;
    const struct lab_result result = replay(OVERLAPS); /* of the tenth block */
    assert_int_equal(strncmp(result.text, "line 14, id 9, 29 bytes at ", 27), 0);
}

static void memory_from_calloc_must_be_zero(void **state)
{
    (void)state;
    char text[200] = "", memory[64] = {0};
    const struct trace_op op = {.kind = TRACE_CALLOC, .size = 64};
    struct verifier verifier;
    verifier_open(&verifier, NULL, text, sizeof text);
    assert_int_equal(verifier_zero(&verifier, memory, 64, &op), 0);
    memory[63] = 1;
    assert_int_equal(verifier_zero(&verifier, memory, 63, &op), 0);
    assert_int_equal(verifier_zero(&verifier, memory, 64, &op), -1);
    assert_non_null(strstr(text, "calloc gave memory that is not zero"));
    verifier_close(&verifier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_correct_strategy_passes),
        cmocka_unit_test(every_defect_is_named),
        cmocka_unit_test(the_line_is_that_of_the_operation),
        cmocka_unit_test(memory_from_calloc_must_be_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
