#include "heaps/fit_internal.h"

/* Numbers of the invariants in fit.h. */
enum {
    I_FILLS = 1,
    I_SOUND,
    I_SIZE,
    I_PREV,
    I_FOOTER,
    I_MERGED,
    I_LISTED,
    I_LINKS,
    I_ORDER,
    I_BITMAP,
    I_COUNTERS
};

static int check_order(const struct ration_fit *fit, uintptr_t before, uintptr_t tag,
                       struct ration_finding *finding)
{
    bool breaks = before != 0 &&
                  ((fit->options.order == RATION_FIT_ADDRESS && before >= tag) ||
                   (fit->options.order == RATION_FIT_SIZE && tag_size(before) > tag_size(tag)));
    return breaks ? finding_set(finding, I_ORDER, tag, "a list does not keep its order") : 0;
}

/* Follows one list; adds the number of its blocks to `listed`. */
static int check_list(const struct ration_fit *fit, unsigned list, size_t n_free, size_t *listed,
                      struct ration_finding *finding)
{
    const struct ration_row *row = &fit->row;
    uintptr_t before = 0;
    for (uint32_t link = fit->first[list]; link != 0;) {
        uintptr_t tag = row_tag(row, link);
        if (!row_link_is_inside(row, link) || !tag_is_sound(row, tag) || tag_is_live(tag))
            return finding_set(finding, I_LISTED, tag, "a list holds what is no free block");
        if (++*listed > n_free)
            return finding_set(finding, I_LISTED, tag, "the lists hold more blocks than are free");
        if (fit_class(fit, tag_size(tag)) != list)
            return finding_set(finding, I_LISTED, tag,
                               "a free block is in the list of another size");
        if (*tag_prev_link(tag) != (before != 0 ? row_link(row, before) : 0))
            return finding_set(finding, I_LINKS, tag,
                               "the links of a list do not agree in both directions");
        if (check_order(fit, before, tag, finding))
            return 1;
        before = tag;
        link = *tag_next_link(tag);
    }
    return 0;
}

static int check_lists(const struct ration_fit *fit, size_t n_free, struct ration_finding *finding)
{
    size_t listed = 0;
    for (unsigned list = 0; list < RATION_FIT_LISTS; list++) {
        if (check_list(fit, list, n_free, &listed, finding))
            return 1;
        bool bit = (fit->nonempty[list / 64] >> (list % 64)) & 1;
        if (bit != (fit->first[list] != 0))
            return finding_set(finding, I_BITMAP, (uintptr_t)&fit->nonempty[list / 64],
                               "the bitmap is wrong about a list being empty");
    }
    if (listed != n_free && !fit_is_implicit(fit))
        return finding_set(finding, I_LISTED, 0, "a free block is in no list");
    return 0;
}

static int check_rover(const struct ration_fit *fit, struct ration_finding *finding)
{
    if (fit->rover == 0)
        return 0;
    uintptr_t rover = row_tag(&fit->row, fit->rover);
    uintptr_t tag = row_first(&fit->row);
    while (tag < rover && tag < row_end_mark(&fit->row))
        tag = tag_next(tag);
    bool valid = tag == rover && tag < row_end_mark(&fit->row) &&
                 (fit_is_implicit(fit) || !tag_is_live(tag));
    return valid ? 0
                 : finding_set(finding, I_BITMAP, rover,
                               "the rover of next fit is not a block it may be");
}

static int check_counters(const struct ration_fit *fit, const struct row_totals *totals,
                          struct ration_finding *finding)
{
    const struct ration_heap_stats *s = &fit->stats;
    bool agree = s->live_blocks == totals->live_blocks &&
                 s->live_usable_bytes == totals->live_usable &&
                 s->free_blocks == totals->free_blocks && s->free_bytes == totals->free_bytes &&
                 s->foreign_bytes == totals->foreign_bytes && s->heap_bytes == totals->bytes;
    return agree ? 0
                 : finding_set(finding, I_COUNTERS, (uintptr_t)s,
                               "the counters do not agree with the blocks");
}

void ration_fit_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_fit *fit = (const struct ration_fit *)heap;
    bool merges_at_once = fit->options.coalescing == RATION_FIT_IMMEDIATE;
    struct row_numbers numbers = {I_FILLS, I_SOUND,  I_SIZE,
                                  I_PREV,  I_FOOTER, merges_at_once ? I_MERGED : 0};
    struct row_totals totals;
    if (ration_row_check(&fit->row, &numbers, &totals, finding) ||
        check_lists(fit, totals.free_blocks, finding) || check_rover(fit, finding))
        return;
    check_counters(fit, &totals, finding);
}

/* With an ordinary search, the largest free block serves the largest request. */
void ration_fit_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_fit *fit = (const struct ration_fit *)heap;
    struct row_totals totals = ration_row_count(&fit->row);
    *stats = fit->stats;
    stats->live_requested_bytes = RATION_UNKNOWN;
    stats->largest_free_bytes = totals.largest_free;
    stats->largest_request_bytes = totals.largest_free != 0 ? totals.largest_free - TAG_BYTES : 0;
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}
