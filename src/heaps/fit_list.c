#include "heaps/fit_internal.h"

static const unsigned no_list = RATION_FIT_LISTS;

size_t ration_fit_list_min_bytes(const struct ration_fit *fit, unsigned list)
{
    if (fit->options.policy != RATION_FIT_SEGREGATED)
        return TAG_MIN_BLOCK;
    unsigned order = (list >> fit->class_shift) + FIT_LOWEST_ORDER;
    size_t step = list & ((1U << fit->class_shift) - 1);
    return ((size_t)1 << order) + (step << (order - fit->class_shift));
}

/* The first list from `list` upward that is not empty. */
static unsigned find_nonempty(struct ration_fit *fit, unsigned list)
{
    for (unsigned word = list / 64; word < RATION_FIT_BITMAP_WORDS; word++) {
        fit->steps++;
        uint64_t bits = fit->nonempty[word];
        if (word == list / 64)
            bits &= ~(uint64_t)0 << (list % 64);
        if (bits != 0)
            return word * 64 + lowest_bit(bits);
    }
    return no_list;
}

/* --- following a list, or all blocks --- */

static COLD void report_written(const struct ration_fit *fit, uintptr_t tag, const char *operation)
{
    ration_heap_report(
        &fit->heap, RATION_USE_AFTER_FREE, tag_payload(tag), operation,
        "the links in a free block were overwritten: the program wrote to it after freeing it",
        tag_payload(tag), 0);
}

/* First of the list, or of all blocks; 0 at the end. */
static uintptr_t find_front(const struct ration_fit *fit, unsigned list)
{
    if (fit_is_implicit(fit))
        return row_first(&fit->row) < row_end_mark(&fit->row) ? row_first(&fit->row) : 0;
    return fit->first[list] != 0 ? row_tag(&fit->row, fit->first[list]) : 0;
}

static uintptr_t find_after(const struct ration_fit *fit, uintptr_t tag)
{
    if (fit_is_implicit(fit))
        return tag_next(tag) < row_end_mark(&fit->row) ? tag_next(tag) : 0;
    uint32_t link = *tag_next_link(tag);
    if (link == 0)
        return 0;
    if (UNLIKELY(!row_link_is_inside(&fit->row, link))) {
        report_written(fit, tag, "alloc");
        return 0;
    }
    return row_tag(&fit->row, link);
}

/* A list that the program damaged may run in a circle: no search looks at more blocks than there
 * are. */
static size_t count_at_most(const struct ration_fit *fit)
{
    return fit_is_implicit(fit) ? SIZE_MAX : fit->stats.free_blocks;
}

static inline void examine(struct ration_fit *fit, unsigned list, uintptr_t tag)
{
    fit->steps++;
    fit_tell(fit, RATION_EVENT_EXAMINE, list, tag, 0, tag_size(tag));
}

/* --- the policies --- */

/* The first that serves, from `tag` to before `end` (0: to the end). */
static uintptr_t search_first(struct ration_fit *fit, unsigned list, uintptr_t tag, uintptr_t end,
                              const struct fit_request *request)
{
    for (size_t left = count_at_most(fit); tag != end && tag != 0 && left != 0; left--) {
        examine(fit, list, tag);
        if (fit_serves(fit, tag, request))
            return tag;
        tag = find_after(fit, tag);
    }
    return 0;
}

static uintptr_t search_best(struct ration_fit *fit, const struct fit_request *request)
{
    uintptr_t best = 0;
    uintptr_t tag = find_front(fit, 0);
    for (size_t left = count_at_most(fit); tag != 0 && left != 0; left--) {
        examine(fit, 0, tag);
        if (fit_serves(fit, tag, request) && (best == 0 || tag_size(tag) < tag_size(best)))
            best = tag;
        bool none_is_better = best != 0 && (tag_size(best) == request->bytes ||
                                            fit->options.order == RATION_FIT_SIZE);
        if (none_is_better)
            break;
        tag = find_after(fit, tag);
    }
    return best;
}

static uintptr_t search_worst(struct ration_fit *fit, const struct fit_request *request)
{
    uintptr_t worst = 0;
    uintptr_t tag = find_front(fit, 0);
    for (size_t left = count_at_most(fit); tag != 0 && left != 0; left--) {
        examine(fit, 0, tag);
        if (fit_serves(fit, tag, request) && (worst == 0 || tag_size(tag) > tag_size(worst)))
            worst = tag;
        tag = find_after(fit, tag);
    }
    return worst;
}

static uintptr_t search_next(struct ration_fit *fit, const struct fit_request *request)
{
    uintptr_t front = find_front(fit, 0);
    uintptr_t start = fit->rover != 0 ? row_tag(&fit->row, fit->rover) : front;
    uintptr_t tag = search_first(fit, 0, start, 0, request);
    if (tag == 0 && start != front)
        tag = search_first(fit, 0, front, start, request);
    /* Of a block that is split, move_rover chooses the rest instead. */
    if (tag != 0) {
        uintptr_t after = find_after(fit, tag);
        fit->rover = after != 0 ? row_link(&fit->row, after) : 0;
    }
    return tag;
}

static uintptr_t search_segregated(struct ration_fit *fit, const struct fit_request *request)
{
    unsigned list = find_nonempty(fit, fit_class(fit, request->bytes));
    while (list < no_list) {
        if (UNLIKELY(fit->options.observe != NULL))
            fit_tell(fit, RATION_EVENT_CLASS, list, 0, 0, ration_fit_list_min_bytes(fit, list));
        uintptr_t tag = search_first(fit, list, find_front(fit, list), 0, request);
        if (tag != 0)
            return tag;
        list = list + 1 < no_list ? find_nonempty(fit, list + 1) : no_list;
    }
    return 0;
}

uintptr_t ration_fit_search(struct ration_fit *fit, const struct fit_request *request)
{
    switch (fit->options.policy) {
    case RATION_FIT_SEGREGATED:
        return search_segregated(fit, request);
    case RATION_FIT_FIRST:
        return search_first(fit, 0, find_front(fit, 0), 0, request);
    case RATION_FIT_NEXT:
        return search_next(fit, request);
    case RATION_FIT_BEST:
        return search_best(fit, request);
    case RATION_FIT_WORST:
        return search_worst(fit, request);
    }
    return 0;
}

/* --- changing a list --- */

static bool comes_before(const struct ration_fit *fit, uintptr_t node, uintptr_t tag)
{
    switch (fit->options.order) {
    case RATION_FIT_ADDRESS:
        return node < tag;
    case RATION_FIT_SIZE:
        return tag_size(node) < tag_size(tag);
    case RATION_FIT_LIFO:
    case RATION_FIT_IMPLICIT:
        break;
    }
    return false;
}

/* The node behind which `tag` belongs; 0: at the front. */
static uintptr_t find_place(struct ration_fit *fit, unsigned list, uintptr_t tag)
{
    uintptr_t before = 0;
    uintptr_t node = find_front(fit, list);
    while (node != 0 && comes_before(fit, node, tag)) {
        fit->steps++;
        fit_tell(fit, RATION_EVENT_PASS, list, node, 0, tag_size(node));
        before = node;
        node = find_after(fit, node);
    }
    return before;
}

static void link_between(struct ration_fit *fit, unsigned list, uint32_t before, uint32_t link,
                         uint32_t after)
{
    const struct ration_row *row = &fit->row;
    *tag_prev_link(row_tag(row, link)) = before;
    *tag_next_link(row_tag(row, link)) = after;
    if (before != 0)
        *tag_next_link(row_tag(row, before)) = link;
    else
        fit->first[list] = link;
    if (after != 0)
        *tag_prev_link(row_tag(row, after)) = link;
}

void ration_fit_insert(struct ration_fit *fit, uintptr_t tag)
{
    fit->stats.free_blocks++;
    fit->stats.free_bytes += tag_size(tag);
    if (fit_is_implicit(fit)) {
        fit_tell(fit, RATION_EVENT_INSERT, 0, tag, 0, tag_size(tag));
        return;
    }
    unsigned list = fit_class(fit, tag_size(tag));
    bool is_lifo = fit->options.order == RATION_FIT_LIFO;
    uintptr_t before = is_lifo ? 0 : find_place(fit, list, tag);
    uint32_t after = before != 0 ? *tag_next_link(before) : fit->first[list];
    link_between(fit, list, before != 0 ? row_link(&fit->row, before) : 0, row_link(&fit->row, tag),
                 after);
    fit->nonempty[list / 64] |= (uint64_t)1 << (list % 64);
    fit_tell(fit, RATION_EVENT_INSERT, list, tag, before, tag_size(tag));
}

void ration_fit_remove(struct ration_fit *fit, uintptr_t tag)
{
    fit->stats.free_blocks--;
    fit->stats.free_bytes -= tag_size(tag);
    unsigned list = fit_is_implicit(fit) ? 0 : fit_class(fit, tag_size(tag));
    fit_tell(fit, RATION_EVENT_REMOVE, list, tag, 0, tag_size(tag));
    if (fit_is_implicit(fit))
        return;
    uint32_t before = *tag_prev_link(tag);
    uint32_t after = *tag_next_link(tag);
    if (fit->rover == row_link(&fit->row, tag))
        fit->rover = after;
    if (before != 0)
        *tag_next_link(row_tag(&fit->row, before)) = after;
    else
        fit->first[list] = after;
    if (after != 0)
        *tag_prev_link(row_tag(&fit->row, after)) = before;
    if (fit->first[list] == 0)
        fit->nonempty[list / 64] &= ~((uint64_t)1 << (list % 64));
}

void ration_fit_replace(struct ration_fit *fit, uintptr_t old, uintptr_t tag)
{
    uint32_t before = *tag_prev_link(old);
    uint32_t after = *tag_next_link(old);
    fit->stats.free_bytes -= tag_size(old) - tag_size(tag);
    fit_tell(fit, RATION_EVENT_REMOVE, 0, old, 0, tag_size(old));
    link_between(fit, 0, before, row_link(&fit->row, tag), after);
    if (fit->rover == row_link(&fit->row, old))
        fit->rover = row_link(&fit->row, tag);
    fit_tell(fit, RATION_EVENT_INSERT, 0, tag, before != 0 ? row_tag(&fit->row, before) : 0,
             tag_size(tag));
}

bool ration_fit_links_are_sound(const struct ration_fit *fit, uintptr_t tag, const char *operation)
{
    const struct ration_row *row = &fit->row;
    if (fit_is_implicit(fit))
        return true;
    uint32_t link = row_link(row, tag);
    uint32_t before = *tag_prev_link(tag);
    uint32_t after = *tag_next_link(tag);
    bool sound;
    if (before != 0)
        sound = row_link_is_inside(row, before) && *tag_next_link(row_tag(row, before)) == link;
    else
        sound = fit->first[fit_class(fit, tag_size(tag))] == link;
    if (sound && after != 0)
        sound = row_link_is_inside(row, after) && *tag_prev_link(row_tag(row, after)) == link;
    if (UNLIKELY(!sound))
        report_written(fit, tag, operation);
    return sound;
}

bool ration_fit_free_is_sound(const struct ration_fit *fit, uintptr_t tag, const char *operation)
{
    if (UNLIKELY(!tag_is_sound(&fit->row, tag) || tag_is_live(tag))) {
        if (!fit_is_implicit(fit))
            report_written(fit, tag, operation);
        return fit_is_implicit(fit);
    }
    return ration_fit_links_are_sound(fit, tag, operation);
}

/* --- for pictures --- */

void ration_fit_observe(struct ration_fit *fit, ration_observe_fn *observe, void *context)
{
    fit->options.observe = observe;
    fit->options.observe_context = context;
}

unsigned ration_fit_list_count(const struct ration_fit *fit)
{
    if (fit_is_implicit(fit))
        return 0;
    return fit->options.policy == RATION_FIT_SEGREGATED ? 32U << fit->class_shift : 1;
}

const void *ration_fit_list_first(const struct ration_fit *fit, unsigned list)
{
    return list < ration_fit_list_count(fit) ? (void *)find_front(fit, list) : NULL;
}

const void *ration_fit_list_next(const struct ration_fit *fit, const void *block)
{
    return (void *)find_after(fit, (uintptr_t)block);
}

unsigned ration_fit_list_of(const struct ration_fit *fit, size_t bytes)
{
    return fit_class(fit, max_size(bytes, TAG_MIN_BLOCK));
}
