/* Reading and writing traces: the three headers, the tolerated defects, and what is refused. */
#include "lab_tests.h"
#include <stdlib.h>
#include <unistd.h>

enum { damaged = 3, unreadable = 2 };

/* Read `text` as a file; the status is what trace_read returned. */
static int read_bytes(struct trace *trace, const char *text, size_t bytes)
{
    char path[] = "/tmp/ration-trace-test-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), bytes);
    close(fd);
    const int status = trace_read(trace, path);
    unlink(path);
    return status;
}

static int read_text(struct trace *trace, const char *text)
{
    return read_bytes(trace, text, strlen(text));
}

static void reads_every_operation(void **state)
{
    (void)state;
    struct trace trace;
    assert_int_equal(read_text(&trace, "20000\n4\n8\n1\n# a comment\n\na 0 100\nr 0 200\nc 1 3 40\n"
                                       "t 2\n@ 1500\nm 2 64 4096\nr 3 8\nf -1\nf 0\nf 2\n"),
                     0);
    assert_int_equal(trace.n_ops, 8);
    assert_int_equal(trace.ops[0].kind, TRACE_MALLOC);
    assert_int_equal(trace.ops[1].kind, TRACE_REALLOC);
    assert_int_equal(trace.ops[2].kind, TRACE_CALLOC);
    assert_int_equal(trace.ops[2].size, 120);
    assert_int_equal(trace.ops[3].kind, TRACE_ALIGNED);
    assert_int_equal(trace.ops[3].align_shift, 12);
    assert_int_equal(trace.ops[3].thread, 2);
    assert_int_equal(trace.ops[3].time, 1500);
    assert_int_equal(trace.ops[3].line, 12);
    assert_int_equal(trace.ops[4].kind, TRACE_REALLOC);
    assert_int_equal(trace.ops[5].kind, TRACE_FREE_NULL);
    assert_int_equal(trace.ops[6].kind, TRACE_FREE);
    assert_int_equal(trace.n_threads, 3);
    assert_int_equal(trace.peak_payload, 200 + 120 + 64 + 8);
    assert_int_equal(trace.peak_op, 4);
    assert_int_equal(trace.peak_live, 4);
    trace_drop(&trace);
}

static void finds_the_weight_in_every_header(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int weight;
    } cases[] = {{"20000\n1\n2\n2\na 0 5\nf 0\n", 2}, /* classic: the fourth */
                 {"3\n1\n2\n1\na 0 5\nf 0\n", 3},     /* mid: the first */
                 {"0\n1\n2\n5\na 0 5\nf 0\n", 0},     /* late: the first; the fourth is a peak */
                 {"1 1 2 5\na 0 5\nf 0\n", 1}};       /* all in one line */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trace trace;
        assert_int_equal(read_text(&trace, cases[i].text), 0);
        assert_int_equal(trace.weight, cases[i].weight);
        assert_int_equal(trace.peak_payload, 5);
        trace_drop(&trace);
    }
}

static void tolerates_and_counts_old_defects(void **state)
{
    (void)state;
    struct trace trace;
    assert_int_equal(read_text(&trace, "1\r\n3\r\n4\r\n9\r\na 0 64\r\na 1\r\na 2\r\n"), 0);
    assert_int_equal(trace.notes.n_missing_sizes, 2);
    assert_int_equal(trace.notes.n_carriage_returns, 7);
    assert_int_equal(trace.notes.n_ops_off, -1);
    assert_int_equal(trace.ops[2].size, 64);
    trace_drop(&trace);
    assert_int_equal(read_text(&trace, "1\n1\n1\n9\na 0 64\nf 0\na 0 1"), 0);
    assert_int_equal(trace.notes.n_ops_off, 2);
    trace_drop(&trace);
}

/* Each line of damage with where it is, what was expected, and how much was read before it. */
static const struct damage {
    const char *text;
    unsigned line;
    const char *expected;
    size_t n_ops;
} damages[] = {
    {"", 1, "four integers at the start", 0},
    {"20000\n1\n", 3, "four integers at the start", 0},
    {"20000\n1\nmany\n1\n", 3, "four integers at the start", 0},
    {"20000\n1\n2\n1 a 0 5\n", 4, "four integers at the start", 0},
    {"20000\n-1\n2\n1\n", 2, "four integers at the start", 0},
    {"1\n99999999999\n2\n1\n", 2, "at most 1073741824 ids", 0},
    {"1\n1000000000\n2\n1\na 999999999 5\n", 4,
     "no more ids than operations (the header has 1000000000 and 2)", 0},
    {"1\n1\n99999999999999999999999\n1\n", 3, "four integers at the start", 0},
    {"1\n0\n1\n1\na 0 5\n", 5, "the header announces 0 ids", 0},
    {"1\n2\n4\n1\na 0 5\nx 1 5\n", 6, "an operation: a, r, f, c, m, t or @", 1},
    {"1\n2\n4\n1\na 0 5\nalloc 1 5\n", 6, "an operation: a, r, f, c, m, t or @", 1},
    {"1\n2\n4\n1\na 0 5\na 2 5\n", 6, "an id from 0 to 1", 1},
    {"1\n2\n4\n1\na 0 5\na -1 5\n", 6, "an id from 0 to 1", 1},
    {"1\n2\n4\n1\na 0 5\na\n", 6, "an id from 0 to 1", 1},
    {"1\n2\n4\n1\na 0 5\na 1 12x\n", 6, "a size in bytes", 1},
    {"1\n2\n4\n1\na 0 5\na 1 -12\n", 6, "a size in bytes", 1},
    {"1\n2\n4\n1\na 0 5\na 1 140737488355329\n", 6, "a size in bytes", 1},
    {"1\n2\n4\n1\na 0 5\na 1 5 6\n", 6, "nothing after it", 1},
    {"1\n2\n4\n1\na 0 5\na 0 6\n", 6, "an id that is not live", 1},
    {"1\n2\n4\n1\na 0 5\nf 1\n", 6, "an id that is live", 1},
    {"1\n2\n4\n1\na 0 5\nf 0\nf 0\n", 7, "an id that is live", 2},
    {"1\n2\n4\n1\na 0 5\nf 0 1\n", 6, "nothing after it", 1},
    {"1\n2\n4\n1\na 0 5\nf -2\n", 6, "an id from 0 to 1", 1},
    {"1\n2\n4\n1\na 0 5\nr 0\n", 6, "`r ID SIZE`", 1},
    {"1\n2\n4\n1\na 0 5\nc 1 5\n", 6, "`c ID COUNT SIZE`", 1},
    {"1\n2\n4\n1\na 0 5\nc 1 4294967296 4294967296\n", 6, "`c ID COUNT SIZE`", 1},
    {"1\n2\n4\n1\na 0 5\nm 1 8 24\n", 6, "a power of two", 1},
    {"1\n2\n4\n1\na 0 5\nm 1 8 0\n", 6, "a power of two", 1},
    {"1\n2\n4\n1\na 0 5\nt 70000\n", 6, "`t THREAD`", 1},
    {"1\n2\n4\n1\na 0 5\n@ noon\n", 6, "`@ NANOSECONDS`", 1},
    {"1\n2\n4\n1\na 0 5\nf 0\n", 7, "4 operations (the header's number) but 2", 2},
};

static void names_line_and_expectation_of_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const struct damage *damage = &damages[i];
        struct trace trace;
        char place[20];
        assert_int_equal(read_text(&trace, damage->text), damaged);
        snprintf(place, sizeof place, ":%u: expected ", damage->line);
        if (strstr(trace.error, place) == NULL || strstr(trace.error, damage->expected) == NULL)
            fail_msg("case %zu: '%s' should name line %u and '%s'", i, trace.error, damage->line,
                     damage->expected);
        assert_int_equal(trace.n_ops, damage->n_ops);
        assert_int_equal(trace.peak_payload, damage->n_ops > 0 ? 5 : 0);
        trace_drop(&trace);
    }
}

/* Nothing that is not printable reaches the terminal, and a binary file is refused at once. */
static void shows_binary_input_harmlessly(void **state)
{
    (void)state;
    static const char bytes[] = "1\n1\n1\n1\na 0 \x1b[31m\x07\0\x01";
    struct trace trace;
    assert_int_equal(read_bytes(&trace, bytes, sizeof bytes), damaged);
    assert_null(strchr(trace.error, '\x1b'));
    assert_null(strchr(trace.error, '\x07'));
    trace_drop(&trace);
}

static void a_missing_file_is_not_damage(void **state)
{
    (void)state;
    struct trace trace;
    assert_int_equal(trace_read(&trace, "/nonexistent/x.rep"), unreadable);
    assert_non_null(strstr(trace.error, "/nonexistent/x.rep"));
    trace_drop(&trace);
    assert_int_equal(trace_read(&trace, "/tmp"), unreadable);
    trace_drop(&trace);
}

static void assert_same(const struct trace *a, const struct trace *b)
{
    assert_int_equal(a->n_ops, b->n_ops);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_int_equal(a->peak_payload, b->peak_payload);
    for (size_t i = 0; i < a->n_ops; i++) {
        const struct trace_op *left = &a->ops[i], *right = &b->ops[i];
        assert_int_equal(left->kind, right->kind);
        assert_int_equal(left->id, right->id);
        assert_int_equal(left->size, right->size);
        assert_int_equal(left->align_shift, right->align_shift);
        assert_int_equal(left->thread, right->thread);
        assert_int_equal(left->time, right->time);
    }
}

static void written_traces_read_back(const struct trace *trace)
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    trace_write(trace, out);
    fclose(out);
    struct trace again;
    if (read_bytes(&again, text, bytes) != 0)
        fail_msg("%s: %s", trace->name, again.error);
    assert_same(trace, &again);
    assert_int_equal(again.notes.n_ops_off, 0);
    trace_drop(&again);
    free(text);
}

static void every_generator_reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; generator_at(i) != NULL; i++) {
        struct trace trace;
        generator_run(generator_at(i), 7, &trace);
        written_traces_read_back(&trace);
        trace_drop(&trace);
    }
}

static void the_extended_form_reads_back(void **state)
{
    (void)state;
    struct trace trace;
    trace_start(&trace, "extended");
    trace_add(&trace, TRACE_CALLOC, 0, 24);
    trace_add(&trace, TRACE_ALIGNED, 1, 100);
    trace_last(&trace)->align_shift = 6;
    trace_last(&trace)->thread = 3;
    trace_last(&trace)->time = 77;
    trace_add(&trace, TRACE_FREE_NULL, 0, 0);
    trace_add(&trace, TRACE_FREE, 0, 0);
    trace_finish(&trace);
    written_traces_read_back(&trace);
    trace_drop(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_operation),
        cmocka_unit_test(finds_the_weight_in_every_header),
        cmocka_unit_test(tolerates_and_counts_old_defects),
        cmocka_unit_test(names_line_and_expectation_of_damage),
        cmocka_unit_test(shows_binary_input_harmlessly),
        cmocka_unit_test(a_missing_file_is_not_damage),
        cmocka_unit_test(every_generator_reads_back),
        cmocka_unit_test(the_extended_form_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
