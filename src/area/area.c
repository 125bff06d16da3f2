#include "area/area.h"

#include "base/bits.h"
#include "os/pages.h"

/* At least 64 KiB a step, and an eighth of what there is, so that the number of calls stays logarithmic. */
static size_t choose_step(const struct area *a, size_t missing)
{
    size_t step = max_size(missing, max_size(KIB(64), a->mapped_bytes / 8));
    step = align_up(step, max_size(KIB(64), os->page_bytes()));
    return min_size(step, a->limit_bytes - a->mapped_bytes);
}

bool area_reach(struct area *a, size_t bytes)
{
    if (bytes <= a->mapped_bytes)
        return true;
    if (bytes > a->limit_bytes)
        return false;
    size_t step = choose_step(a, bytes - a->mapped_bytes);
    void *at = (void *)(a->start + a->mapped_bytes);
    if (pages_map(PAGES_TABLES, at, step, a->reserved ? OS_MAP_OVER : OS_MAP_EXACT) == NULL)
        return false;
    a->mapped_bytes += step;
    return true;
}
