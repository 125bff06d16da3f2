/* callers/rules: what is learned from a step of the unwinder, and where a rule leads. */
#include "callers/rules.h"

#include "core/life.h"
#include "os/frame.h"
#include "support/heap.h"

/* A stack of our own, growing downward: words[0] is the innermost. */
static uintptr_t words[64];

static uintptr_t at(unsigned i)
{
    return (uintptr_t)&words[i];
}

static uintptr_t stack_end(void)
{
    return (uintptr_t)(words + 64);
}

static void start(void)
{
    fake_os_install();
    REQUIRE(life_cache() != NULL && rules_begin() && rules_begin());
    for (unsigned i = 0; i < 64; i++)
        words[i] = 0x1000 + i;
}

/* Where a call keeps the return address in a register no place on the stack is known to hold it. */
static bool asks_instead(uintptr_t ip)
{
    return !FRAME_RETURN_IS_PUSHED && rule_kind_of(rules_find(ip)) == RULE_ASK;
}

static void fixed(void *arg)
{
    (void)arg;
    start();
    struct frame from = {.ip = 0x400000, .sp = at(10), .bp = 77};
    struct frame to = {.ip = 0x500000, .sp = at(20), .bp = 77};
    struct frame led;
    words[19] = to.ip;
    REQUIRE(rules_find(from.ip) == RULE_NONE);
    rules_learn(&from, &to);
    if (asks_instead(from.ip))
        return;
    rule r = rules_find(from.ip);
    REQUIRE(rule_kind_of(r) == RULE_FIXED && (r >> 8) == 80);
    REQUIRE(rules_follow(r, &from, stack_end(), &led));
    REQUIRE(led.ip == to.ip && led.sp == to.sp && led.bp == 77);
    /* The frame ends beyond the stack. */
    REQUIRE(!rules_follow(r, &from, at(19), &led));
    /* The same place, another distance: never again without asking. */
    to.sp = at(30);
    words[29] = to.ip;
    rules_learn(&from, &to);
    REQUIRE(rules_find(from.ip) == RULE_ASK);
    rules_learn(&from, &to);
    REQUIRE(rules_find(from.ip) == RULE_ASK);
}

static void saved_frame_pointer(void *arg)
{
    (void)arg;
    start();
    struct frame from = {.ip = 0x400000, .sp = at(10), .bp = 1};
    struct frame to = {.ip = 0x500000, .sp = at(20), .bp = 99};
    struct frame led;
    words[19] = to.ip;
    words[17] = 99;
    rules_learn(&from, &to);
    if (asks_instead(from.ip))
        return;
    REQUIRE(rules_follow(rules_find(from.ip), &from, stack_end(), &led) && led.bp == 99);
    words[17] = 98;
    REQUIRE(rules_follow(rules_find(from.ip), &from, stack_end(), &led) && led.bp == 98);
    /* It was kept elsewhere after all: its place is lost, the caller is not. */
    rules_learn(&from, &to);
    REQUIRE(rules_follow(rules_find(from.ip), &from, stack_end(), &led));
    REQUIRE(led.bp == 0 && led.ip == to.ip);
    /* Two places could be it. */
    struct frame other = {.ip = 0x400001, .sp = at(10), .bp = 1};
    words[16] = words[15] = 99;
    rules_learn(&other, &to);
    REQUIRE(rules_follow(rules_find(other.ip), &other, stack_end(), &led) && led.bp == 0);
}

static void by_frame_pointer(void *arg)
{
    (void)arg;
    start();
    struct frame from = {.ip = 0x400000, .sp = at(10), .bp = at(18)};
    struct frame to = {.ip = 0x500000, .sp = at(20), .bp = at(40)};
    struct frame led;
    words[18] = to.bp;
    words[19] = to.ip;
    rules_learn(&from, &to);
    REQUIRE(rule_kind_of(rules_find(from.ip)) == RULE_FRAME);
    /* Another depth of the same frame. */
    from.bp = at(28);
    words[28] = at(50);
    words[29] = 0x600000;
    REQUIRE(rules_follow(rules_find(from.ip), &from, stack_end(), &led));
    REQUIRE(led.ip == 0x600000 && led.bp == at(50) && led.sp == at(30));
    /* A frame pointer that is none: below the frame, behind the stack, odd, null. */
    const uintptr_t wrong[] = {at(9), stack_end(), at(63), at(28) + 1, 0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        from.bp = wrong[i];
        REQUIRE(!rules_follow(rules_find(from.ip), &from, stack_end(), &led));
    }
}

static void not_understood(void *arg)
{
    (void)arg;
    start();
    struct frame from = {.ip = 0x400000, .sp = at(10), .bp = 1};
    struct frame to = {.ip = 0x500000, .sp = at(20), .bp = 1};
    rules_learn(&from, &to); /* the return address is not where a call pushes it */
    REQUIRE(rules_find(from.ip) == RULE_ASK);
}

/* As many addresses as there is room for and more; those that were taken are found. */
static void full_table(void *arg)
{
    (void)arg;
    enum { N = 100000, KEPT = 50000 };
    start();
    for (uintptr_t i = 1; i <= N; i++)
        rules_set(i, rule_make(RULE_FIXED, 0, i));
    for (uintptr_t i = 1; i <= KEPT; i++)
        REQUIRE(rules_find(i) >> 8 == i);
    REQUIRE(rules_find(N) == RULE_NONE);
}

#define IN_CHILD(body)                                                                             \
    static void test_##body(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        require_in_child(body, NULL);                                                              \
    }
IN_CHILD(fixed)
IN_CHILD(saved_frame_pointer)
IN_CHILD(by_frame_pointer)
IN_CHILD(not_understood)
IN_CHILD(full_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_saved_frame_pointer),
        cmocka_unit_test(test_by_frame_pointer),
        cmocka_unit_test(test_not_understood),
        cmocka_unit_test(test_full_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
