/* inspect/named: published heaps are read as they are, whatever is found where they should be. */
#include "inspect/named.h"

#include "support/unit.h"

#include <ration/registry.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A kind as a program might write it: only what a reader looks at. */
struct kind {
    struct ration_heap heap;
    uint64_t taken, given, unit;
};

static const struct ration_figures figures = {
    .places = {
        [RATION_FIGURE_HEAP_BYTES] = {offsetof(struct kind, taken), 0, offsetof(struct kind, unit)},
        [RATION_FIGURE_LIVE_BLOCKS] = {offsetof(struct kind, taken), offsetof(struct kind, given),
                                       0},
        [RATION_FIGURE_ALLOCS] = {offsetof(struct kind, taken), 0, 0},
    }};
static const struct ration_heap_ops ops = {.kind = "test", .figures = &figures};
static const struct ration_heap_ops plain_ops = {.kind = "plain"};

static struct ration_registry registry = {RATION_REGISTRY_VERSION, sizeof(struct ration_heap),
                                          NULL};

static struct ration_stats read_all(void)
{
    struct ration_stats s;
    struct view v = {.pid = 0};
    memset(&s, 0, sizeof s);
    named_read(&v, &s);
    return s;
}

static const char *written(void (*write)(struct writer *, const struct ration_stats *),
                           const struct ration_stats *s)
{
    static char text[10000];
    FILE *file = tmpfile();
    struct writer w;
    writer_begin(&w, fileno(file));
    write(&w, s);
    assert_int_equal(writer_end(&w), 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void reads_names_and_figures(void **state)
{
    (void)state;
    struct kind heap = {{.ops = &ops, .name = "a \"name\"\n"}, 10, 3, 64};
    struct kind bare = {{.ops = &plain_ops, .name = NULL, .next_published = &heap.heap}, 0, 0, 0};
    assert_int_equal(ration_registry_join(&registry), 0);
    assert_int_equal(ration_registry_join(&registry), 0); /* twice is once */
    registry.first = &bare.heap;
    struct ration_stats s = read_all();
    assert_int_equal(s.n_heaps, 2);
    assert_string_equal(s.heaps[0].name, "");
    assert_string_equal(s.heaps[0].kind, "plain");
    assert_int_equal(s.heaps[0].heap_bytes, RATION_UNKNOWN);
    assert_string_equal(s.heaps[1].name, "a _name__");
    assert_int_equal(s.heaps[1].heap_bytes, 640);
    assert_int_equal(s.heaps[1].live_blocks, 7);
    assert_int_equal(s.heaps[1].n_allocs, 10);
    assert_int_equal(s.heaps[1].n_frees, RATION_UNKNOWN);
    assert_non_null(strstr(written(named_write_text, &s), "a _name__"));
    assert_non_null(strstr(written(named_write_json, &s),
                           "{\"name\": \"a _name__\", \"kind\": \"test\", \"heap_bytes\": 640, "
                           "\"live_blocks\": 7, \"allocs\": 10}"));
    assert_non_null(strstr(written(named_write_openmetrics, &s),
                           "ration_heap_bytes{heap=\"a _name__\",kind=\"test\",number=\"1\"} 640"));
    registry.first = NULL;
    s = read_all();
    assert_int_equal(s.n_heaps, 0);
    assert_string_equal(written(named_write_text, &s), "");
    assert_string_equal(written(named_write_json, &s), "  \"n_heaps\": 0,\n  \"heaps\": [],\n");
}

static void survives_what_is_no_heap(void **state)
{
    (void)state;
    struct kind good = {{.ops = &ops, .name = "good"}, 1, 0, 1};
    struct kind torn = {{.ops = (void *)8, .name = "torn", .next_published = &good.heap}, 0, 0, 0};
    registry.first = &torn.heap;
    assert_int_equal(read_all().n_heaps, 0);
    registry.first = (void *)16;
    assert_int_equal(read_all().n_heaps, 0);
    good.heap.name = (void *)1; /* a name that cannot be read is an empty one */
    registry.first = &good.heap;
    struct ration_stats s = read_all();
    assert_int_equal(s.n_heaps, 1);
    assert_string_equal(s.heaps[0].name, "");
    good.heap.next_published = &good.heap; /* a circle */
    good.heap.name = "round";
    assert_in_range(read_all().n_heaps, RATION_NAMED_HEAPS, 100000);
    assert_non_null(
        strstr(written(named_write_text, &(struct ration_stats){.n_heaps = 40}), "and 8 more"));
    registry.version = RATION_REGISTRY_VERSION + 1;
    assert_int_equal(read_all().n_heaps, 0);
    registry.version = RATION_REGISTRY_VERSION;
    registry.handle_bytes++;
    assert_int_equal(read_all().n_heaps, 0);
    registry.handle_bytes--;
}

static void knows_a_limited_number_of_registries(void **state)
{
    (void)state;
    static struct ration_registry many[20];
    int joined = 0;
    for (int i = 0; i < 20; i++)
        joined += ration_registry_join(&many[i]) == 0;
    assert_int_equal(joined, 15); /* one is taken by the tests above */
    assert_int_equal(ration_registry_join(&many[0]), 0);
    assert_int_equal(ration_registry_join(&many[19]), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_names_and_figures),
        cmocka_unit_test(survives_what_is_no_heap),
        cmocka_unit_test(knows_a_limited_number_of_registries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
