/* inspect/ledger: the counts against what the test knows it holds; the parts against the mappings
 * that the system lists; what another process sees against what this one says. */
#include "inspect/ledger.h"

#include "area/records.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVE = 3000 };
static void *live[LIVE];

static void fill(struct chance *chance)
{
    for (int i = 0; i < 3 * LIVE; i++) {
        size_t k = chance_below(chance, LIVE);
        size_t n = chance_below(chance, chance_below(chance, 20) == 0 ? 200000 : 4000);
        free_fast(live[k]);
        live[k] = malloc_fast(n);
        if (chance_below(chance, 2) == 0)
            memset(live[k], 1, n);
    }
}

static size_t mapped(const struct ration_stats *s, enum ration_part part)
{
    return s->parts[part].mapped_bytes;
}

static void require_live(const struct ration_stats *s)
{
    size_t classes[CLASS_COUNT] = {0};
    size_t small = 0;
    size_t large = 0;
    size_t large_blocks = 0;
    for (int i = 0; i < LIVE; i++) {
        size_t n = core_usable(live[i], "x");
        if (n > SMALL_MAX) {
            large += n;
            large_blocks++;
        } else if (n > 0) {
            small += n;
            classes[class_of(n)]++;
        }
    }
    REQUIRE(mapped(s, RATION_PART_LIVE_SMALL) == small);
    REQUIRE(mapped(s, RATION_PART_LIVE_LARGE) == large && s->live_large_blocks == large_blocks);
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        REQUIRE(s->classes[c].live == classes[c]);
}

/* Of class c, of whichever bin. */
static unsigned count_masks(const struct cache *cache, unsigned c)
{
    if (class_is_wide(c))
        return cache->bins[c].n_kept;
    unsigned n = 0;
    for (unsigned b = 0; b < WIDE_FIRST; b++) {
        const struct bin *bin = &cache->bins[b];
        if (bin->slab != NULL && bin->slab->class_index == c)
            n += count_bits(bin->mask);
    }
    return n;
}

static void require_counts(const struct ration_stats *s)
{
    struct span_counts counts;
    size_t slots = 0;
    size_t sum = 0;
    require_live(s);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        REQUIRE(k->slots == k->slabs * size_classes[c].slots);
        REQUIRE(k->slabs_peak >= k->slabs);
        REQUIRE(k->cached == count_masks(my_cache, c) && k->live + k->cached <= k->slots);
        slots += k->slots * k->slot_bytes;
    }
    REQUIRE(mapped(s, RATION_PART_LIVE_SMALL) + mapped(s, RATION_PART_CACHED) +
                mapped(s, RATION_PART_FREE) ==
            slots);
    span_count(&counts);
    REQUIRE(ledger_heap_bytes(s) + s->unmapped_bytes == counts.mapped_bytes);
    REQUIRE(mapped(s, RATION_PART_DIRTY) == counts.pages[RUN_DIRTY] << page_shift);
    REQUIRE(mapped(s, RATION_PART_CLEAN) == counts.pages[RUN_CLEAN] << page_shift);
    REQUIRE(s->threads == 1);
    for (int part = 0; part < RATION_PART_COUNT; part++) {
        REQUIRE(s->parts[part].resident_bytes <= s->parts[part].mapped_bytes);
        sum += s->parts[part].resident_bytes;
    }
    REQUIRE(sum == s->own_bytes);
}

/* Behind the frontier, in the piece that was mapped ahead. */
static bool is_fresh(uintptr_t start)
{
    struct span_counts counts;
    span_count(&counts);
    uintptr_t frontier = window.base + counts.frontier_bytes;
    return start - frontier < counts.mapped_bytes - counts.frontier_bytes;
}

static bool is_ours(uintptr_t start)
{
    /* not all between them: the window is sparse, and the test program itself may lie in it */
    return start - (uintptr_t)window.map < window.unit_count * sizeof *window.map ||
           start - records.area.start < records.area.mapped_bytes ||
           span_find(start).kind != RUN_NONE || is_fresh(start);
}

/* Memory in the mappings of the window, its map and its records as the system counts it. */
static size_t system_says(void)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool counts = false;
    size_t kib = 0;
    size_t sum = 0;
    REQUIRE(smaps != NULL);
    while (fgets(line, sizeof line, smaps) != NULL) {
        unsigned long start;
        unsigned long end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            counts = is_ours(start);
        else if (counts && sscanf(line, "Rss: %zu kB", &kib) == 1)
            sum += kib << 10;
    }
    fclose(smaps);
    return sum;
}

static void require_adds_up(const struct ration_stats *s)
{
    size_t system = system_says();
    size_t own = s->own_bytes;
    /* the first records lie in the library's own data */
    size_t slack = FIRST_BLOCK_BYTES + system / 100;
    REQUIRE(s->resident_is_known);
    REQUIRE(own <= system + slack && system <= own + ((size_t)4 << page_shift) + system / 100);
    REQUIRE(s->own_bytes + s->not_own_bytes == s->rss_bytes && s->rss_peak_bytes >= s->rss_bytes);
}

static void count(void *arg)
{
    (void)arg;
    fake_os_install();
    struct ration_stats s;
    ledger_take_own(&s, true); /* before anything was used */
    REQUIRE(s.own_bytes == 0 && ledger_heap_bytes(&s) == 0 && s.rss_bytes > 0);
    struct chance chance = {chance_seed()};
    for (int round = 0; round < 5; round++) {
        fill(&chance);
        for (int trim = 0; trim < 2; trim++) {
            ledger_take_own(&s, true);
            require_counts(&s);
            require_adds_up(&s);
            core_trim();
        }
    }
    for (int i = 0; i < LIVE; i++) {
        free_fast(live[i]);
        live[i] = NULL;
    }
    ledger_take_own(&s, true);
    require_counts(&s);
    core_trim();
    ledger_take_own(&s, true);
    require_adds_up(&s);
    REQUIRE(s.own_bytes - s.parts[RATION_PART_TABLES].resident_bytes <
            1 << 20); /* all else is gone */
}

static void test_count(void **state)
{
    (void)state;
    require_in_child(count, NULL);
}

static void held_back(void *arg)
{
    (void)arg;
    fake_os_install();
    enum { OTHER_STATE = 77 };
    void *p = malloc_fast(100);
    struct slab *s = slab_of((uintptr_t)p);
    struct ration_stats stats;
    s->states[slot_of(s, (uintptr_t)p)] = OTHER_STATE;
    ledger_take_own(&stats, false);
    REQUIRE(mapped(&stats, RATION_PART_HELD_BACK) == core_good_size(100));
    REQUIRE(stats.classes[class_of(100)].held_back == 1 && stats.live_small_blocks == 0);
    REQUIRE(!stats.resident_is_known && stats.rss_bytes == 0);
}

static void test_held_back(void **state)
{
    (void)state;
    require_in_child(held_back, NULL);
}

/* The child sees in its parent what the parent sees in itself. */
static void see_other(void *arg)
{
    (void)arg;
    struct ration_stats own;
    fake_os_install();
    struct chance chance = {chance_seed()};
    fill(&chance);
    ledger_take_own(&own, true);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        struct ration_stats seen;
        REQUIRE(ration_stats_read_process(parent, &seen) == RATION_OK);
        REQUIRE(memcmp(seen.classes, own.classes, sizeof own.classes) == 0);
        REQUIRE(memcmp(seen.parts, own.parts, RATION_PART_TABLES * sizeof *own.parts) == 0);
        REQUIRE(seen.live_large_blocks == own.live_large_blocks && seen.threads == own.threads);
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

static void test_other_process(void **state)
{
    (void)state;
    require_in_child(see_other, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_other_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
