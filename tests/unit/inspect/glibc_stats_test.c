/* inspect/glibc_stats: mallinfo2 adds up and follows what is allocated; malloc_info is XML with
 * those numbers. */
#include "inspect/glibc_stats.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void follow(void *arg)
{
    (void)arg;
    fake_os_install();
    struct mallinfo2 none = stats_mallinfo2();
    REQUIRE(none.arena == 0 && none.uordblks == 0 && none.fordblks == 0);
    void *small[100];
    for (int i = 0; i < 100; i++)
        small[i] = malloc_fast(1000);
    struct mallinfo2 before = stats_mallinfo2();
    REQUIRE(before.uordblks == 100 * core_good_size(1000) && before.hblks == 0 &&
            before.hblkhd == 0);
    void *large = malloc_fast(1000000);
    struct mallinfo2 with = stats_mallinfo2();
    REQUIRE(with.hblks == 1 && with.hblkhd == core_good_size(1000000));
    REQUIRE(with.uordblks == before.uordblks + with.hblkhd);
    REQUIRE(with.uordblks + with.fordblks == with.arena);
    free_fast(large);
    for (int i = 0; i < 100; i++)
        free_fast(small[i]);
    struct mallinfo2 after = stats_mallinfo2();
    REQUIRE(after.uordblks == 0 && after.hblks == 0 && after.fordblks == after.arena);
    REQUIRE(after.keepcost >= core_good_size(1000000)); /* the large block's run is dirty */
    core_trim();
    REQUIRE(stats_mallinfo2().keepcost == 0);
}

static void test_mallinfo2(void **state)
{
    (void)state;
    require_in_child(follow, NULL);
}

/* Well-formed: every element closed in order, attributes quoted. Returns the count of elements. */
static int require_well_formed(const char *xml)
{
    const char *open[32];
    size_t lengths[32];
    int depth = 0;
    int elements = 0;
    for (const char *at = xml; (at = strchr(at, '<')) != NULL; at++) {
        const char *end = strchr(at, '>');
        REQUIRE(end != NULL);
        size_t name = strcspn(at + 1, " />");
        if (at[1] == '/') {
            name = strcspn(at + 2, ">");
            REQUIRE(depth > 0 && lengths[--depth] == name &&
                    memcmp(open[depth], at + 2, name) == 0);
            continue;
        }
        elements++;
        size_t quotes = 0;
        for (const char *c = at; c < end; c++)
            quotes += *c == '"';
        REQUIRE(quotes % 2 == 0 && name > 0);
        if (end[-1] != '/') {
            REQUIRE(depth < 32);
            open[depth] = at + 1;
            lengths[depth++] = name;
        }
    }
    REQUIRE(depth == 0);
    return elements;
}

static void write_info(void *arg)
{
    (void)arg;
    fake_os_install();
    for (size_t n = 1; n < 300000; n += n / 3 + 1)
        malloc_fast(n);
    char *xml = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&xml, &bytes);
    errno = 0;
    REQUIRE(stats_malloc_info(1, stream) == -1 && errno == EINVAL);
    fflush(stream);
    REQUIRE(bytes == 0);
    REQUIRE(stats_malloc_info(0, stream) == 0);
    fclose(stream);
    REQUIRE(strncmp(xml, "<malloc version=\"1\">", 20) == 0 && require_well_formed(xml) > 20);
    struct mallinfo2 m = stats_mallinfo2();
    char element[100];
    snprintf(element, sizeof element, "<system type=\"current\" size=\"%zu\"/>", m.arena);
    REQUIRE(strstr(xml, element) != NULL);
    snprintf(element, sizeof element, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>", m.hblks,
             m.hblkhd);
    REQUIRE(strstr(xml, element) != NULL);
    snprintf(element, sizeof element, "<total type=\"rest\" count=\"1\" size=\"%zu\"/>",
             m.fordblks);
    REQUIRE(strstr(xml, element) != NULL);
    /* free slots a class, added up */
    size_t total = 0;
    for (const char *at = xml; (at = strstr(at, "<size from=")) != NULL; at++)
        total += strtoull(strstr(at, "total=\"") + 7, NULL, 10);
    REQUIRE(total > 0 && total <= m.fordblks);
    free(xml);
}

static void test_malloc_info(void **state)
{
    (void)state;
    require_in_child(write_info, NULL);
}

/* To descriptor 2, by system calls of its own: captured in a file. */
static void print(void *arg)
{
    (void)arg;
    static char text[10000];
    FILE *file = tmpfile();
    int saved = dup(2);
    fake_os_install();
    malloc_fast(10);
    dup2(fileno(file), 2);
    stats_print();
    dup2(saved, 2);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    REQUIRE(strncmp(text, "ration: the heap, in bytes ", 27) == 0);
    REQUIRE(strstr(text, "\n     16       1       4096         1 ") != NULL);
}

static void test_print(void **state)
{
    (void)state;
    require_in_child(print, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mallinfo2),
        cmocka_unit_test(test_malloc_info),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
