/* base/fmt: numbers exact, texts cut at the end of the buffer and never beyond. */
#include "base/fmt.h"

#include "support/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void require_text(const struct text *t, const char *expected)
{
    assert_int_equal(t->used, strlen(expected));
    assert_memory_equal(t->chars, expected, t->used);
}

static void test_pieces(void **state)
{
    (void)state;
    struct text t;
    memset(&t, 'x', sizeof t);
    text_clear(&t);
    require_text(&t, "");
    text_add(&t, "");
    text_add(&t, "one ");
    text_add_bytes(&t, "two!!", 3);
    text_add_unsigned(&t, 0);
    text_add(&t, " ");
    text_add_signed(&t, -12);
    text_add(&t, " ");
    text_add_hex(&t, 0xdeadbeef);
    require_text(&t, "one two0 -12 0xdeadbeef");
}

static void test_numbers(void **state)
{
    (void)state;
    struct chance chance = {chance_seed()};
    uint64_t special[] = {0, 9, 10, 99, 100, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (int i = 0; i < 20000; i++) {
        uint64_t n = i < 8 ? special[i] : chance_next(&chance) >> chance_below(&chance, 64);
        char expected[100];
        snprintf(expected, sizeof expected, "%" PRIu64 " %" PRId64 " 0x%" PRIx64, n, (int64_t)n, n);
        struct text t;
        text_clear(&t);
        text_add_unsigned(&t, n);
        text_add(&t, " ");
        text_add_signed(&t, (int64_t)n);
        text_add(&t, " ");
        text_add_hex(&t, n);
        require_text(&t, expected);
    }
}

static void test_cut(void **state)
{
    (void)state;
    struct {
        struct text t;
        char behind[64];
    } s;
    memset(&s, '#', sizeof s);
    text_clear(&s.t);
    for (int i = 0; i < 300; i++)
        text_add(&s.t, "seven77");
    text_add_unsigned(&s.t, UINT64_MAX);
    text_add_hex(&s.t, 1);
    assert_int_equal(s.t.used, sizeof s.t.chars);
    for (size_t i = 0; i < sizeof s.t.chars; i++)
        assert_int_equal(s.t.chars[i], "seven77"[i % 7]);
    for (size_t i = 0; i < sizeof s.behind; i++)
        assert_int_equal(s.behind[i], '#');
    text_clear(&s.t);
    require_text(&s.t, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
