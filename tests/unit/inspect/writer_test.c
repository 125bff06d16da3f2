/* inspect/writer: text in pieces longer than the buffer arrives whole; a closed descriptor is told. */
#include "inspect/writer.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_back(FILE *file, char *text, size_t capacity)
{
    rewind(file);
    size_t n = fread(text, 1, capacity - 1, file);
    text[n] = '\0';
    return n;
}

static void test_forms(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    struct writer w;
    char text[200];
    writer_begin(&w, fileno(file));
    writer_add(&w, "a ");
    writer_add_unsigned(&w, UINT64_MAX);
    writer_add_column(&w, 42, 5);
    writer_add_column(&w, 123456, 5);
    writer_add(&w, " ");
    writer_add_address(&w, 0xadeaf0);
    writer_add_byte(&w, 0x0f);
    assert_int_equal(writer_end(&w), 0);
    read_back(file, text, sizeof text);
    assert_string_equal(text, "a 18446744073709551615   42123456 0xADEAF00f");
    fclose(file);
}

static void test_long(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    struct writer w;
    static char expected[40000];
    static char text[50000];
    size_t n = 0;
    writer_begin(&w, fileno(file));
    for (unsigned i = 0; n < sizeof expected - 20; i++) {
        writer_add_unsigned(&w, i);
        writer_add(&w, ",");
        n += (size_t)sprintf(expected + n, "%u,", i);
    }
    writer_add_bytes(&w, expected, n);
    assert_int_equal(writer_end(&w), 0);
    assert_int_equal(read_back(file, text, sizeof text), sizeof text - 1);
    assert_memory_equal(text, expected, n);
    assert_memory_equal(text + n, expected, sizeof text - 1 - n);
    fclose(file);
}

static void test_failure(void **state)
{
    (void)state;
    struct writer w;
    writer_begin(&w, -1);
    for (int i = 0; i < 1000; i++)
        writer_add(&w, "nobody reads this");
    assert_int_equal(writer_end(&w), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
