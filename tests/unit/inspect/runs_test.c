/* inspect/runs: the runs cover the used part of the window, and tell what lies in them. */
#include "core/fast_path.h"
#include "core/life.h"
#include "inspect/ledger.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>

struct seen {
    size_t bytes[RATION_RUN_OTHER + 1];
    size_t live, runs;
    uintptr_t next; /* where the next run has to begin; 0: anywhere */
    uintptr_t looked_for;
    struct ration_run found;
    int stop_after;
};

static int note(const struct ration_run *run, void *context)
{
    struct seen *seen = context;
    REQUIRE(seen->next == 0 || run->start == seen->next);
    REQUIRE(run->bytes > 0 && run->resident_bytes <= run->bytes && run->live <= run->slots);
    REQUIRE((run->kind == RATION_RUN_SLAB) == (run->slots > 0));
    seen->next = run->start + run->bytes;
    seen->bytes[run->kind] += run->bytes;
    seen->live += run->live;
    seen->runs++;
    if (seen->looked_for >= run->start && seen->looked_for < seen->next)
        seen->found = *run;
    return seen->stop_after > 0 && --seen->stop_after == 0;
}

static void look(void *arg)
{
    (void)arg;
    fake_os_install();
    struct seen none = {.stop_after = 0};
    REQUIRE(ration_runs_visit(0, note, &none) == RATION_OK && none.runs == 0);

    enum { BLOCKS = 5000, LARGE = 1 << 20 };
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc_fast(200);
    char *large = malloc_fast(LARGE);
    memset(large, 1, LARGE / 2);
    void *freed = malloc_fast(LARGE);
    void *end = malloc_fast(LARGE);
    free_fast(freed);
    REQUIRE(large != NULL && end != NULL);

    struct seen seen = {.looked_for = (uintptr_t)large};
    REQUIRE(ration_runs_visit(0, note, &seen) == RATION_OK);
    REQUIRE(seen.live == BLOCKS && seen.bytes[RATION_RUN_LARGE] == 2 * LARGE);
    REQUIRE(seen.bytes[RATION_RUN_DIRTY] == LARGE);
    REQUIRE(seen.found.kind == RATION_RUN_LARGE && seen.found.start == (uintptr_t)large);
    REQUIRE(seen.found.resident_bytes == LARGE / 2);
    seen = (struct seen){.looked_for = (uintptr_t)blocks[0]};
    REQUIRE(ration_runs_visit(0, note, &seen) == RATION_OK);
    REQUIRE(seen.found.kind == RATION_RUN_SLAB && seen.found.slot_bytes >= 200);
    seen = (struct seen){.stop_after = 1};
    REQUIRE(ration_runs_visit(0, note, &seen) == RATION_OK && seen.runs == 1);
    for (int i = 0; i < BLOCKS; i++)
        free_fast(blocks[i]);
}

static void test_look(void **state)
{
    (void)state;
    require_in_child(look, NULL);
}

static void test_refusals(void **state)
{
    (void)state;
    struct seen seen = {.stop_after = 0};
    assert_int_equal(ration_runs_visit(-1, note, &seen), RATION_NO_PROCESS);
    assert_int_equal(ration_runs_visit(0x7ffffffe, note, &seen), RATION_NO_PROCESS);
    assert_string_equal(ration_run_name(RATION_RUN_LARGE), "large");
    assert_string_equal(ration_run_name((enum ration_run_kind)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
