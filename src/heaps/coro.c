#include "heaps/internal.h"
#include <ration/coro.h>
#include <unistd.h>

/* Numbers of the invariants in coro.h. */
enum { I_LIST = 1, I_LOST, I_COUNTERS };

/* An entry: number + 1 of the next free stack, 0 at the end of the list, or live. */
static const uint32_t entry_live = UINT32_MAX;

enum { DEFAULT_STACK_BYTES = 64 * 1024 };

static struct ration_stacks *stacks_of(const struct ration_heap *heap)
{
    return (struct ration_stacks *)(uintptr_t)heap;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t stride_of(const struct ration_stacks *stacks)
{
    return stacks->options.guard_bytes + stacks->options.stack_bytes;
}

/* First byte of the guard below stack `number`. */
static uintptr_t guard_at(const struct ration_stacks *stacks, uint32_t number)
{
    return stacks->start + stacks->table_bytes + (size_t)number * stride_of(stacks);
}

static uintptr_t stack_at(const struct ration_stacks *stacks, uint32_t number)
{
    return guard_at(stacks, number) + stacks->options.guard_bytes;
}

/* --- allocation --- */

static int guard_stack(const struct ration_stacks *stacks, uint32_t number)
{
    const struct ration_source *source = stacks->options.source;
    return source->protect(source->context, (void *)guard_at(stacks, number),
                           stacks->options.guard_bytes, false);
}

/* Number + 1 of a stack for the caller, 0 if there is none. */
static uint32_t take_number(struct ration_stacks *stacks)
{
    uint32_t link = stacks->first_free;
    if (link != 0) {
        stacks->first_free = stacks->entries[link - 1];
        return link;
    }
    if (stacks->n_used == stacks->options.n_stacks || guard_stack(stacks, stacks->n_used) != 0)
        return 0;
    return ++stacks->n_used;
}

static void *stacks_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_stacks *stacks = stacks_of(heap);
    bool is_possible = size <= stacks->options.stack_bytes && alignment <= heap->default_alignment;
    uint32_t link = is_possible ? take_number(stacks) : 0;
    steps_record(&stacks->stats.alloc_steps, 1);
    if (link == 0) {
        stacks->stats.n_failures++;
        return NULL;
    }
    stacks->entries[link - 1] = entry_live;
    stacks->stats.n_allocs++;
    stats_count_live(&stacks->stats, stacks->options.stack_bytes);
    return (void *)stack_at(stacks, link - 1);
}

/* --- free --- */

static COLD void report_misfit(const struct ration_stacks *stacks, uintptr_t address,
                               const char *operation)
{
    const struct ration_heap *heap = &stacks->heap;
    uintptr_t first = guard_at(stacks, 0);
    uint32_t number = (uint32_t)((address - first) / stride_of(stacks));
    bool is_foreign =
        address < first || address >= stacks->start + stacks->bytes || number >= stacks->n_used;
    if (is_foreign || address < stack_at(stacks, number)) {
        ration_heap_report(heap, RATION_INVALID_FREE, (void *)address, operation,
                           is_foreign ? "the address is no stack of this heap"
                                      : "the address lies in a guard",
                           NULL, 0);
        return;
    }
    const void *stack = (void *)stack_at(stacks, number);
    size_t bytes = stacks->options.stack_bytes;
    if (stacks->entries[number] != entry_live)
        ration_heap_report(heap, RATION_DOUBLE_FREE, (void *)address, operation,
                           "the stack is free already", stack, bytes);
    else if ((address & (heap->default_alignment - 1)) != 0)
        ration_heap_report(heap, RATION_MISALIGNED_FREE, (void *)address, operation,
                           "the address is not aligned to a page as every stack is", stack, bytes);
    else
        ration_heap_report(heap, RATION_INTERIOR_FREE, (void *)address, operation,
                           "the address lies inside a live stack, not at its start", stack, bytes);
}

/* The number of the live stack that starts here, or UINT32_MAX after a report. */
static uint32_t resolve(const struct ration_stacks *stacks, const void *stack,
                        const char *operation)
{
    uintptr_t address = (uintptr_t)stack;
    uintptr_t first = guard_at(stacks, 0);
    size_t number = (address - first) / stride_of(stacks);
    if (address >= first && number < stacks->n_used &&
        stack_at(stacks, (uint32_t)number) == address && stacks->entries[number] == entry_live)
        return (uint32_t)number;
    report_misfit(stacks, address, operation);
    return UINT32_MAX;
}

static void stacks_free(struct ration_heap *heap, void *block)
{
    struct ration_stacks *stacks = stacks_of(heap);
    uint32_t number = resolve(stacks, block, "free");
    if (number == UINT32_MAX)
        return;
    stacks->entries[number] = stacks->first_free;
    stacks->first_free = number + 1;
    stacks->stats.n_frees++;
    stats_count_dead(&stacks->stats, stacks->options.stack_bytes);
    steps_record(&stacks->stats.free_steps, 1);
}

static void *stacks_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_stacks *stacks = stacks_of(heap);
    bool is_live = resolve(stacks, block, "resize") != UINT32_MAX;
    return is_live && size <= stacks->options.stack_bytes ? block : NULL;
}

static bool stacks_owns(const struct ration_heap *heap, const void *address)
{
    const struct ration_stacks *stacks = stacks_of(heap);
    return (uintptr_t)address >= guard_at(stacks, 0) &&
           (uintptr_t)address < stacks->start + stacks->bytes;
}

static size_t stacks_usable_size(const struct ration_heap *heap, const void *block)
{
    const struct ration_stacks *stacks = stacks_of(heap);
    return resolve(stacks, block, "usable size") != UINT32_MAX ? stacks->options.stack_bytes : 0;
}

/* --- a stack --- */

void *ration_stack_top(const struct ration_stacks *stacks, void *stack)
{
    return (char *)stack + stacks->options.stack_bytes;
}

size_t ration_stack_used_bytes(const struct ration_stacks *stacks, void *stack)
{
    const uint64_t *word = stack;
    size_t n = stacks->options.stack_bytes / sizeof *word;
    size_t untouched = 0;
    while (untouched < n && word[untouched] == 0)
        untouched++;
    return (n - untouched) * sizeof *word;
}

/* --- walk, check, count --- */

static int visit_table(uintptr_t from, size_t bytes, ration_walk_fn *visit, void *context)
{
    struct ration_block part = {.address = (void *)from,
                                .bytes = bytes,
                                .requested_bytes = RATION_UNKNOWN,
                                .state = RATION_BLOCK_TABLE};
    return visit(&part, context);
}

static int stacks_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    const struct ration_stacks *stacks = stacks_of(heap);
    int stop = visit_table(stacks->start, stacks->table_bytes, visit, context);
    for (uint32_t i = 0; i < stacks->options.n_stacks && stop == 0; i++) {
        stop = visit_table(guard_at(stacks, i), stacks->options.guard_bytes, visit, context);
        void *stack = (void *)stack_at(stacks, i);
        bool is_live = i < stacks->n_used && stacks->entries[i] == entry_live;
        struct ration_block block = {
            stack,          stacks->options.stack_bytes,
            stack,          stacks->options.stack_bytes,
            RATION_UNKNOWN, is_live ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE};
        if (stop == 0)
            stop = visit(&block, context);
    }
    return stop;
}

static void stacks_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_stacks *stacks = stacks_of(heap);
    size_t live = 0;
    for (uint32_t i = 0; i < stacks->n_used; i++)
        live += stacks->entries[i] == entry_live;
    size_t listed = 0;
    for (uint32_t link = stacks->first_free; link != 0; link = stacks->entries[link - 1]) {
        if (link > stacks->n_used || stacks->entries[link - 1] == entry_live ||
            ++listed > stacks->n_used) {
            finding_set(finding, I_LIST, (uintptr_t)&stacks->first_free,
                        "the list holds a live stack, or one twice");
            return;
        }
    }
    if (live + listed != stacks->n_used)
        finding_set(finding, I_LOST, 0, "a used stack is neither live nor in the list");
    else if (live != stacks->stats.live_blocks ||
             live * stacks->options.stack_bytes != stacks->stats.live_usable_bytes)
        finding_set(finding, I_COUNTERS, (uintptr_t)&stacks->stats,
                    "the counters do not agree with the table");
}

static void stacks_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_stacks *stacks = stacks_of(heap);
    *stats = stacks->stats;
    stats->live_requested_bytes = RATION_UNKNOWN;
    stats->free_blocks = stacks->options.n_stacks - stats->live_blocks;
    stats->free_bytes = stats->free_blocks * stacks->options.stack_bytes;
    stats->largest_free_bytes = stats->free_blocks != 0 ? stacks->options.stack_bytes : 0;
    stats->largest_request_bytes = stats->largest_free_bytes;
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}

static void stacks_destroy(struct ration_heap *heap)
{
    struct ration_stacks *stacks = stacks_of(heap);
    const struct ration_source *source = stacks->options.source;
    source->give(source->context, (void *)stacks->start, stacks->bytes);
    stacks->n_used = 0;
}

static const struct ration_figures stacks_figures = {
    .places = FIGURES_OF_STATS(struct ration_stacks, stats)};

static const struct ration_heap_ops stacks_ops = {
    .kind = "stacks",
    .alloc = stacks_alloc,
    .resize = stacks_try_resize,
    .try_resize = stacks_try_resize,
    .free = stacks_free,
    .owns = stacks_owns,
    .usable_size = stacks_usable_size,
    .walk = stacks_walk,
    .check = stacks_check,
    .stats = stacks_stats,
    .destroy = stacks_destroy,
    .figures = &stacks_figures,
};

struct ration_heap *ration_stacks_init(struct ration_stacks *stacks,
                                       const struct ration_stacks_options *options)
{
    *stacks = (struct ration_stacks){.options = *options};
    struct ration_stacks_options *o = &stacks->options;
    size_t page = page_bytes();
    if (o->source == NULL)
        o->source = ration_source_system();
    size_t stack_bytes = o->stack_bytes != 0 ? o->stack_bytes : DEFAULT_STACK_BYTES;
    size_t most = HEAP_SIZE_MAX / 4 - page;
    if (o->source->protect == NULL || o->n_stacks == 0 || o->n_stacks >= entry_live - 1 ||
        stack_bytes > most || o->guard_bytes > most)
        return NULL;
    o->stack_bytes = align_up(stack_bytes, page);
    o->guard_bytes = align_up(max_size(o->guard_bytes, 1), page);
    stacks->table_bytes = align_up(o->n_stacks * sizeof(uint32_t), page);
    if (__builtin_mul_overflow(o->n_stacks, stride_of(stacks), &stacks->bytes) ||
        __builtin_add_overflow(stacks->bytes, stacks->table_bytes, &stacks->bytes))
        return NULL;
    ration_heap_init(&stacks->heap, &stacks_ops, o->name, page);
    if (ration_passthrough_begin(&stacks->heap,
                                 (struct passthrough_limits){HEAP_SIZE_MAX, o->stack_bytes,
                                                             o->n_stacks, o->stack_bytes}))
        return &stacks->heap;
    void *range = o->source->take(o->source->context, stacks->bytes, page);
    if (range == NULL)
        return NULL;
    stacks->start = (uintptr_t)range;
    stacks->entries = range;
    stacks->stats.heap_bytes = stacks->bytes;
    stacks->stats.heap_bytes_peak = stacks->bytes;
    return &stacks->heap;
}
