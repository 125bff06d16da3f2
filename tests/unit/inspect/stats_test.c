/* inspect/stats: the three formats carry the numbers of the struct, and each is what it claims to be
 * (JSON and OpenMetrics are read by independent parsers in tests/inspect). */
#include <ration/stats.h>

#include "core/fast_path.h"
#include "support/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 16];

static void capture(const struct ration_stats *s, int (*write_to)(const struct ration_stats *, int))
{
    FILE *file = tmpfile();
    REQUIRE(file != NULL && write_to(s, fileno(file)) == 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
}

static size_t count_char(char c)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0'; at++)
        n += *at == c;
    return n;
}

static void require_number(const char *before, size_t n, const char *after)
{
    char expected[200];
    snprintf(expected, sizeof expected, "%s%zu%s", before, n, after);
    if (strstr(text, expected) == NULL)
        fprintf(stderr, "expected %s in\n%s", expected, text);
    REQUIRE(strstr(text, expected) != NULL);
}

static void write_all(void *arg)
{
    (void)arg;
    struct ration_stats s;
    fake_os_install();
    for (int i = 0; i < 500; i++)
        malloc_fast((size_t)i * 50);
    malloc_fast(1000000);
    ration_stats_read(&s);

    capture(&s, ration_stats_write_text);
    require_number(" ", s.parts[RATION_PART_LIVE_SMALL].mapped_bytes, " ");
    require_number(" ", s.rss_bytes, "\n");

    capture(&s, ration_stats_write_json);
    REQUIRE(count_char('{') == count_char('}') && count_char('[') == 3 && count_char(']') == 3);
    require_number("\"rss_bytes\": ", s.rss_bytes, ",\n");
    require_number(
        "\"live_large\": {\"mapped_bytes\": ", s.parts[RATION_PART_LIVE_LARGE].mapped_bytes, ", ");
    require_number(
        "{\"slot_bytes\": 64, \"slabs\": 1, \"slabs_peak\": 1, \"slots\": 1024, \"live\": ",
        s.classes[3].live, ",");

    capture(&s, ration_stats_write_openmetrics);
    require_number("\nration_rss_bytes ", s.rss_bytes, "\n");
    require_number("\nration_class_live{slot_bytes=\"64\"} ", s.classes[3].live, "\n");
    REQUIRE(strcmp(text + strlen(text) - 6, "# EOF\n") == 0);
    REQUIRE(ration_stats_write_json(&s, -1) == -1 && ration_stats_write_text(&s, -1) == -1 &&
            ration_stats_write_openmetrics(&s, -1) == -1);
}

static void test_formats(void **state)
{
    (void)state;
    require_in_child(write_all, NULL);
}

static void test_refusals(void **state)
{
    (void)state;
    struct ration_stats s;
    assert_int_equal(ration_stats_read_process(0, &s), RATION_NO_PROCESS);
    assert_int_equal(ration_stats_read_process(-5, &s), RATION_NO_PROCESS);
    assert_int_equal(ration_stats_read_process(0x7ffffffe, &s), RATION_NO_PROCESS);
    assert_int_equal(ration_stats_read_process(getppid(), &s), RATION_NOT_LOADED);
    assert_string_equal(ration_part_name(RATION_PART_TAILS), "ends of slabs");
    assert_string_equal(ration_part_name((enum ration_part)999), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
