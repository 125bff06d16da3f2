/* span/huge_price: how many chunks stay plain after a dear one. */
#include "span/huge_price.h"

#include "support/unit.h"

#define CHEAP_NS (HUGE_DEAR_NS - 1)

/* Whose next chunk is asked for, and the ones after it as long as they are cheap. */
static void require_affordable(void)
{
    for (int i = 0; i < 3; i++) {
        REQUIRE(huge_price_affords(5));
        huge_price_seen(CHEAP_NS);
    }
}

static void require_passed_over(size_t chunks)
{
    for (size_t i = 0; i < chunks; i++)
        REQUIRE(!huge_price_affords(1));
}

static void test_cheap_ones_are_asked_for(void **state)
{
    (void)state;
    require_affordable();
}

static void test_a_dear_one_turns_it_down_for_a_while(void **state)
{
    (void)state;
    huge_price_seen(HUGE_DEAR_NS);
    require_passed_over(HUGE_PASSED_OVER_FIRST);
    require_affordable();
}

/* Twice as long after each in a row, and as at first after a cheap one. */
static void test_dear_ones_in_a_row(void **state)
{
    (void)state;
    size_t chunks = HUGE_PASSED_OVER_FIRST;
    for (int i = 0; i < 10; i++) {
        huge_price_seen(HUGE_DEAR_NS);
        require_passed_over(chunks);
        REQUIRE(huge_price_affords(1));
        chunks = chunks < HUGE_PASSED_OVER_MOST ? chunks * 2 : HUGE_PASSED_OVER_MOST;
    }
    REQUIRE(chunks == HUGE_PASSED_OVER_MOST);
    huge_price_seen(CHEAP_NS);
    huge_price_seen(HUGE_DEAR_NS);
    require_passed_over(HUGE_PASSED_OVER_FIRST);
    require_affordable();
}

/* A large block's chunks count, however many there are. */
static void test_chunks_count(void **state)
{
    (void)state;
    huge_price_seen(HUGE_DEAR_NS);
    REQUIRE(!huge_price_affords(HUGE_PASSED_OVER_FIRST - 1));
    REQUIRE(!huge_price_affords(0));
    REQUIRE(!huge_price_affords(1000));
    require_affordable();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cheap_ones_are_asked_for),
        cmocka_unit_test(test_a_dear_one_turns_it_down_for_a_while),
        cmocka_unit_test(test_dear_ones_in_a_row),
        cmocka_unit_test(test_chunks_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
