/* conf/conf: every option with every accepted value, everything that is not, files, sections, and
 * who wins. */
#include "conf/conf.h"

#include "support/fake_os.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static struct conf standard;

static int setup(void **state)
{
    (void)state;
    fake_os_install();
    static bool known;
    if (!known)
        standard = conf;
    known = true;
    conf = standard;
    return 0;
}

static bool set(const char *key, const char *value)
{
    return conf_set(key, strlen(key), value, strlen(value));
}

static void test_standard(void **state)
{
    (void)state;
    assert_int_equal(conf.on_error, ON_ERROR_ABORT);
    assert_int_equal(conf.harden, HARDEN_OFF);
    assert_int_equal(conf.stats, 0);
    conf_read(NULL, "program");
    assert_memory_equal(&conf, &standard, sizeof conf);
    assert_int_equal(fake.message_writes, 0);
}

static void test_words(void **state)
{
    (void)state;
    static const char *const on_error[] = {"abort", "report", "ignore"};
    static const char *const harden[] = {"off", "fast", "full"};
    for (int i = 0; i < 3; i++) {
        assert_true(set("on_error", on_error[i]) && conf.on_error == i);
        assert_true(set("harden", harden[i]) && conf.harden == i);
    }
    assert_true(set("stats", "1") && conf.stats == 1);
    static const char *const wrong[] = {"",  "Abort", "abor",   "aborts", "abort|report",
                                        "0", "|",     "ignore "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(set("on_error", wrong[i]));
    assert_int_equal(conf.on_error, ON_ERROR_IGNORE);
    assert_false(set("On_error", "abort") || set("", "abort") || set("on_erro", "abort"));
}

static void test_numbers(void **state)
{
    (void)state;
    assert_true(set("purge_delay", "-1") && conf.purge_delay == -1);
    assert_true(set("purge_delay", "0") && conf.purge_delay == 0);
    assert_true(set("purge_delay", "0012") && conf.purge_delay == 12);
    assert_true(set("purge_delay", "3600000") && conf.purge_delay == 3600000);
    static const char *const wrong[] = {"",
                                        "-",
                                        "-2",
                                        "3600001",
                                        "+5",
                                        "5ms",
                                        "1e3",
                                        "0x5",
                                        " 5",
                                        "5 ",
                                        "99999999999999999999999",
                                        "-9223372036854775808"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(set("purge_delay", wrong[i]));
    assert_int_equal(conf.purge_delay, 3600000);
}

static void test_setting(void **state)
{
    (void)state;
    conf_read(" harden = full ,,on_error=report,\tpurge_delay=7,stats=1", "program");
    assert_int_equal(conf.harden, HARDEN_FULL);
    assert_int_equal(conf.on_error, ON_ERROR_REPORT);
    assert_int_equal(conf.purge_delay, 7);
    assert_int_equal(conf.stats, 1);
    assert_int_equal(fake.message_writes, 0);
}

/* What is wrong is named with what was expected; the rest counts. */
static void test_wrong_setting(void **state)
{
    (void)state;
    conf_read("harden=maximum,colour=red,purge_delay=soon,on_error=report,stats", "program");
    assert_int_equal(conf.on_error, ON_ERROR_REPORT);
    assert_int_equal(conf.harden, HARDEN_OFF);
    assert_int_equal(conf.purge_delay, standard.purge_delay);
    assert_int_equal(fake.message_writes, 4);
    static const char *const words[] = {
        "ration: RATION: option 'harden' cannot be 'maximum', expected one of off|fast|full; it is "
        "ignored\n",
        "unknown option 'colour' is ignored; known are: on_error harden stats",
        "option 'purge_delay' cannot be 'soon', expected a whole number from -1 to 3600000 "
        "(milliseconds)",
        "option 'stats' cannot be '', expected one of 0|1",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_non_null(strstr(fake.message, words[i]));
}

static void test_file(void **state)
{
    (void)state;
    fake.file_path = "/etc/ration.conf";
    fake.file_text = "# all programs\n"
                     "harden = fast\n"
                     "\n"
                     "purge_delay=100 # milliseconds\r\n"
                     "[ program ]\n"
                     "on_error = report\n"
                     "[other]\n"
                     "on_error = ignore\n"
                     "stats = 1"; /* no newline at the end */
    conf_read("purge_delay=5", "program");
    assert_int_equal(conf.harden, HARDEN_FAST);
    assert_int_equal(conf.on_error, ON_ERROR_REPORT);
    assert_int_equal(conf.stats, 0);
    assert_int_equal(conf.purge_delay, 5); /* the environment wins */
    assert_int_equal(fake.message_writes, 0);
    conf = standard;
    conf_read(NULL, "other");
    assert_int_equal(conf.on_error, ON_ERROR_IGNORE);
    assert_int_equal(conf.stats, 1);
}

static void test_named_file(void **state)
{
    (void)state;
    fake.file_path = "/home/me/my.conf";
    fake.file_text = "stats=1\nwhat=ever\n[never closed\n";
    conf_read("harden=fast, config = /home/me/my.conf ", "program");
    assert_int_equal(conf.stats, 1);
    assert_int_equal(conf.harden, HARDEN_FAST);
    assert_non_null(strstr(fake.message, "ration: /home/me/my.conf: unknown option 'what'"));
    assert_int_equal(fake.message_writes, 2);
    fake_os_clear();
    conf_read("config=/no/such/file", "program");
    assert_non_null(strstr(fake.message, "cannot read the configuration file '/no/such/file'"));
    assert_int_equal(fake.message_writes, 1);
    char longest[300] = "config=";
    memset(longest + 7, 'x', 256);
    conf_read(longest, "program");
    assert_non_null(strstr(fake.message, "(its path is longer than 255 bytes)"));
    conf_read("col\x1b[2Jour=\xc3\xa9", "program");
    assert_non_null(strstr(fake.message, "unknown option 'col?[2Jour' is ignored"));
}

/* Any text at all: nothing read past its end, nothing hangs, values stay within their bounds. */
static void test_any_text(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "harden", "=",          ",",  "fast",        "[",
        "]",      "\n",         "#",  " ",           "config",
        "-1",     "9999999999", "\t", "purge_delay", "/etc/ration.conf",
        "\xff"};
    struct chance chance = {chance_seed()};
    fake.file_path = "/etc/ration.conf";
    for (int round = 0; round < 3000; round++) {
        char text[2][400] = {"", ""};
        for (int t = 0; t < 2; t++) {
            size_t n = chance_below(&chance, 20);
            for (size_t i = 0; i < n; i++)
                strcat(text[t], pieces[chance_below(&chance, sizeof pieces / sizeof *pieces)]);
        }
        fake.file_text = text[0];
        fake_os_clear();
        conf_read(text[1], "fast");
        assert_in_range(conf.harden, 0, 2);
        assert_true(conf.purge_delay >= -1 && conf.purge_delay <= 3600000);
    }
}

struct seen {
    int n;
    char all[1024];
};

static void note(const char *name, const char *value, const char *doc, void *arg)
{
    struct seen *seen = arg;
    seen->n++;
    assert_true(strlen(doc) > 10);
    snprintf(seen->all + strlen(seen->all), sizeof seen->all - strlen(seen->all), "%s=%s\n", name,
             value);
}

static void test_visit(void **state)
{
    (void)state;
    struct seen seen = {0, ""};
    conf_read("harden=full,purge_delay=-1", "program");
    conf_visit(note, &seen);
    assert_non_null(strstr(seen.all, "on_error=abort\n"));
    assert_non_null(strstr(seen.all, "harden=full\n"));
    assert_non_null(strstr(seen.all, "purge_delay=-1\n"));
    /* what is shown can be said again */
    struct conf before = conf;
    conf = standard;
    for (char *line = strtok(seen.all, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *value = strchr(line, '=');
        assert_true(conf_set(line, (size_t)(value - line), value + 1, strlen(value + 1)));
    }
    assert_memory_equal(&conf, &before, sizeof conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_standard, setup),
        cmocka_unit_test_setup(test_words, setup),
        cmocka_unit_test_setup(test_numbers, setup),
        cmocka_unit_test_setup(test_setting, setup),
        cmocka_unit_test_setup(test_wrong_setting, setup),
        cmocka_unit_test_setup(test_file, setup),
        cmocka_unit_test_setup(test_named_file, setup),
        cmocka_unit_test_setup(test_any_text, setup),
        cmocka_unit_test_setup(test_visit, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
