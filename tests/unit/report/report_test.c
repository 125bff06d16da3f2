/* report/report: the first line for every kind, one write, what on_error does. */
#include "report/report.h"

#include "conf/conf.h"
#include "support/fake_os.h"
#include "support/unit.h"

#include <string.h>

static int setup(void **state)
{
    (void)state;
    fake_os_install();
    conf.on_error = ON_ERROR_REPORT;
    conf.harden = HARDEN_OFF;
    return 0;
}

static void make_report(enum misuse kind)
{
    struct text t;
    report_begin(&t, kind, 0x7f00deadbeef, "realloc");
    text_add(&t, "  a line that explains\n");
    report_end(&t);
}

static void test_first_lines(void **state)
{
    (void)state;
    static const char *const lines[] = {
        [MISUSE_DOUBLE_FREE] = "ration: double free at 0x7f00deadbeef in realloc()\n",
        [MISUSE_INVALID_FREE] = "ration: invalid free at 0x7f00deadbeef in realloc()\n",
        [MISUSE_INTERIOR_FREE] = "ration: interior free at 0x7f00deadbeef in realloc()\n",
        [MISUSE_MISALIGNED_FREE] = "ration: misaligned free at 0x7f00deadbeef in realloc()\n",
        [MISUSE_SIZE_MISMATCH] = "ration: size mismatch at 0x7f00deadbeef in realloc()\n",
        [MISUSE_USE_AFTER_FREE] = "ration: use after free at 0x7f00deadbeef in realloc()\n",
        [MISUSE_OVERFLOW] = "ration: overflow at 0x7f00deadbeef in realloc()\n",
        [MISUSE_CORRUPT_HEAP] = "ration: corrupt heap at 0x7f00deadbeef in realloc()\n",
    };
    for (int kind = MISUSE_DOUBLE_FREE; kind <= MISUSE_CORRUPT_HEAP; kind++) {
        fake_os_clear();
        make_report((enum misuse)kind);
        assert_int_equal(strncmp(fake.message, lines[kind], strlen(lines[kind])), 0);
        assert_non_null(strstr(fake.message, "\n  a line that explains\n  thread "));
        assert_int_equal(fake.message[fake.message_chars - 1], '\n');
        assert_int_equal(fake.message_writes, 1);
    }
    assert_int_equal(fake_os_calls(ENTRY_ABORT), 0);
}

static void abort_by_report(void *arg)
{
    (void)arg;
    conf.on_error = ON_ERROR_ABORT;
    jmp_buf back;
    fake.abort_to = &back;
    if (setjmp(back) == 0) {
        make_report(MISUSE_DOUBLE_FREE);
        REQUIRE(!"comes back");
    }
    REQUIRE(fake_os_calls(ENTRY_ABORT) == 1 && fake.message_writes == 1);
    REQUIRE(strstr(fake.message, "on_error=report") != NULL &&
            strstr(fake.message, "harden=full") != NULL);
    /* a program that catches the signal and goes on gets its next report as well: no lock was left
     * behind */
    if (setjmp(back) == 0)
        make_report(MISUSE_INVALID_FREE);
    REQUIRE(fake.message_writes == 2);
}

static void test_abort(void **state)
{
    (void)state;
    require_in_child(abort_by_report, NULL);
}

static void report_once(void *arg)
{
    (void)arg;
    conf.on_error = ON_ERROR_IGNORE;
    for (int i = 0; i < 5; i++)
        make_report(MISUSE_DOUBLE_FREE);
    REQUIRE(fake.message_writes == 1);
    conf.on_error = ON_ERROR_REPORT;
    for (int i = 0; i < 5; i++)
        make_report(MISUSE_DOUBLE_FREE);
    REQUIRE(fake.message_writes == 6);
    conf.harden = HARDEN_FULL;
    fake_os_clear();
    make_report(MISUSE_DOUBLE_FREE);
    REQUIRE(strstr(fake.message, "harden=full") == NULL); /* no advice that is followed already */
}

static void test_ignore(void **state)
{
    (void)state;
    require_in_child(report_once, NULL);
}

static void overfill(void *arg)
{
    (void)arg;
    struct text t;
    report_begin(&t, MISUSE_OVERFLOW, UINTPTR_MAX, "free");
    for (int i = 0; i < 1000; i++)
        text_add(&t, "  0123456789\n");
    report_end(&t);
    REQUIRE(fake.message_writes == 2 && fake.message_chars <= 2 * sizeof t.chars);
    REQUIRE(strncmp(fake.message, "ration: overflow at 0xffffffffffffffff in free()\n", 49) == 0);
}

/* Line by line there is room for any number of them. */
static void write_many_lines(void *arg)
{
    enum { LINES = 300 };
    (void)arg;
    struct text t;
    report_begin(&t, MISUSE_OVERFLOW, 1, "free");
    REQUIRE(report_kind(&t) == MISUSE_OVERFLOW);
    for (int i = 0; i < LINES; i++) {
        report_make_room(&t);
        text_add(&t, "  0123456789\n");
    }
    report_end(&t);
    int n = 0;
    for (const char *at = fake.message; (at = strstr(at, "  0123456789\n")) != NULL; at++)
        n++;
    REQUIRE(n == LINES && fake.message_writes > 1);
    REQUIRE(strstr(fake.message, "  thread ") != NULL);
}

static void test_many_lines(void **state)
{
    (void)state;
    require_in_child(write_many_lines, NULL);
}

static void test_long(void **state)
{
    (void)state;
    require_in_child(overfill, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ignore, setup), /* before any report of this process */
        cmocka_unit_test_setup(test_first_lines, setup),
        cmocka_unit_test_setup(test_abort, setup),
        cmocka_unit_test_setup(test_long, setup),
        cmocka_unit_test_setup(test_many_lines, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
