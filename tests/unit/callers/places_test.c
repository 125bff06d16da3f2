/* callers/places: addresses of this program, of a library and of nothing. */
#include "callers/places.h"

#include "report/report.h"
#include "support/heap.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_program(void **state)
{
    (void)state;
    char path[512] = "";
    assert_true(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    struct place place = place_of((uintptr_t)&place_of + 1);
    Dl_info info;
    assert_true(dladdr((const void *)&place_of, &info) != 0);
    assert_string_equal(place.module, path);
    assert_int_equal(place.offset, (uintptr_t)&place_of - (uintptr_t)info.dli_fbase);
}

static void test_library(void **state)
{
    (void)state;
    Dl_info info;
    assert_true(dladdr((const void *)&strtol, &info) != 0);
    struct place place = place_of((uintptr_t)&strtol + 1);
    assert_non_null(strstr(place.module, "libc.so"));
    assert_int_equal(place.offset, (uintptr_t)&strtol - (uintptr_t)info.dli_fbase);
}

static void test_nowhere(void **state)
{
    (void)state;
    struct text t;
    text_clear(&t);
    assert_null(place_of(0x1001).module);
    place_add(&t, 0x1001);
    assert_memory_equal(t.chars, "0x1000", t.used);
}

/* More lines than a text holds are written as they come, and none is cut. */
static void test_lines(void **state)
{
    (void)state;
    enum { N = 64 };
    uintptr_t callers[N];
    struct text t;
    fake_os_install();
    heap_go_on_after_misuse();
    for (int i = 0; i < N; i++)
        callers[i] = (uintptr_t)&place_of + 1;
    report_begin(&t, MISUSE_DOUBLE_FREE, 1, "free");
    places_add(&t, callers, N);
    report_end(&t);
    assert_true(fake.message_writes > 1);
    const char *at = fake.message;
    for (int i = 0; i < 6; i++) {
        char start[16];
        snprintf(start, sizeof start, "\n    #%d /", i);
        at = strstr(at, start);
        assert_non_null(at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_nowhere),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
