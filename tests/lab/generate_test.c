/* The built-in patterns do what their descriptions and the course say. */
#include "lab_tests.h"

static struct trace generate(const char *name, uint64_t seed)
{
    struct trace trace;
    const struct generator *generator = generator_find(name);
    if (generator == NULL)
        fail_msg("there is no generator %s", name);
    generator_run(generator, seed, &trace);
    return trace;
}

static void every_pattern_of_the_collection_is_there(void **state)
{
    (void)state;
    static const char *const names[] = {
        "short",     "binary",    "binary2",        "coalescing", "random",  "realloc",
        "realloc2",  "syn-array", "syn-string",     "syn-struct", "syn-mix", "needle",
        "exhaust",   "seglist",   "merry-go-round", "largemem",   "swiss",   "bucket-starvation",
        "two-megs",  "course9",   "worst-pow2",     "buddy32",    "aging",   "lesson",
        "wholesale", "frameloop", "realloc-large",  "contention"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct trace trace = generate(names[i], 1);
        assert_true(trace.n_ops > 0);
        trace_drop(&trace);
    }
    assert_null(generator_find("no such pattern"));
}

static void the_same_seed_gives_the_same_trace(void **state)
{
    (void)state;
    for (size_t i = 0; generator_at(i) != NULL; i++) {
        struct trace one = generate(generator_name(generator_at(i)), 5);
        struct trace two = generate(generator_name(generator_at(i)), 5);
        assert_int_equal(one.n_ops, two.n_ops);
        assert_memory_equal(one.ops, two.ops, one.n_ops * sizeof *one.ops);
        trace_drop(&one);
        trace_drop(&two);
    }
}

static void another_seed_gives_another_random_trace(void **state)
{
    (void)state;
    struct trace one = generate("random", 1), two = generate("random", 2);
    assert_true(one.n_ops != two.n_ops ||
                memcmp(one.ops, two.ops, one.n_ops * sizeof *one.ops) != 0);
    trace_drop(&one);
    trace_drop(&two);
}

static void figures_are_those_of_the_descriptions(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n_ops;
        uint64_t peak_payload;
        size_t peak_live;
    } cases[] = {
        {"short", 12, 8000, 3},
        {"binary", 4 * 2000 + 2 * 2000 + 0, 2000 * (64 + 512), 4000},
        {"binary2", 6 * 4000, 4000 * (16 + 128), 8000},
        {"coalescing", 6 * 2400, 8190, 2},
        {"course9", 8, 72, 4},
        {"two-megs", 301, 100 * (2097152 / 100 + 64), 200},
        {"swiss", 190000, 100000000, 100000},
        {"bucket-starvation", 14000, 4000 * 120, 6000},
        {"exhaust", 3072, 512 * 262144, 512},
        {"merry-go-round", 25600, 1024 + 1016 + 1008 + 1000 + 992 + 984 + 976 + 968 + 960 + 952,
         10},
        {"worst-pow2", 4400, 200 * (65504 + 11), 2200},
        {"largemem", 12, 36000000200, 4},
        {"buddy32", 8, 512, 3},
        {"wholesale", 105000, 500000, 5000},
        {"realloc-large", 8, 144 << 20, 2},
        {"contention", 40000, 100 * (32 + 96 + 160 + 224), 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trace trace = generate(cases[i].name, 1);
        if (trace.n_ops != cases[i].n_ops || trace.peak_payload != cases[i].peak_payload ||
            trace.peak_live != cases[i].peak_live)
            fail_msg("%s: %zu operations, peak %llu bytes, %zu live", cases[i].name, trace.n_ops,
                     (unsigned long long)trace.peak_payload, trace.peak_live);
        trace_drop(&trace);
    }
}

static void realloc_grows_one_block_to_its_end(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t last;
        size_t n_resizes;
    } cases[] = {{"realloc", 614784, 4799}, {"realloc2", 28087, 4799}};
    for (size_t i = 0; i < 2; i++) {
        struct trace trace = generate(cases[i].name, 1);
        uint64_t last = 0;
        size_t n = 0;
        for (size_t k = 0; k < trace.n_ops; k++) {
            if (trace.ops[k].kind != TRACE_REALLOC)
                continue;
            assert_true(trace.ops[k].size > last);
            last = trace.ops[k].size;
            n++;
        }
        assert_int_equal(last, cases[i].last);
        assert_int_equal(n, cases[i].n_resizes);
        trace_drop(&trace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_of_the_collection_is_there),
        cmocka_unit_test(the_same_seed_gives_the_same_trace),
        cmocka_unit_test(another_seed_gives_another_random_trace),
        cmocka_unit_test(figures_are_those_of_the_descriptions),
        cmocka_unit_test(realloc_grows_one_block_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
