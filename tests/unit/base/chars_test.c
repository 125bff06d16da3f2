/* base/chars.h against the C library's functions, over all short texts of two letters. */
#include "base/chars.h"

#include "support/unit.h"

#include <string.h>

enum { LETTERS_MAX = 4, TEXTS = 31 }; /* 1 + 2 + 4 + 8 + 16 */

/* The k-th: as many letters as k + 1 has bits behind its highest, `a` or `b` by each. */
static void write_text(unsigned k, char *text)
{
    unsigned bits = k + 1;
    unsigned n = 31 - (unsigned)__builtin_clz(bits);
    for (unsigned i = 0; i < n; i++)
        text[i] = (bits >> i & 1) != 0 ? 'b' : 'a';
    text[n] = '\0';
}

static void test_pairs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TEXTS; i++) {
        for (unsigned k = 0; k < TEXTS; k++) {
            char text[LETTERS_MAX + 1];
            char other[LETTERS_MAX + 1];
            write_text(i, text);
            write_text(k, other);
            size_t n = strlen(other);
            bool begins = strncmp(text, other, n) == 0;
            assert_ptr_equal(chars_behind(text, other), begins ? text + n : NULL);
            assert_int_equal(chars_are(text, other), strcmp(text, other) == 0);
            assert_int_equal(chars_have(text, other), strstr(text, other) != NULL);
        }
    }
}

static void test_until(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TEXTS; i++) {
        char text[LETTERS_MAX + 1];
        write_text(i, text);
        assert_ptr_equal(chars_until(text, 'b'), text + strcspn(text, "b"));
        assert_ptr_equal(chars_until(text, '\0'), text + strlen(text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_until),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
