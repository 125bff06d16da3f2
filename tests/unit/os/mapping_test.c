/* os/mapping: what the system tells about a mapping, its neighbour, names of any length, and no mapping at all. */
#include "os/linux.h"

#include "support/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page;
static struct os_mapping found;
static struct os_mapping before;

static void test_found(void **state)
{
    (void)state;
    char *p = mmap(NULL, 5 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mprotect(p + page, 2 * page, PROT_READ), 0);
    assert_int_equal(mprotect(p + 3 * page, page, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    assert_true(linux_mapping_find((uintptr_t)p + page, &found, &before));
    assert_ptr_equal((void *)found.start, p + page);
    assert_ptr_equal((void *)found.end, p + 3 * page);
    assert_string_equal(found.access, "r--p");
    assert_string_equal(found.name, "");
    assert_ptr_equal((void *)before.end, p + page);
    assert_string_equal(before.access, "---p");
    assert_true(linux_mapping_find((uintptr_t)p + 4 * page - 1, &found, &before));
    assert_string_equal(found.access, "rwxp");
    assert_string_equal(before.access, "r--p");
    munmap(p, 5 * page);
    assert_false(linux_mapping_find((uintptr_t)p + page, &found, &before));
}

static void test_ends(void **state)
{
    (void)state;
    assert_false(linux_mapping_find(0, &found, &before));
    assert_int_equal(before.end, 0);
    assert_false(linux_mapping_find(UINTPTR_MAX, &found, &before));
    assert_true(before.end != 0);
}

static void test_names(void **state)
{
    (void)state;
    int local;
    assert_true(linux_mapping_find((uintptr_t)&local, &found, &before));
    assert_string_equal(found.name, "[stack]");
    assert_true(linux_mapping_find((uintptr_t)test_names, &found, &before));
    assert_int_equal(found.name[0], '/');
}

/* A name of 200 characters: its last 127 are kept. One with a blank is whole. */
static void test_long_name(void **state)
{
    (void)state;
    char path[300] = "/tmp/a name ";
    memset(path + 12, 'x', 180);
    snprintf(path + 192, sizeof path - 192, "-%d", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0 && ftruncate(fd, page) == 0);
    char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unlink(path);
    assert_true(linux_mapping_find((uintptr_t)p, &found, &before));
    assert_string_equal(found.access, "rw-s");
    char whole[400];
    snprintf(whole, sizeof whole, "%s (deleted)", path);
    assert_string_equal(found.name, whole + strlen(whole) - (MAPPING_NAME_CHARS - 1));
    munmap(p, page);
    close(fd);
}

/* More text than is read at once. */
static void test_many(void **state)
{
    (void)state;
    enum { N = 500 };
    static char *pages[N];
    for (int i = 0; i < N; i++)
        pages[i] = mmap(NULL, page, i % 2 == 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
    for (int i = 0; i < N; i++) {
        assert_true(linux_mapping_find((uintptr_t)pages[i] + 100, &found, &before));
        assert_true(found.start <= (uintptr_t)pages[i] && found.end > (uintptr_t)pages[i]);
        assert_string_equal(found.access, i % 2 == 0 ? "r--p" : "---p");
    }
    for (int i = 0; i < N; i++)
        munmap(pages[i], page);
}

int main(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),     cmocka_unit_test(test_ends), cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_name), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
