/* core/malloc: the slow paths: zero memory from calloc, alignments, sizes beyond reason, and no
 * memory at all. */
#include "core/core.h"
#include "core/events.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <errno.h>
#include <string.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
}

static bool is_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* Memory that was dirtied, freed, purged, and mixed: calloc's is zero in its whole length each
 * time. */
static void calloc_anything(void *arg)
{
    (void)arg;
    start();
    enum { LIVE = 400 };
    static unsigned char *live[LIVE];
    struct chance chance = {chance_seed()};
    for (int step = 0; step < 40000; step++) {
        size_t i = chance_below(&chance, LIVE);
        size_t n = chance_below(&chance, 40) == 0 ? chance_below(&chance, 300000)
                                                  : chance_below(&chance, 3000);
        free_fast(live[i]);
        size_t parts = 1 + chance_below(&chance, 9);
        live[i] = calloc_fast(parts, n / parts);
        n = n / parts * parts;
        REQUIRE(live[i] != NULL && is_zero(live[i], n));
        memset(live[i], 0xff, core_usable(live[i], "malloc_usable_size"));
        if (step % 5000 == 0)
            core_trim();
    }
    REQUIRE_SOUND();
}

static void test_zero_memory(void **state)
{
    (void)state;
    require_in_child(calloc_anything, NULL);
}

static void require_refused(void *p)
{
    REQUIRE(p == NULL && errno == ENOMEM);
    errno = 0;
}

static void ask_too_much(void *arg)
{
    (void)arg;
    start();
    errno = 0;
    size_t sizes[] = {SIZE_MAX,    SIZE_MAX - 1,    SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1,
                      PTRDIFF_MAX, (size_t)1 << 62, (size_t)1 << 47};
    void *old = malloc_fast(100);
    pattern_write(old, 100, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        require_refused(malloc_fast(sizes[i]));
        require_refused(calloc_fast(sizes[i], 1));
        require_refused(calloc_fast(1, sizes[i]));
        require_refused(calloc_fast(sizes[i], 16)); /* overflows */
        require_refused(core_aligned(64, sizes[i]));
        require_refused(core_aligned(4096, sizes[i]));
        require_refused(core_aligned((size_t)1 << 30, sizes[i]));
        require_refused(core_realloc(old, sizes[i], "realloc"));
    }
    require_refused(core_aligned((size_t)1 << 63, 1));
    require_refused(calloc_fast((size_t)1 << 32, (size_t)1 << 32));
    REQUIRE(pattern_is(old, 100, 1) && heap_live_blocks() == 1);
    REQUIRE_SOUND();
}

static void test_too_much(void **state)
{
    (void)state;
    require_in_child(ask_too_much, NULL);
}

static void align_everything(void *arg)
{
    (void)arg;
    start();
    static void *blocks[64 * 32];
    static size_t sizes[64 * 32];
    size_t count = 0;
    for (size_t align = 1; align <= MIB(64); align *= 2) {
        for (size_t n = 0; n <= 70000; n = n * 3 + 1 + (n > 100 ? align / 2 : 0)) {
            void *p = core_aligned(align, n);
            REQUIRE(p != NULL && (uintptr_t)p % align == 0 &&
                    (uintptr_t)p % (n < 16 ? 8 : 16) == 0);
            REQUIRE(core_usable(p, "malloc_usable_size") >= n);
            pattern_write(p, n, count);
            sizes[count] = n;
            blocks[count++] = p;
        }
    }
    REQUIRE_SOUND();
    for (size_t i = 0; i < count; i++) {
        REQUIRE(pattern_is(blocks[i], sizes[i], i));
        free_fast(blocks[i]);
    }
    REQUIRE(heap_live_blocks() == 0 && fake.message_writes == 0);
    REQUIRE_SOUND();
}

static void test_aligned(void **state)
{
    (void)state;
    require_in_child(align_everything, NULL);
}

static void good_sizes(void *arg)
{
    (void)arg;
    start();
    for (size_t n = 0; n < 100000; n += n < 20000 ? 1 : 77) {
        void *p = malloc_fast(n);
        REQUIRE(core_usable(p, "malloc_usable_size") == core_good_size(n));
        REQUIRE(core_good_size(core_good_size(n)) == core_good_size(n));
        free_fast(p);
    }
    REQUIRE(core_good_size((size_t)PTRDIFF_MAX + 1) == 0 && core_good_size(SIZE_MAX) == 0);
}

static void test_good_size(void **state)
{
    (void)state;
    require_in_child(good_sizes, NULL);
}

/* Leaves free slots of n bytes that were used, and dirty, on the shelf; the thread keeps the rest. */
static void use_slots(size_t n)
{
    enum { BLOCKS = KEPT_MAX + 3 };
    unsigned char *p[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        memset(p[i] = malloc_fast(n), 0xff, n);
    REQUIRE(core_usable(p[0], "malloc_usable_size") == n);
    for (int i = 1; i < BLOCKS; i++)
        free_fast(p[i]);
}

/* Leaves a slab of slots of n bytes that were used, dirty and most of them free, on the shelf. Returns a block in it. */
static void *use_slab(size_t n)
{
    unsigned slots = size_classes[class_of(n)].slots;
    void *p[2 * UNIT_BYTES / 1024];
    for (unsigned i = 0; i < slots; i++)
        memset(p[i] = malloc_fast(n), 0xff, n);
    void *first = malloc_fast(n); /* the thread leases another slab now */
    for (unsigned i = 1; i < slots; i++)
        free_fast(p[i]);
    return first;
}

/* A used slot that is longer stands in for one that would need fresh memory, in all that may be asked of a block but an
 * alignment. */
static void stand_in(void *arg)
{
    (void)arg;
    start();
    use_slots(2816);
    use_slots(4608);
    char *p = malloc_fast(2300);
    REQUIRE(core_usable(p, "malloc_usable_size") == 2816);
    REQUIRE(core_realloc(p, 2300, "realloc") == p && core_realloc(p, 2816, "realloc") == p);
    REQUIRE(core_realloc(p, 2305, "realloc") == p);
    unsigned char *q = calloc_fast(10, 230);
    REQUIRE(core_usable(q, "malloc_usable_size") == 2816 && is_zero(q, 2300));
    free_sized_fast(p, 2300, "free_sized");
    core_free_sized(q, 2500, 0, "free_sized");
    for (int i = 0; i < 3; i++) {
        void *aligned = core_aligned(4096, 4096);
        REQUIRE((uintptr_t)aligned % 4096 == 0);
        core_free_sized(aligned, 4096, 4096, "free_aligned_sized");
    }
    REQUIRE(core_usable(malloc_fast(4000), "malloc_usable_size") == 4096); /* kept ones go first */
    free_fast(use_slab(1280));
    p = malloc_fast(1100);
    REQUIRE(core_usable(p, "malloc_usable_size") == 1280);
    free_sized_fast(p, 1100, "free_sized");
    q = calloc_fast(11, 100);
    REQUIRE(core_usable(q, "malloc_usable_size") == 1280 && is_zero(q, 1100));
    use_slab(1152);
    p = core_aligned(1024, 1000);
    REQUIRE((uintptr_t)p % 1024 == 0 && core_usable(p, "malloc_usable_size") == 1024);
    use_slots(9216);
    p = malloc_fast(7777);
    REQUIRE(core_usable(p, "malloc_usable_size") == 9216);
    fast_paths_are_closed = true; /* somebody begins to listen */
    core_free_sized(p, 7777, 0, "free_sized");
    REQUIRE(fake.message_writes == 0);
    REQUIRE_SOUND();
}

static void test_stand_ins(void **state)
{
    (void)state;
    require_in_child(stand_in, NULL);
}

/* From the first call on, every mapping is refused; then it is not. */
static void without_memory(void *arg)
{
    (void)arg;
    start();
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    errno = 0;
    require_refused(malloc_fast(1));
    require_refused(malloc_fast(1 << 20));
    require_refused(calloc_fast(3, 5));
    require_refused(calloc_fast(3, 1 << 20));
    require_refused(core_aligned(4096, 4096));
    require_refused(core_aligned(1 << 20, 1 << 20));
    require_refused(core_realloc(NULL, 10, "realloc"));
    fake.refuse = 0;
    void *p = calloc_fast(3, 5);
    REQUIRE(p != NULL && errno == 0);
    fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
    size_t n = 0;
    while (malloc_fast(1000) != NULL)
        n++;
    REQUIRE(n > 100 && errno == ENOMEM); /* what was mapped is used up */
    REQUIRE(heap_live_blocks() == n + 1);
    REQUIRE_SOUND();
}

static void test_without_memory(void **state)
{
    (void)state;
    require_in_child(without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_memory), cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_aligned),     cmocka_unit_test(test_good_size),
        cmocka_unit_test(test_stand_ins),   cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
