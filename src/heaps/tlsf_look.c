/* Looking at a TLSF heap without changing it. */
#include "heaps/tlsf_internal.h"

/* Numbers of the invariants in tlsf.h. */
enum { I_FILLS = 1, I_SOUND, I_SIZE, I_PREV, I_MERGED, I_LISTED, I_LINKS, I_BITMAPS, I_COUNTERS };

static int check_list(const struct ration_tlsf *tlsf, struct list_index list, size_t n_free,
                      size_t *listed, struct ration_finding *finding)
{
    const struct ration_row *row = &tlsf->row;
    uint32_t before = 0;
    for (uint32_t link = tlsf->first[list.level][list.step]; link != 0;) {
        uintptr_t tag = row_tag(row, link);
        bool fits = row_link_is_inside(row, link) && tag_is_sound(row, tag) && !tag_is_live(tag) &&
                    list_number(list_of(tag_size(tag))) == list_number(list) && ++*listed <= n_free;
        if (!fits)
            return finding_set(finding, I_LISTED, tag,
                               "a list holds what is no free block of its size");
        if (*tag_prev_link(tag) != before)
            return finding_set(finding, I_LINKS, tag,
                               "the links of a list do not agree in both directions");
        before = link;
        link = *tag_next_link(tag);
    }
    return 0;
}

static int check_level(const struct ration_tlsf *tlsf, unsigned level, size_t n_free,
                       size_t *listed, struct ration_finding *finding)
{
    for (unsigned step = 0; step < RATION_TLSF_STEPS; step++) {
        if (check_list(tlsf, (struct list_index){level, step}, n_free, listed, finding))
            return 1;
        bool bit = (tlsf->second_level[level] >> step) & 1;
        if (bit != (tlsf->first[level][step] != 0))
            return finding_set(finding, I_BITMAPS, (uintptr_t)&tlsf->second_level[level],
                               "the second bitmap is wrong about a list");
    }
    bool bit = (tlsf->first_level >> level) & 1;
    if (bit != (tlsf->second_level[level] != 0))
        return finding_set(finding, I_BITMAPS, (uintptr_t)&tlsf->first_level,
                           "the first bitmap is wrong about a level");
    return 0;
}

void ration_tlsf_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    const struct ration_tlsf *tlsf = tlsf_of(heap);
    struct row_numbers numbers = {I_FILLS, I_SOUND, I_SIZE, I_PREV, I_PREV, I_MERGED};
    struct row_totals totals;
    if (ration_row_check(&tlsf->row, &numbers, &totals, finding))
        return;
    size_t listed = 0;
    for (unsigned level = 0; level < RATION_TLSF_LEVELS; level++)
        if (check_level(tlsf, level, totals.free_blocks, &listed, finding))
            return;
    const struct ration_heap_stats *s = &tlsf->stats;
    if (listed != totals.free_blocks)
        finding_set(finding, I_LISTED, 0, "a free block is in no list");
    else if (s->live_blocks != totals.live_blocks || s->live_usable_bytes != totals.live_usable ||
             s->heap_bytes != totals.bytes)
        finding_set(finding, I_COUNTERS, (uintptr_t)s, "the counters do not agree with the blocks");
}

/* The largest request is the smallest size of the largest block's list: larger ones are rounded
 * past it. */
static size_t find_largest_request(const struct ration_tlsf *tlsf)
{
    if (tlsf->first_level == 0)
        return 0;
    unsigned level = highest_bit(tlsf->first_level);
    unsigned step = highest_bit(tlsf->second_level[level]);
    if (level == 0)
        return ((size_t)step << STEP_SHIFT) - TAG_BYTES;
    unsigned order = level + LINEAR_ORDER - 1;
    return ((size_t)(RATION_TLSF_STEPS + step) << (order - STEP_SHIFT)) - TAG_BYTES;
}

void ration_tlsf_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    const struct ration_tlsf *tlsf = tlsf_of(heap);
    const struct row_totals totals = ration_row_count(&tlsf->row);
    *stats = tlsf->stats;
    stats->live_requested_bytes = RATION_UNKNOWN;
    stats->free_blocks = totals.free_blocks;
    stats->free_bytes = totals.free_bytes;
    stats->largest_free_bytes = totals.largest_free;
    stats->largest_request_bytes = find_largest_request(tlsf);
    stats->table_bytes = stats->heap_bytes - stats->live_usable_bytes - stats->free_bytes;
}
