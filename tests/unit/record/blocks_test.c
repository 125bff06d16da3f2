/* record/blocks: records by address through every change of what lies there; B1 to B3. */
#include "record/blocks.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "support/heap.h"

static void start(void)
{
    struct block_facts facts;
    fake_os_install();
    REQUIRE(!blocks_find(1, &facts));
    REQUIRE(life_cache() != NULL && blocks_begin() && blocks_begin());
}

static struct block_event event_of(uintptr_t address)
{
    uint32_t n = (uint32_t)(address >> 4) & 0x3fffff;
    return (struct block_event){.site = n ^ 5, .thread = n | 1, .ms = n ^ 9};
}

static void note_made(void *p, size_t n)
{
    struct block_event event = event_of((uintptr_t)p);
    blocks_note_made((uintptr_t)p, n, &event);
}

static bool is_event(const struct block_event *e, uintptr_t address)
{
    struct block_event wanted = event_of(address);
    return e->site == wanted.site && e->thread == wanted.thread && e->ms == wanted.ms;
}

static void require_live(void *p, size_t n)
{
    struct block_facts facts;
    REQUIRE(blocks_find((uintptr_t)p, &facts) && facts.address == (uintptr_t)p);
    REQUIRE(facts.bytes == n && is_event(&facts.made, (uintptr_t)p) && facts.freed.thread == 0);
}

/* B2, and B1 for freed blocks. */
static void live_and_freed(void *arg)
{
    enum { BLOCKS = 3000 };
    static void *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    struct chance c = {.state = chance_seed()};
    struct block_facts facts;
    (void)arg;
    start();
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = chance_below(&c, i % 50 == 0 ? 200000 : 3000);
        note_made(blocks[i] = malloc_fast(sizes[i]), sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++)
        require_live(blocks[i], sizes[i]);
    for (int i = 0; i < BLOCKS; i += 2) {
        uintptr_t address = (uintptr_t)blocks[i];
        struct block_event event = event_of(address + 16);
        REQUIRE(blocks_note_freed(address, &event) == 2);
        REQUIRE(blocks_find(address, &facts) && facts.count == 2);
        REQUIRE(is_event(&facts.made, address) && is_event(&facts.freed, address + 16));
        if (i % 4 == 0) {
            blocks_note_kept(address);
            require_live(blocks[i], sizes[i]);
        }
    }
    REQUIRE(!blocks_find(1, &facts) && !blocks_find(UINTPTR_MAX, &facts));
    /* An address inside a block is that block's. */
    REQUIRE(blocks_find((uintptr_t)blocks[1] + sizes[1] / 2, &facts));
    REQUIRE(facts.address == (uintptr_t)blocks[1]);
}

/* B1 and B3: a unit serves one class, then one with more slots, then large blocks, then the first again. */
static void change_of_class(void *arg)
{
    enum { MANY = 20000, MOST_BYTES = 4 << 20 };
    static const size_t sizes[] = {4000, 16, 100000, 16, 4000};
    static void *blocks[MANY];
    struct block_facts facts;
    (void)arg;
    start();
    for (size_t round = 0; round < sizeof sizes / sizeof *sizes; round++) {
        size_t n = min_size(MANY, MOST_BYTES / sizes[round]);
        for (size_t i = 0; i < n; i++) {
            blocks[i] = malloc_fast(sizes[round]);
            REQUIRE(!blocks_find((uintptr_t)blocks[i], &facts) || facts.bytes == sizes[round]);
            note_made(blocks[i], sizes[round]);
        }
        for (size_t i = 0; i < n; i++)
            require_live(blocks[i], sizes[round]);
        for (size_t i = 0; i < n; i++) {
            struct block_event event = event_of((uintptr_t)blocks[i]);
            blocks_note_freed((uintptr_t)blocks[i], &event);
            free_fast(blocks[i]);
        }
        core_trim();
    }
}

static void no_memory(void *arg)
{
    struct block_event event = event_of(0x1230);
    struct block_facts facts;
    (void)arg;
    enum { BLOCKS = 1000 };
    static void *blocks[BLOCKS];
    start();
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = malloc_fast(16 * (i + 1));
    fake.refuse = ENTRY_BIT(ENTRY_PAGES_MAP);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks_note_made((uintptr_t)blocks[i], 1, &event) != 0)
            continue;
        REQUIRE(!blocks_find((uintptr_t)blocks[i], &facts));
        REQUIRE(blocks_note_freed((uintptr_t)blocks[i], &event) == 0);
        return;
    }
    REQUIRE(!"memory ran out");
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(live_and_freed)
IN_CHILD(change_of_class)
IN_CHILD(no_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_and_freed),
        cmocka_unit_test(test_change_of_class),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
