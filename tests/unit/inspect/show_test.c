/* inspect/show: the list of live blocks is in the form that the exercise asks for, ascending, with
 * the right zones and the right total. */
#include <ration/stats.h>

#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 20];

static void capture(void (*show)(void))
{
    FILE *file = tmpfile();
    int saved = dup(1);
    REQUIRE(file != NULL && dup2(fileno(file), 1) == 1);
    show();
    dup2(saved, 1);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    close(saved);
}

struct reading {
    char zone[16];
    unsigned long last, zone_start;
    size_t sum, blocks, zones;
};

static void read_block(struct reading *r, const char *line)
{
    unsigned long start;
    unsigned long end;
    size_t n;
    char again[200];
    REQUIRE(sscanf(line, "0x%lX - 0x%lX : %zu bytes", &start, &end, &n) == 3);
    snprintf(again, sizeof again, "0x%lX - 0x%lX : %zu bytes", start, end, n);
    REQUIRE(strcmp(again, line) == 0 && end == start + n);
    REQUIRE(start >= r->zone_start && start >= r->last && n == core_usable((void *)start, "x"));
    REQUIRE(strcmp(r->zone, n <= 128 ? "TINY" : n <= 1024 ? "SMALL" : "LARGE") == 0);
    r->last = end;
    r->sum += n;
    r->blocks++;
}

static void read_line(struct reading *r, const char *line)
{
    unsigned long start;
    char again[200];
    if (line[0] == '0') {
        read_block(r, line);
        return;
    }
    REQUIRE(sscanf(line, "%15s : 0x%lX", r->zone, &start) == 2);
    snprintf(again, sizeof again, "%s : 0x%lX", r->zone, start);
    REQUIRE(strcmp(again, line) == 0 && start >= r->last);
    r->zone_start = start;
    r->zones++;
}

static void show_known(void *arg)
{
    (void)arg;
    fake_os_install();
    capture(show_alloc_mem);
    REQUIRE(strcmp(text, "Total : 0 bytes\n") == 0);
    static void *blocks[2000];
    struct chance chance = {chance_seed()};
    size_t sum = 0;
    for (int i = 0; i < 2000; i++)
        blocks[i] = malloc_fast(chance_below(&chance, i % 50 == 0 ? 300000 : 2000));
    for (int i = 0; i < 2000; i += 2)
        free_fast(blocks[i]);
    for (int i = 1; i < 2000; i += 2)
        sum += core_usable(blocks[i], "x");
    capture(show_alloc_mem);
    char total[64];
    snprintf(total, sizeof total, "Total : %zu bytes\n", sum);
    char *at = strstr(text, "Total");
    REQUIRE(at != NULL && strcmp(at, total) == 0);
    *at = '\0';
    struct reading r = {.zone = ""};
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            read_line(&r, line);
    REQUIRE(r.sum == sum && r.blocks == 1000 && r.zones > 10);
}

static void test_format(void **state)
{
    (void)state;
    require_in_child(show_known, NULL);
}

static void show_extended(void *arg)
{
    (void)arg;
    fake_os_install();
    char *p = malloc_fast(100);
    char *q = malloc_fast(100);
    malloc_fast(100);
    memcpy(p, "Bonjours\n\x7f", 11);
    free_fast(q);
    capture(show_alloc_mem_ex);
    REQUIRE(strstr(text, "  2 of 585 slots of 112 bytes in use, 0 %\n") != NULL);
    REQUIRE(strstr(text, "  42 6f 6e 6a 6f 75 72 73 0a 7f 00 00 00 00 00 00  Bonjours........\n") !=
            NULL);
    REQUIRE(strstr(text, " : 1 slots\n") != NULL && strstr(text, " : 582 slots\n") != NULL);
    REQUIRE(strstr(text, "Total : 224 bytes\n2 blocks, 583 free slots beside them\n") != NULL);
}

static void test_extended(void **state)
{
    (void)state;
    require_in_child(show_extended, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_extended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
