/* inspect/leaks: lost and reachable blocks by count; the lines for the command. (Whole programs:
 * tests/cli/leaks_test.py.) */
#include "inspect/leaks.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <stdio.h>
#include <string.h>

enum { KEPT = 200, LOST = 150 };
static void *volatile kept[KEPT];

static NOINLINE void lose(void)
{
    for (int i = 0; i < LOST; i++) {
        volatile uintptr_t p = (uintptr_t)malloc_fast(i % 10 == 0 ? 40000 : 500);
        memset((void *)p, 0, 500);
        p = 0;
    }
}

static NOINLINE void wipe(void)
{
    volatile char room[8192];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
}

static void find(void *arg)
{
    (void)arg;
    struct leaks found;
    fake_os_install();
    REQUIRE(leaks_find(&found) && found.lost.blocks == 0 && found.reachable.blocks == 0);
    for (int i = 0; i < KEPT; i++) {
        kept[i] = malloc_fast((size_t)i * 100);
        memset(kept[i], 0, (size_t)i * 100);
    }
    lose();
    wipe();
    REQUIRE(leaks_find(&found));
    REQUIRE(found.lost.blocks >= LOST - 1 && found.lost.blocks <= LOST);
    REQUIRE(found.lost.blocks + found.reachable.blocks == heap_live_blocks());
    REQUIRE(found.lost_by_class[CLASS_COUNT].blocks == LOST / 10);
    REQUIRE(found.lost_by_class[class_of(500)].blocks == found.lost.blocks - LOST / 10);
    /* a pointer into the middle of a lost block would save it: one from a reachable block, too */
    void *first = malloc_fast(64);
    *(void **)kept[100] = (char *)first + 63;
    first = NULL;
    wipe();
    struct leaks again;
    REQUIRE(leaks_find(&again) && again.reachable.blocks == found.reachable.blocks + 1);
}

static void test_find(void **state)
{
    (void)state;
    require_in_child(find, NULL);
}

static void no_memory(void *arg)
{
    (void)arg;
    struct leaks found;
    fake_os_install();
    malloc_fast(10);
    fake.refuse_maps = 1U << OS_MAP_ANYWHERE;
    REQUIRE(!leaks_find(&found));
}

static void test_no_memory(void **state)
{
    (void)state;
    require_in_child(no_memory, NULL);
}

static void test_lines(void **state)
{
    (void)state;
    char text[500];
    unsigned pid;
    size_t n[4];
    struct leaks found = {.lost = {3, 50016}, .reachable = {4, 64}};
    found.lost_by_class[0] = (struct leak_count){2, 32};
    found.lost_by_class[CLASS_COUNT] = (struct leak_count){1, 49984};
    FILE *file = tmpfile();
    leaks_tell(&found, fileno(file));
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    assert_int_equal(sscanf(text, "process %u %zu %zu %zu %zu\n", &pid, &n[0], &n[1], &n[2], &n[3]),
                     5);
    assert_true(n[0] == 3 && n[1] == 50016 && n[2] == 4 && n[3] == 64);
    assert_non_null(strstr(text, "\nlost 16 2 32\nlost 0 1 49984\n"));
    fclose(file);
    file = tmpfile();
    leaks_print(&found, fileno(file));
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    assert_string_equal(
        text, "  lost: 3 blocks, 50016 bytes\n  still reachable: 4 blocks, 64 bytes\n"
              "           2 lost of 16 bytes\n           1 lost of more than 16384 bytes\n");
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
