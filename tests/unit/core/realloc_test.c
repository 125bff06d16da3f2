/* core/realloc: contents follow over every pair of sizes; zero, null, misuse, and no memory. */
#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <errno.h>
#include <string.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
}

static const size_t sizes[] = {
    1,     8,     15,    16,    17,    31,    33,     100,    128,    129,    256,     257,
    1000,  1024,  1025,  2048,  2049,  4095,  4096,   8192,   12000,  16383,  16384,   16385,
    20000, 32768, 65535, 65536, 65537, 99999, 131072, 131073, 500000, 700000, 1048576, 3000000};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void resize_every_pair(void *arg)
{
    (void)arg;
    start();
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t k = 0; k < SIZES; k++) {
            char *p = malloc_fast(sizes[i]);
            char *behind = malloc_fast(sizes[i]);
            pattern_write(p, sizes[i], i);
            errno = 55;
            char *q = core_realloc(p, sizes[k], "realloc");
            size_t good = core_good_size(sizes[k]);
            REQUIRE(q != NULL && errno == 55 && core_usable(q, "x") >= good &&
                    core_usable(q, "x") * 4 <= good * 5);
            REQUIRE(pattern_is(q, min_size(sizes[i], sizes[k]), i));
            if (core_good_size(sizes[i]) == core_good_size(sizes[k]))
                REQUIRE(q == p);
            REQUIRE(heap_live_blocks() == 2);
            free_sized_fast(q, sizes[k],
                            "free_sized"); /* it is a block of the new size in every way */
            free_fast(behind);
        }
    }
    REQUIRE(fake.message_writes == 0 && heap_live_blocks() == 0);
    REQUIRE_SOUND();
}

static void test_every_pair(void **state)
{
    (void)state;
    require_in_child(resize_every_pair, NULL);
}

static void corner_cases(void *arg)
{
    (void)arg;
    start();
    void *p = core_realloc(NULL, 10, "realloc");
    REQUIRE(p != NULL && heap_live_blocks() == 1);
    errno = 55;
    REQUIRE(core_realloc(p, 0, "realloc") == NULL && errno == 55 && heap_live_blocks() == 0);
    p = core_realloc(NULL, 0, "realloc");
    REQUIRE(p != NULL && heap_live_blocks() == 1); /* as malloc(0) */
    REQUIRE(core_realloc(p, 0, "realloc") == NULL && heap_live_blocks() == 0);
    REQUIRE(fake.message_writes == 0);
    REQUIRE(core_realloc(p, 10, "realloc") == NULL); /* freed before */
    REQUIRE(strncmp(fake.message, "ration: use after free at 0x", 28) == 0);
    fake_os_clear();
    REQUIRE(core_realloc((char *)malloc_fast(64) + 16, 10, "realloc") == NULL);
    REQUIRE(strncmp(fake.message, "ration: interior free at 0x", 27) == 0);
    fake_os_clear();
    REQUIRE(core_realloc(&p, 10, "realloc") == NULL && core_realloc(&p, 0, "realloc") == NULL);
    REQUIRE(strncmp(fake.message, "ration: invalid free at 0x", 26) == 0);
    REQUIRE(heap_live_blocks() == 1);
    REQUIRE_SOUND();
}

static void test_corner_cases(void **state)
{
    (void)state;
    require_in_child(corner_cases, NULL);
}

/* The block stays as it was when there is no memory for another. */
static void without_memory(void *arg)
{
    (void)arg;
    start();
    for (size_t i = 0; i < SIZES; i++) {
        char *p = malloc_fast(sizes[i]);
        pattern_write(p, sizes[i], i);
        fake.refuse |= ENTRY_BIT(ENTRY_PAGES_MAP);
        errno = 0;
        REQUIRE(core_realloc(p, (size_t)1 << 33, "realloc") == NULL && errno == ENOMEM);
        REQUIRE(core_realloc(p, SIZE_MAX - 5, "realloc") == NULL && errno == ENOMEM);
        fake.refuse = 0;
        REQUIRE(pattern_is(p, sizes[i], i) && core_usable(p, "x") == core_good_size(sizes[i]));
        REQUIRE_SOUND();
    }
    REQUIRE(heap_live_blocks() == SIZES);
}

static void test_without_memory(void **state)
{
    (void)state;
    require_in_child(without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_corner_cases),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
