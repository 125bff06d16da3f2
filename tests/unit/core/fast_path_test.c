/* core/fast_path: malloc, free and sized free of every small size, from the same and from other
 * threads; every address of a slab that is not a live block's start is turned away, and errno
 * stays. */
#include "core/fast_path.h"

#include "span/span.h"
#include "support/heap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static void start(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
}

static void every_size(void *arg)
{
    (void)arg;
    start();
    static unsigned char *blocks[SMALL_MAX + 2];
    errno = 4242;
    for (size_t n = 0; n <= SMALL_MAX + 1; n++) {
        blocks[n] = malloc_fast(n);
        REQUIRE(blocks[n] != NULL && (uintptr_t)blocks[n] % GRAIN == 0);
        REQUIRE(core_usable(blocks[n], "malloc_usable_size") >= n);
        pattern_write(blocks[n], n, n);
    }
    REQUIRE_SOUND();
    REQUIRE(heap_live_blocks() == SMALL_MAX + 2);
    for (size_t n = 0; n <= SMALL_MAX + 1; n++) {
        REQUIRE(pattern_is(blocks[n], n, n));
        if (n % 3 == 0)
            free_sized_fast(blocks[n], n, "free_sized");
        else
            free_fast(blocks[n]);
    }
    free_fast(NULL);
    REQUIRE(errno == 4242 && heap_live_blocks() == 0 && fake.message_writes == 0);
    REQUIRE_SOUND();
}

static void test_every_size(void **state)
{
    (void)state;
    require_in_child(every_size, NULL);
}

/* Every byte of a slab with every other block live: only starts of live blocks are accepted, the
 * others change nothing. */
static void turn_away(void *arg)
{
    unsigned c = *(const unsigned *)arg;
    start();
    uint32_t size = size_classes[c].size;
    char *first = malloc_fast(size);
    struct slab *s = slab_of((uintptr_t)first);
    for (unsigned i = 1; i < s->slots; i++)
        REQUIRE(slab_of((uintptr_t)malloc_fast(size)) == s);
    for (unsigned i = 0; i < s->slots; i += 2)
        free_fast((void *)(s->base + (uintptr_t)i * size));
    size_t live = heap_live_blocks();
    unsigned long refused = 0;
    for (size_t offset = 0; offset < slab_bytes(s); offset++) {
        bool is_live = offset % size == 0 && offset / size < s->slots && offset / size % 2 == 1;
        if (is_live)
            continue;
        free_fast((void *)(s->base + offset));
        REQUIRE(fake.message_writes == ++refused);
        fake.message_chars = 0;
    }
    REQUIRE(heap_live_blocks() == live);
    REQUIRE_SOUND();
}

static void test_turn_away(void **state)
{
    (void)state;
    static const unsigned classes[] = {0, 4, 16, 37, CLASS_COUNT - 1};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        require_in_child(turn_away, (void *)(uintptr_t)&classes[i]);
}

static void wrong_sizes(void *arg)
{
    (void)arg;
    start();
    unsigned long refused = 0;
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        size_t most = size_classes[c].size;
        unsigned first = c; /* of those that may get such a slot */
        while (first > 0 && class_may_hold(c, first - 1))
            first--;
        size_t least = first == 0 ? 0 : size_classes[first - 1].size + 1;
        void *p = malloc_fast(most);
        size_t wrong[] = {most + 1, least - 1, SIZE_MAX, most + ((size_t)1 << 32), SMALL_MAX + 1};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            if (wrong[i] + 1 == 0 && c == 0 && i == 1)
                continue;
            if (wrong[i] >= least && wrong[i] <= most)
                continue;
            fake.message_chars = 0;
            free_sized_fast(p, wrong[i], "free_sized");
            REQUIRE(fake.message_writes == ++refused);
            REQUIRE(strncmp(fake.message, "ration: size mismatch at 0x", 27) == 0);
        }
        REQUIRE(heap_live_blocks() == 1);
        free_sized_fast(p, least, "free_sized");
        REQUIRE(heap_live_blocks() == 0);
    }
    REQUIRE(fake.message_writes == refused);
}

static void test_wrong_sizes(void **state)
{
    (void)state;
    require_in_child(wrong_sizes, NULL);
}

enum { BATCH = 3000 };
static void *batch[BATCH];

static void *free_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < BATCH; i++)
        free_fast(batch[i]);
    return NULL;
}

static void free_elsewhere(void *arg)
{
    (void)arg;
    start();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < BATCH; i++) {
            batch[i] = malloc_fast((size_t)i);
            memset(batch[i], round, (size_t)i);
        }
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, free_all, NULL) == 0);
        pthread_join(thread, NULL);
        REQUIRE(heap_live_blocks() == 0);
        REQUIRE_SOUND();
    }
    struct span_counts counts;
    span_count(&counts);
    REQUIRE(counts.frontier_bytes <
            MIB(24)); /* 4.5 MB at a time: memory freed elsewhere serves again */
}

static void test_free_elsewhere(void **state)
{
    (void)state;
    require_in_child(free_elsewhere, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_turn_away),
        cmocka_unit_test(test_wrong_sizes),
        cmocka_unit_test(test_free_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
