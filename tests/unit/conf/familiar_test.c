/* conf/familiar: every switch with the values that count, those that do not, and who wins. */
#include "conf/familiar.h"

#include "conf/conf.h"
#include "support/fake_os.h"
#include "support/unit.h"

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

static void read_one(const char *variable)
{
    char *environment[] = {(char *)(uintptr_t) "PATH=/bin", (char *)(uintptr_t)variable, NULL};
    conf = standard;
    familiar_read(environment);
}

static void test_perturb(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        int fill_new, fill_freed;
    } rows[] = {
        {"MALLOC_PERTURB_=85", 0xaa, 0x55},
        {"MALLOC_PERTURB_=0x55", 0xaa, 0x55},
        {"MALLOC_PERTURB_=0125", 0xaa, 0x55},
        {"MALLOC_PERTURB_=256", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB_=257", 254, 1},
        {"MALLOC_PERTURB_=-1", 0, 255},
        {"MALLOC_PERTURB_=0", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB_=", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB_=12x", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB_=0x", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB_=99999999999999999999999", FILL_NOT, FILL_NOT},
        {"MALLOC_PERTURB=9", FILL_NOT, FILL_NOT},
        {"XMALLOC_PERTURB_=9", FILL_NOT, FILL_NOT},
        {"GLIBC_TUNABLES=glibc.malloc.perturb=85", 0xaa, 0x55},
        {"GLIBC_TUNABLES=a.b.c=1:glibc.malloc.perturb=85:x=2", 0xaa, 0x55},
        {"GLIBC_TUNABLES=xglibc.malloc.perturb=85", FILL_NOT, FILL_NOT},
        {"GLIBC_TUNABLES=glibc.malloc.perturb", FILL_NOT, FILL_NOT},
        {"GLIBC_TUNABLES=:::", FILL_NOT, FILL_NOT},
        {"MallocScribble=1", FILL_NOT, 0x55},
        {"MallocScribble=", FILL_NOT, 0x55},
        {"MallocScribble=YES", FILL_NOT, 0x55},
        {"MallocScribble=0", FILL_NOT, FILL_NOT},
        {"MALLOC_SCRIBBLE=1", FILL_NOT, 0x55},
        {"MallocPreScribble=1", 0xaa, FILL_NOT},
        {"MALLOC_PRE_SCRIBBLE=1", 0xaa, FILL_NOT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_one(rows[i].variable);
        bool known_large =
            strstr(rows[i].variable, "9999") != NULL; /* kept as some number: any byte will do */
        if (!known_large &&
            (conf.fill_new != rows[i].fill_new || conf.fill_freed != rows[i].fill_freed))
            fail_msg("%s: new %d freed %d", rows[i].variable, conf.fill_new, conf.fill_freed);
    }
    assert_int_equal(fake.message_writes, 0);
}

static void test_others(void **state)
{
    (void)state;
    static const int actions[] = {ON_ERROR_IGNORE, ON_ERROR_REPORT, ON_ERROR_ABORT, ON_ERROR_ABORT};
    for (int n = 0; n < 4; n++) {
        char variable[] = "MALLOC_CHECK_=0";
        variable[sizeof variable - 2] = (char)('0' + n);
        read_one(variable);
        assert_int_equal(conf.on_error, actions[n]);
    }
    read_one("MallocErrorAbort=0");
    assert_int_equal(conf.on_error, ON_ERROR_REPORT);
    read_one("MALLOC_ABORT_ON_ERROR=1");
    assert_int_equal(conf.on_error, ON_ERROR_ABORT);
    read_one("MallocStackLogging=1");
    assert_int_equal(conf.stacks, 16);
    read_one("MallocStackLoggingNoCompact=0");
    assert_int_equal(conf.stacks, 0);
    read_one("MALLOC_VERBOSE=1");
    int all = conf.log;
    static const char words[] = "malloc+calloc+realloc+aligned+free";
    assert_true(conf_set("log", 3, words, sizeof words - 1) && conf.log == all);
    read_one("MallocGuardEdges=1");
    assert_int_equal(conf.harden, HARDEN_FULL);
    read_one("MALLOC_GUARD=0");
    assert_int_equal(conf.harden, HARDEN_OFF);
    read_one("MALLOC_TRIM_THRESHOLD_=-1");
    assert_int_equal(conf.purge_delay, -1);
    read_one("GLIBC_TUNABLES=glibc.malloc.trim_threshold=-1");
    assert_int_equal(conf.purge_delay, -1);
    read_one("MALLOC_TRIM_THRESHOLD_=131072");
    assert_memory_equal(&conf, &standard, sizeof conf);
}

static void test_help(void **state)
{
    (void)state;
    read_one("MallocHelp=1");
    assert_int_equal(fake.message_writes, 1);
    assert_non_null(strstr(fake.message, " MALLOC_PERTURB_ "));
    assert_non_null(strstr(fake.message, " purge_delay"));
    assert_memory_equal(&conf, &standard, sizeof conf);
}

static void test_without_effect(void **state)
{
    (void)state;
    static const char *const variables[] = {
        "MALLOC_ARENA_MAX=1",
        "MALLOC_TOP_PAD_=9",
        "MALLOC_MMAP_THRESHOLD_=1",
        "MALLOC_MMAP_MAX_=0",
        "MALLOC_CONF=junk:true",
        "MALLOC_TRACE=/tmp/x",
        "GLIBC_TUNABLES=glibc.malloc.arena_max=1",
        "PATH=/bin",
    };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        read_one(variables[i]);
        assert_memory_equal(&conf, &standard, sizeof conf);
    }
    familiar_read(NULL);
    assert_memory_equal(&conf, &standard, sizeof conf);
}

static void test_who_wins(void **state)
{
    (void)state;
    char *environment[] = {(char *)(uintptr_t) "MALLOC_PERTURB_=1",
                           (char *)(uintptr_t) "GLIBC_TUNABLES=glibc.malloc.perturb=2", NULL};
    familiar_read(environment);
    assert_int_equal(conf.fill_freed, 1);
    fake.file_path = "/etc/ration.conf";
    fake.file_text = "fill_freed = 3\nfill_new = 4\n";
    conf_read("fill_new=5", "program");
    assert_int_equal(conf.fill_freed, 3);
    assert_int_equal(conf.fill_new, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_perturb, setup),
        cmocka_unit_test_setup(test_others, setup),
        cmocka_unit_test_setup(test_help, setup),
        cmocka_unit_test_setup(test_without_effect, setup),
        cmocka_unit_test_setup(test_who_wins, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
