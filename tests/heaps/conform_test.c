/* The conformance suite: what heap.h promises, for every kind and policy. */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 20000 };

static size_t size_for(const struct variant *v, size_t wanted)
{
    return (v->traits & FIXED_SIZE) ? v->most_bytes : wanted;
}

static bool is_aligned(const void *block, size_t alignment)
{
    return ((uintptr_t)block & (alignment - 1)) == 0;
}

static struct ration_heap_stats stats_of(const struct ration_heap *heap)
{
    struct ration_heap_stats s;
    ration_heap_stats(heap, &s);
    return s;
}

static bool adds_up(const struct ration_heap_stats *s)
{
    return s->live_usable_bytes + s->free_bytes + s->table_bytes == s->heap_bytes;
}

/* --- allocation --- */

static void gives_blocks_of_any_size(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 24, 100, 255, 256, 257, 1000, 4000};
    unsigned char *blocks[15];
    size_t usable[15];
    size_t n = 0;
    for (size_t i = 0; i < 15; i++) {
        size_t size = sizes[i] < v->most_bytes ? sizes[i] : v->most_bytes;
        unsigned char *block = ration_heap_alloc(heap, size);
        CHECK(v, block != NULL);
        CHECK(v, is_aligned(block, heap->default_alignment));
        CHECK(v, ration_heap_usable_size(heap, block) >= size);
        CHECK(v, size == 0 || ration_heap_owns(heap, block));
        CHECK(v, size == 0 || ration_heap_owns(heap, block + size - 1));
        usable[n] = ration_heap_usable_size(heap, block);
        memset(block, (int)i + 1, usable[n]);
        blocks[n++] = block;
    }
    require_sound(heap, "with blocks");
    struct ration_heap_stats s = stats_of(heap);
    CHECK(v, s.live_blocks == n && s.n_allocs == n && s.n_frees == 0 && adds_up(&s));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < usable[i]; k++)
            CHECK(v, blocks[i][k] == i + 1);
    for (size_t i = 0; i < n; i++)
        ration_heap_free(heap, blocks[i]);
    ration_heap_free(heap, NULL);
    require_sound(heap, "after freeing all");
    s = stats_of(heap);
    CHECK(v, s.live_blocks == 0 && s.live_usable_bytes == 0 && s.n_frees == n && adds_up(&s));
    CHECK(v, s.live_usable_peak > 0 && s.heap_bytes_peak >= s.heap_bytes);
    char outside;
    CHECK(v, !ration_heap_owns(heap, &outside) && !ration_heap_owns(heap, NULL));
    subject_end(&subject);
}

static void aligns(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    for (size_t alignment = 1; alignment <= v->most_alignment; alignment *= 2) {
        char *block = ration_heap_alloc_aligned(heap, alignment, size_for(v, alignment / 3 + 1));
        char *other = ration_heap_alloc(heap, size_for(v, 40));
        CHECK(v, block != NULL && other != NULL && is_aligned(block, alignment));
        memset(block, 1, size_for(v, alignment / 3 + 1));
        require_sound(heap, "after an aligned allocation");
        ration_heap_free(heap, block);
        ration_heap_free(heap, other);
    }
    for (size_t alignment = v->most_alignment; alignment <= 1 << 20; alignment *= 2) {
        void *block = ration_heap_alloc_aligned(heap, alignment, size_for(v, 8));
        CHECK(v, is_aligned(block, alignment)); /* or NULL: not every heap can */
    }
    require_sound(heap, "after wide alignments");
    CHECK(v, ration_heap_alloc_aligned(heap, 0, 8) == NULL);
    CHECK(v, ration_heap_alloc_aligned(heap, 3, 8) == NULL);
    CHECK(v, ration_heap_alloc_aligned(heap, 48, 8) == NULL);
    CHECK(v, ration_heap_alloc_aligned(heap, (size_t)1 << 63, 8) == NULL);
    require_sound(heap, "after impossible alignments");
    subject_end(&subject);
}

static void gives_zeroed_memory(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 96);
    for (int round = 0; round < 3; round++) {
        unsigned char *block = ration_heap_alloc_zeroed(heap, size / 8, 8);
        CHECK(v, block != NULL);
        for (size_t i = 0; i < size / 8 * 8; i++)
            CHECK(v, block[i] == 0);
        memset(block, 0xff, size);
        ration_heap_free(heap, block);
    }
    CHECK(v, ration_heap_alloc_zeroed(heap, SIZE_MAX / 2, 3) == NULL);
    CHECK(v, ration_heap_alloc_zeroed(heap, (size_t)1 << 32, (size_t)1 << 32) == NULL);
    require_sound(heap, "after overflowing products");
    subject_end(&subject);
}

static void refuses_absurd_sizes(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    char *block = ration_heap_alloc(heap, size_for(v, 50));
    memset(block, 7, size_for(v, 50));
    static const size_t sizes[] = {
        SIZE_MAX,           SIZE_MAX - 7,    (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX,
        PTRDIFF_MAX - 4096, (size_t)1 << 60, ((size_t)1 << 40) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK(v, ration_heap_alloc(heap, sizes[i]) == NULL);
        CHECK(v, ration_heap_resize(heap, block, sizes[i]) == NULL);
        CHECK(v, ration_heap_try_resize(heap, block, sizes[i]) == NULL);
        CHECK(v, ration_heap_alloc_aligned(heap, 4096, sizes[i]) == NULL);
    }
    if (v->traits & FIXED_SIZE)
        CHECK(v, ration_heap_alloc(heap, v->most_bytes + 1) == NULL);
    require_sound(heap, "after absurd sizes");
    CHECK(v, block[0] == 7 && stats_of(heap).live_blocks == 1);
    ration_heap_free(heap, block);
    subject_end(&subject);
}

/* --- resize --- */

static void resizes(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    static const size_t sizes[] = {1, 30, 31, 200, 190, 1000, 3000, 2999, 10, 0, 64, 500};
    unsigned char *block = ration_heap_resize(heap, NULL, size_for(v, 20));
    void *fence = ration_heap_alloc(heap, size_for(v, 16));
    CHECK(v, block != NULL && fence != NULL);
    size_t filled = 0;
    for (size_t i = 0; i < 12; i++) {
        size_t size = sizes[i] < v->most_bytes ? sizes[i] : v->most_bytes;
        unsigned char *resized = ration_heap_resize(heap, block, size);
        CHECK(v, resized != NULL && ration_heap_usable_size(heap, resized) >= size);
        CHECK(v, !(v->traits & MOVES_NEVER) || (v->traits & THROUGH) || resized == block);
        for (size_t k = 0; k < size && k < filled; k++)
            CHECK(v, resized[k] == (unsigned char)(k * 7));
        for (size_t k = 0; k < size; k++)
            resized[k] = (unsigned char)(k * 7);
        filled = size;
        block = resized;
        require_sound(heap, "after a resize");
        CHECK(v, stats_of(heap).live_blocks == 2);
    }
    ration_heap_free(heap, block);
    ration_heap_free(heap, fence);
    require_sound(heap, "after freeing a resized block");
    subject_end(&subject);
}

static void tries_to_resize_in_place(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 600);
    unsigned char *block = ration_heap_alloc(heap, size);
    void *fence = ration_heap_alloc(heap, size_for(v, 16));
    memset(block, 9, size);
    if (!(v->traits & THROUGH)) /* there every change of size has to be seen */
        CHECK(v, ration_heap_try_resize(heap, block, size / 2) == block);
    CHECK(v, ration_heap_try_resize(heap, block, (size_t)1 << 30) == NULL);
    require_sound(heap, "after trying in vain");
    for (size_t i = 0; i < size / 2; i++)
        CHECK(v, block[i] == 9);
    CHECK(v, ration_heap_try_resize(heap, NULL, 8) == NULL);
    ration_heap_free(heap, block);
    ration_heap_free(heap, fence);
    subject_end(&subject);
}

/* --- exhaustion --- */

static size_t fill(struct ration_heap *heap, void **blocks, size_t size, size_t most)
{
    size_t n = 0;
    while (n < most && (blocks[n] = ration_heap_alloc(heap, size)) != NULL) {
        memset(blocks[n], (int)n, size);
        n++;
    }
    return n;
}

static void free_every_other_first(struct ration_heap *heap, void **blocks, size_t n)
{
    for (size_t i = 0; i < n; i += 2)
        ration_heap_free(heap, blocks[i]);
    require_sound(heap, "half empty");
    for (size_t i = 1; i < n; i += 2)
        ration_heap_free(heap, blocks[i]);
}

static void is_valid_when_exhausted(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    void **blocks = calloc(MOST_BLOCKS, sizeof *blocks);
    size_t size = size_for(v, 300);
    size_t n = fill(heap, blocks, size, MOST_BLOCKS);
    bool is_bounded = n < MOST_BLOCKS;
    CHECK(v, n > 10 && (is_bounded || (v->traits & GROWS)));
    struct ration_heap_stats s = stats_of(heap);
    CHECK(v, s.live_blocks == n && (!is_bounded || s.n_failures == 1));
    require_sound(heap, "exhausted");
    if (is_bounded) {
        CHECK(v, ration_heap_alloc(heap, size) == NULL);
        CHECK(v, (v->traits & FIXED_SIZE) || ration_heap_resize(heap, blocks[0], 100000) == NULL);
        CHECK(v, stats_of(heap).live_blocks == n);
    }
    for (size_t i = 0; i < n; i++)
        CHECK(v, *(unsigned char *)blocks[i] == (unsigned char)i);
    free_every_other_first(heap, blocks, n);
    require_sound(heap, "empty again");
    if (is_bounded && (v->traits & REUSES)) {
        size_t again = fill(heap, blocks, size, MOST_BLOCKS);
        CHECK(v, again == n);
        for (size_t i = again; i-- > 0;)
            ration_heap_free(heap, blocks[i]);
        require_sound(heap, "empty for the second time");
    }
    CHECK(v, stats_of(heap).live_blocks == 0);
    free(blocks);
    subject_end(&subject);
}

static void knows_its_largest_request(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    bool may_grow = subject.heap.ops->kind[0] == 'p' || v->options.arena.limit_bytes != 0;
    void *blocks[60];
    for (int i = 0; i < 60; i++)
        blocks[i] = ration_heap_alloc(heap, size_for(v, (size_t)i * 16 + 10));
    for (int i = 0; i < 60; i += 3)
        ration_heap_free(heap, blocks[i]);
    size_t largest = stats_of(heap).largest_request_bytes;
    size_t largest_free = stats_of(heap).largest_free_bytes;
    CHECK(v, largest <= largest_free);
    if ((v->traits & FIXED_SIZE) == 0 && !may_grow)
        CHECK(v, ration_heap_alloc(heap, largest + 1) == NULL);
    void *block = largest != 0 ? ration_heap_alloc(heap, largest) : NULL;
    CHECK(v, largest == 0 || block != NULL);
    require_sound(heap, "after the largest request");
    subject_end(&subject);
}

static void is_limited(void **state)
{
    const struct variant *v = *state;
    if (strstr(v->name, "limit") == NULL && strstr(v->name, "private") == NULL)
        return;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t total = 0;
    for (size_t size = 100; ration_heap_alloc(heap, size) != NULL; size = size * 3 / 2 % 5000 + 1)
        total += size;
    struct ration_heap_stats s = stats_of(heap);
    size_t limit = strstr(v->name, "limit") != NULL ? 100000 : (200000 + 4095) / 4096 * 4096;
    CHECK(v, s.heap_bytes_peak <= limit && total <= limit && total > limit / 2);
    CHECK(v, s.n_failures == 1);
    require_sound(heap, "at its limit");
    subject_end(&subject);
}

/* --- walk, statistics, names --- */

struct tour {
    uintptr_t last_end;
    size_t bytes, live, live_usable, free, free_bytes;
    bool is_ordered, payloads_are_inside;
    size_t stop_after;
};

static int see(const struct ration_block *block, void *context)
{
    struct tour *tour = context;
    uintptr_t start = (uintptr_t)block->address;
    tour->is_ordered = tour->is_ordered && start >= tour->last_end && block->bytes != 0;
    tour->last_end = start + block->bytes;
    tour->bytes += block->bytes;
    if (block->state == RATION_BLOCK_LIVE || block->state == RATION_BLOCK_FREE) {
        uintptr_t payload = (uintptr_t)block->payload;
        tour->payloads_are_inside = tour->payloads_are_inside && payload >= start &&
                                    payload + block->usable_bytes <= start + block->bytes;
    }
    if (block->state == RATION_BLOCK_LIVE) {
        tour->live++;
        tour->live_usable += block->usable_bytes;
    } else if (block->state == RATION_BLOCK_FREE) {
        tour->free++;
        tour->free_bytes += block->bytes;
    }
    return tour->stop_after != 0 && --tour->stop_after == 0 ? 42 : 0;
}

static void walks_over_every_byte(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    void *blocks[30];
    for (int i = 0; i < 30; i++)
        blocks[i] = ration_heap_alloc(heap, size_for(v, (size_t)i * 37 + 1));
    for (int i = 0; i < 30; i += 4)
        ration_heap_free(heap, blocks[i]);
    struct tour tour = {.is_ordered = true, .payloads_are_inside = true};
    CHECK(v, ration_heap_walk(heap, see, &tour) == 0);
    struct ration_heap_stats s = stats_of(heap);
    CHECK(v, tour.is_ordered && tour.payloads_are_inside);
    CHECK(v, tour.bytes == s.heap_bytes + s.foreign_bytes);
    CHECK(v, tour.live == s.live_blocks && tour.live_usable == s.live_usable_bytes);
    CHECK(v, s.live_blocks == 22);
    if (!(v->traits & THROUGH))
        CHECK(v, tour.free == s.free_blocks && tour.free_bytes == s.free_bytes);
    tour.stop_after = 2;
    CHECK(v, ration_heap_walk(heap, see, &tour) == 42);
    CHECK(v, strcmp(ration_heap_name(heap), v->name) == 0);
    CHECK(v, (v->traits & THROUGH) ? strcmp(ration_heap_kind(heap), "passthrough") == 0
                                   : strncmp(ration_heap_kind(heap), v->name, 3) == 0);
    subject_end(&subject);
}

static int find_heap(struct ration_heap *heap, void *wanted)
{
    return heap == wanted ? 7 : 0;
}

static void is_listed_while_published(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct subject second;
    struct ration_heap *heap = subject_start(&subject, v);
    struct ration_heap *other = subject_start(&second, v);
    CHECK(v, ration_heaps_each(find_heap, heap) == 0);
    ration_heap_publish(heap);
    ration_heap_publish(other);
    ration_heap_publish(heap);
    CHECK(v, ration_heaps_each(find_heap, heap) == 7 && ration_heaps_each(find_heap, other) == 7);
    ration_heap_unpublish(heap);
    CHECK(v, ration_heaps_each(find_heap, heap) == 0 && ration_heaps_each(find_heap, other) == 7);
    ration_heap_publish(heap);
    subject_end(&second);
    CHECK(v, ration_heaps_each(find_heap, heap) == 7 && ration_heaps_each(find_heap, other) == 0);
    subject_end(&subject);
    CHECK(v, ration_heaps_each(find_heap, heap) == 0);
}

/* --- misuse --- */

static void reports_a_second_free(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 64);
    void *blocks[6];
    for (int i = 0; i < 6; i++) {
        blocks[i] = ration_heap_alloc(heap, size);
        memset(blocks[i], 0, size);
    }
    ration_heap_free(heap, blocks[1]);
    ration_heap_free(heap, blocks[1]);
    require_misuse(v, RATION_DOUBLE_FREE, "a second free at once");
    ration_heap_free(heap, blocks[3]);
    ration_heap_free(heap, blocks[2]); /* its neighbours are free: one block where heaps merge */
    for (int i = 1; i <= 3; i++) {
        ration_heap_free(heap, blocks[i]);
        require_misuse(v, RATION_DOUBLE_FREE, "a second free later");
        CHECK(v, ration_heap_resize(heap, blocks[i], size) == NULL);
        require_misuse(v, RATION_DOUBLE_FREE, "a resize of a freed block");
        CHECK(v, ration_heap_usable_size(heap, blocks[i]) == 0);
        require_misuse(v, RATION_DOUBLE_FREE, "the size of a freed block");
    }
    require_sound(heap, "after double frees");
    CHECK(v, stats_of(heap).live_blocks == 3 && stats_of(heap).n_frees == 3);
    subject_end(&subject);
}

static void reports_foreign_addresses(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 64);
    static char elsewhere[128] __attribute__((aligned(64)));
    char on_stack[64] __attribute__((aligned(64)));
    void *from_malloc = malloc(64);
    void *block = ration_heap_alloc(heap, size);
    void *strangers[] = {
        elsewhere,     on_stack,   from_malloc,         heap,
        (void *)4096,  (void *)16, (void *)UINTPTR_MAX, (void *)(UINTPTR_MAX & ~(uintptr_t)4095),
        &elsewhere[64]};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        ration_heap_free(heap, strangers[i]);
        require_misuse(v, RATION_INVALID_FREE, "a foreign address");
        CHECK(v, ration_heap_resize(heap, strangers[i], 10) == NULL);
        require_misuse(v, RATION_INVALID_FREE, "resize of a foreign address");
        CHECK(v, ration_heap_try_resize(heap, strangers[i], 10) == NULL);
        require_misuse(v, RATION_INVALID_FREE, "resize in place of a foreign address");
        CHECK(v, ration_heap_usable_size(heap, strangers[i]) == 0);
        require_misuse(v, RATION_INVALID_FREE, "the size of a foreign address");
    }
    free(from_malloc);
    require_sound(heap, "after foreign addresses");
    CHECK(v, stats_of(heap).live_blocks == 1);
    ration_heap_free(heap, block);
    subject_end(&subject);
}

static void reports_interior_addresses(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 200);
    char *block = ration_heap_alloc(heap, size);
    char *fence = ration_heap_alloc(heap, size);
    memset(block, 0x5a, size);
    size_t step = heap->default_alignment;
    if (step >= 16 && !(v->traits & ALIGNS_PAGES))
        step = 16;
    for (size_t offset = step; offset + step <= size; offset += step) {
        ration_heap_free(heap, block + offset);
        require_misuse(v, RATION_INTERIOR_FREE, "an address inside a block");
        CHECK(v, last_misuse.block == block);
    }
    for (size_t offset = 1; offset < 8 && offset < heap->default_alignment; offset++) {
        ration_heap_free(heap, block + offset);
        require_misuse(v, RATION_MISALIGNED_FREE, "a misaligned address");
    }
    require_sound(heap, "after interior addresses");
    CHECK(v, stats_of(heap).live_blocks == 2);
    ration_heap_free(heap, block);
    ration_heap_free(heap, fence);
    subject_end(&subject);
}

static void reports_wrong_sizes(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 100);
    void *block = ration_heap_alloc(heap, size);
    ration_heap_free_sized(heap, block, ration_heap_usable_size(heap, block) + 1);
    require_misuse(v, RATION_SIZE_MISMATCH, "a size that is too large");
    CHECK(v, stats_of(heap).live_blocks == 1);
    ration_heap_free_sized(heap, block, size);
    CHECK(v, stats_of(heap).live_blocks == 0 && n_misuses == 0);
    ration_heap_free_sized(heap, NULL, 0);
    subject_end(&subject);
}

static void reports_use_after_destroy(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    void *block = ration_heap_alloc(heap, size_for(v, 64));
    subject_end(&subject);
    CHECK(v, ration_heap_alloc(heap, 8) == NULL);
    require_misuse(v, RATION_USE_AFTER_FREE, "alloc after destroy");
    ration_heap_free(heap, block);
    require_misuse(v, RATION_USE_AFTER_FREE, "free after destroy");
    CHECK(v, ration_heap_resize(heap, block, 9) == NULL);
    require_misuse(v, RATION_USE_AFTER_FREE, "resize after destroy");
    CHECK(v, ration_heap_usable_size(heap, block) == 0);
    require_misuse(v, RATION_USE_AFTER_FREE, "usable size after destroy");
    CHECK(v, !ration_heap_owns(heap, block) && ration_heap_walk(heap, see, NULL) == 0);
    CHECK(v, ration_heap_check(heap, NULL) == 0 && stats_of(heap).heap_bytes == 0);
    ration_heap_destroy(heap);
    require_misuse(v, RATION_USE_AFTER_FREE, "a second destroy");
}

/* --- damage --- */

static void reports_a_damaged_tag(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    char *blocks[4];
    for (int i = 0; i < 4; i++) {
        blocks[i] = ration_heap_alloc(heap, 64);
        memset(blocks[i], 0, 64);
    }
    for (int bit = 0; bit < 64; bit++) {
        uint64_t *tag = (uint64_t *)(void *)(blocks[1] - 8);
        *tag ^= (uint64_t)1 << bit;
        CHECK(v, ration_heap_check(heap, NULL) != 0);
        ration_heap_free(heap, blocks[1]);
        CHECK(v, n_misuses == 1 && (last_misuse.kind == RATION_CORRUPT_HEAP));
        misuse_forget();
        ration_heap_free(heap, blocks[0]);
        require_misuse(v, RATION_OVERFLOW, "a block in front of a damaged tag");
        *tag ^= (uint64_t)1 << bit;
    }
    require_sound(heap, "when the damage is undone");
    CHECK(v, stats_of(heap).live_blocks == 4);
    for (int i = 0; i < 4; i++)
        ration_heap_free(heap, blocks[i]);
    require_sound(heap, "afterwards");
    subject_end(&subject);
}

static void reports_an_overflow(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    char *block = ration_heap_alloc(heap, 100);
    char *behind = ration_heap_alloc(heap, 100);
    size_t usable = ration_heap_usable_size(heap, block);
    char saved[8];
    memcpy(saved, block + usable, 8);
    memset(block + usable, 0x41, 8);
    ration_heap_free(heap, block);
    require_misuse(v, RATION_OVERFLOW, "a free after writing past the end");
    CHECK(v, last_misuse.block == block && last_misuse.block_bytes == usable);
    CHECK(v, ration_heap_resize(heap, block, 50) == NULL);
    require_misuse(v, RATION_OVERFLOW, "a resize after writing past the end");
    memcpy(block + usable, saved, 8);
    ration_heap_free(heap, block);
    ration_heap_free(heap, behind);
    require_sound(heap, "when the damage is undone");
    subject_end(&subject);
}

/* A free block that the program wrote to is noticed before its links are followed. */
static void reports_a_write_after_free(void **state)
{
    const struct variant *v = *state;
    if (strstr(v->name, "implicit") != NULL) /* no links */
        return;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = v->most_bytes < 400 ? v->most_bytes : 400;
    char *block = ration_heap_alloc(heap, size);
    void *fence = ration_heap_alloc(heap, 64);
    ration_heap_free(heap, block);
    CHECK(v, ration_heap_check(heap, NULL) == 0);
    char saved[16];
    memcpy(saved, block, 16);
    memset(block, 0x41, 16);
    CHECK(v, ration_heap_check(heap, NULL) != 0);
    ration_heap_free(heap, fence); /* merges with it, or lists another in front of it */
    for (int i = 0; i < 8 && n_misuses == 0; i++)
        ration_heap_alloc(heap, size);
    CHECK(v, n_misuses > 0 && last_misuse.kind == RATION_USE_AFTER_FREE);
    misuse_forget();
    memcpy(block, saved, 16);
    subject_end(&subject);
}

/* --- frames --- */

static void forbids_and_counts_in_a_frame(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    size_t size = size_for(v, 60);
    void *before = ration_heap_alloc(heap, size);
    struct ration_frame frame;
    ration_frame_begin(&frame, "render", RATION_FRAME_FORBID, NULL);
    CHECK(v, ration_frame_guard(&frame, heap) == 0);
    void *inside = ration_heap_alloc(heap, size);
    require_misuse(v, RATION_FORBIDDEN_ALLOCATION, "an allocation in a forbidden frame");
    CHECK(v, last_misuse.block_bytes == size && last_misuse.frame == &frame && inside != NULL);
    ration_heap_free(heap, before);
    struct ration_frame inner;
    ration_frame_begin(&inner, "load", RATION_FRAME_COUNT, NULL);
    CHECK(v, ration_frame_guard(&inner, heap) == 0);
    void *counted = ration_heap_alloc(heap, size);
    CHECK(v, counted != NULL && n_misuses == 0 && inner.n_allocs == 1 && inner.bytes == size);
    CHECK(v, inner.last_caller != NULL && inner.largest_bytes == size);
    ration_frame_end(&inner);
    CHECK(v, frame.n_allocs == 1);
    ration_frame_end(&frame);
    void *after = ration_heap_alloc(heap, size);
    CHECK(v, after != NULL && n_misuses == 0 && frame.n_allocs == 1);
    require_sound(heap, "after frames");
    CHECK(v, stats_of(heap).live_blocks == 3);
    subject_end(&subject);
}

static void is_served_from_an_arena_in_a_frame(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    struct ration_arena arena;
    static char memory[65536];
    CHECK(v, ration_arena_init(&arena, &(struct ration_arena_options){
                                           .buffer = memory, .buffer_bytes = sizeof memory}));
    size_t size = size_for(v, 60);
    char *before = ration_heap_alloc(heap, size);
    memset(before, 3, size);
    struct ration_frame frame;
    ration_frame_begin(&frame, "frame", RATION_FRAME_ARENA, &arena);
    CHECK(v, ration_frame_guard(&frame, heap) == 0);
    char *inside = ration_heap_alloc(heap, size);
    CHECK(v, ration_heap_owns(&arena.heap, inside) && !ration_heap_owns(heap, inside));
    CHECK(v, ration_heap_usable_size(heap, inside) >= size && frame.n_allocs == 1);
    memset(inside, 4, size);
    char *larger = ration_heap_resize(heap, inside, size + 100);
    CHECK(v, ration_heap_owns(&arena.heap, larger) && larger[0] == 4);
    ration_heap_free(heap, larger);
    ration_heap_free(heap, before); /* of the heap itself: goes there */
    CHECK(v, n_misuses == 0 && stats_of(heap).live_blocks == 0);
    CHECK(v, ration_heap_alloc(heap, size) != NULL);
    ration_frame_end(&frame);
    CHECK(v, stats_of(&arena.heap).live_blocks == 0 && stats_of(heap).live_blocks == 0);
    require_sound(heap, "after a frame in an arena");
    ration_heap_destroy(&arena.heap);
    subject_end(&subject);
}

static void cannot_be_guarded_if_shared(void **state)
{
    const struct variant *v = *state;
    struct subject subject;
    struct ration_heap *heap = subject_start(&subject, v);
    struct ration_frame frame;
    ration_frame_begin(&frame, "frame", RATION_FRAME_COUNT, NULL);
    CHECK(v, ration_frame_guard(&frame, heap) == -1);
    ration_frame_end(&frame);
    subject_end(&subject);
}

int main(void)
{
    static const struct variant_test tests[] = {
        {"gives blocks of any size", gives_blocks_of_any_size, 0, 0},
        {"aligns", aligns, 0, 0},
        {"gives zeroed memory", gives_zeroed_memory, 0, 0},
        {"refuses absurd sizes", refuses_absurd_sizes, 0, 0},
        {"resizes", resizes, 0, 0},
        {"tries to resize in place", tries_to_resize_in_place, 0, 0},
        {"is valid when exhausted", is_valid_when_exhausted, 0, 0},
        {"knows its largest request", knows_its_largest_request, 0, GROWS | THROUGH},
        {"is limited", is_limited, 0, THROUGH},
        {"walks over every byte", walks_over_every_byte, 0, 0},
        {"is listed while published", is_listed_while_published, 0, 0},
        {"reports a second free", reports_a_second_free, 0, THROUGH},
        {"reports foreign addresses", reports_foreign_addresses, 0, THROUGH},
        {"reports interior addresses", reports_interior_addresses, 0, THROUGH},
        {"reports wrong sizes", reports_wrong_sizes, 0, 0},
        {"reports use after destroy", reports_use_after_destroy, 0, 0},
        {"reports a damaged tag", reports_a_damaged_tag, HAS_TAGS, THROUGH},
        {"reports an overflow", reports_an_overflow, HAS_TAGS, THROUGH},
        {"reports a write after free", reports_a_write_after_free, HAS_TAGS, THROUGH},
        {"forbids and counts in a frame", forbids_and_counts_in_a_frame, 0, SHARED},
        {"is served from an arena in a frame", is_served_from_an_arena_in_a_frame, 0, SHARED},
        {"cannot be guarded if shared", cannot_be_guarded_if_shared, SHARED, 0},
    };
    return run_for_variants("heaps conform", tests, sizeof tests / sizeof *tests);
}
