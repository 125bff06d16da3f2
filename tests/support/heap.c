#include "support/heap.h"

#include "cache/cache.h"
#include "conf/conf.h"
#include "core/fence.h"
#include "inspect/walk.h"
#include "slab/shelf.h"
#include "span/kept.h"
#include "span/span.h"

#include <stdio.h>
#include <string.h>

static char broken_text[64];

static const char *name_broken(char structure, int number, const char *where, unsigned index)
{
    snprintf(broken_text, sizeof broken_text, "%c%d%s%u", structure, number, where, index);
    return broken_text;
}

/* Every slab run is a slab's: one that nobody knows is lost. */
static const char *check_slab_runs(size_t slab_bytes_seen)
{
    struct span_counts counts;
    span_count(&counts);
    if (counts.pages[RUN_SLAB] << page_shift == slab_bytes_seen)
        return NULL;
    return "a run is a slab's by its tag, but no slab's by the map";
}

static const char *check_slabs(void)
{
    size_t bytes = 0;
    for (size_t u = 0; u < window.unit_count; u++) {
        const struct slab *s = window.map[u];
        if (s == &no_slab || window_unit(s->base) != u)
            continue;
        int broken = slab_check(s);
        if (broken != 0)
            return name_broken('L', broken, " of a slab of class ", s->class_index);
        bytes += slab_bytes(s);
    }
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        int broken = shelf_check(c);
        if (broken != 0)
            return name_broken('L', broken, " on the shelf of class ", c);
    }
    return check_slab_runs(bytes);
}

const char *heap_broken(void)
{
    int broken = window_check(slab_covers);
    if (broken != 0)
        return name_broken('I', broken, " of window ", 0);
    if (window_is_open())
        broken = span_check();
    if (broken != 0)
        return name_broken('S', broken, " of span ", 0);
    broken = kept_check();
    if (broken != 0)
        return name_broken('K', broken, " of kept runs ", 0);
    const char *text = check_slabs();
    if (text != NULL)
        return text;
    broken = fence_check();
    if (broken != 0)
        return name_broken('F', broken, " of fences ", 0);
    broken = cache_check_all();
    return broken != 0 ? name_broken('C', broken, " of cache ", 0) : NULL;
}

void heap_purge_class(unsigned c)
{
    static uint16_t number;
    struct slab *held[16];
    struct os_range ranges[SLAB_PAGES_MAX];
    struct shelf_pass pass = {.number = ++number, .now_ms = (uint32_t)fake.now_ms, .age_ms = 0};
    size_t n = shelf_hold_old(c, &pass, held, 16);
    for (size_t i = 0; i < n; i++) {
        size_t count = slab_collect_purge(held[i], ranges, SLAB_PAGES_MAX);
        size_t calls = 0;
        size_t done = os->pages_purge(ranges, count, &calls);
        for (size_t k = done; k < count; k++)
            slab_unmark_purged(held[i], &ranges[k]);
    }
    shelf_put_back(held, n);
}

/* Not the bytes of any one block size: eight bytes at a time would leave the last ones out. */
static unsigned char pattern_byte(uint64_t key, size_t i)
{
    uint64_t x = (key + i / 8) * 0x9e3779b97f4a7c15U;
    return (unsigned char)(x >> (8 * (i % 8)));
}

void pattern_write(void *p, size_t n, uint64_t key)
{
    unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern_byte(key, i);
}

bool pattern_is(const void *p, size_t n, uint64_t key)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != pattern_byte(key, i))
            return false;
    }
    return true;
}

static void count_block(uintptr_t block, size_t usable, void *arg)
{
    (void)block;
    (void)usable;
    ++*(size_t *)arg;
}

size_t heap_live_blocks(void)
{
    size_t n = 0;
    if (window.base != 0)
        walk_blocks(0, SIZE_MAX, count_block, &n);
    return n;
}

void heap_go_on_after_misuse(void)
{
    conf.on_error = ON_ERROR_REPORT;
}
