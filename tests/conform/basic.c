/* malloc, calloc, realloc, free, reallocarray, malloc_usable_size: the semantics of C23, POSIX and
   glibc. */
#include "check.h"

#include <malloc.h>
#include <string.h>
#include <time.h>

static void malloc_zero_is_unique(void)
{
    enum { N = 1000 };
    static char *blocks[N];
    for (int i = 0; i < N; i++) {
        blocks[i] = check_hide(malloc(0));
        CHECK(blocks[i] != NULL, "malloc(0): expected a pointer, got NULL");
        for (int j = 0; j < i; j++)
            CHECK(blocks[j] != blocks[i], "malloc(0): expected unique pointers, got %p twice",
                  (void *)blocks[i]);
    }
    for (int i = 0; i < N; i++)
        free(blocks[i]);
}

static void visit_aligned(size_t size, void *context)
{
    char *blocks[5];
    (void)context;
    for (int i = 0; i < 5; i++) {
        blocks[i] = check_hide(malloc(size));
        CHECK(blocks[i] != NULL, "malloc(%zu): expected a block, got NULL", size);
        CHECK((uintptr_t)blocks[i] % 16 == 0, "malloc(%zu): expected a multiple of 16, got %p",
              size, (void *)blocks[i]);
    }
    for (int i = 0; i < 5; i++)
        free(blocks[i]);
}

static void malloc_aligns_to_16(void)
{
    check_each_size((size_t)64 << 20, visit_aligned, NULL);
}

static void visit_calloc_aligned(size_t size, void *context)
{
    (void)context;
    char *p = check_hide(calloc(1, size));
    char *q = check_hide(realloc(check_hide(malloc(1)), size + 1));
    CHECK((uintptr_t)p % 16 == 0, "calloc(1, %zu): expected a multiple of 16, got %p", size,
          (void *)p);
    CHECK((uintptr_t)q % 16 == 0, "realloc to %zu: expected a multiple of 16, got %p", size + 1,
          (void *)q);
    free(p);
    free(q);
}

static void calloc_and_realloc_align_to_16(void)
{
    check_each_size(1 << 20, visit_calloc_aligned, NULL);
}

/* Blocks of all sizes alive at once, each filled with a pattern of its own to the usable end. */
static void blocks_do_not_overlap(void)
{
    enum { N = 12000 };
    static char *blocks[N];
    static size_t usable[N];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            size_t size = i < 4200 ? i : 4200 + (size_t)(i * 7919u) % 30000;
            blocks[i] = check_hide(malloc(size));
            CHECK(blocks[i] != NULL, "malloc(%zu): got NULL", size);
            usable[i] = malloc_usable_size(blocks[i]);
            CHECK(usable[i] >= size, "malloc_usable_size: expected at least %zu, got %zu", size,
                  usable[i]);
            check_fill(blocks[i], usable[i], i);
        }
        for (unsigned k = 0; k < N; k++) {
            unsigned i = (k * 7001u) % N;
            check_filled(blocks[i], usable[i], i, "block of its own");
            free(blocks[i]);
        }
    }
}

static void usable_size_is_stable(void)
{
    CHECK(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL): expected 0, got %zu",
          malloc_usable_size(NULL));
    for (size_t size = 1; size < 3000000; size += size / 3 + 1) {
        char *p = check_hide(malloc(size));
        size_t first = malloc_usable_size(p);
        memset(p, 0xff, first);
        CHECK(malloc_usable_size(p) == first, "malloc_usable_size: expected %zu again, got %zu",
              first, malloc_usable_size(p));
        free(p);
    }
}

static void realloc_to_usable_size_stays(void)
{
    for (size_t size = 1; size < 3000000; size += size / 3 + 1) {
        char *p = check_hide(malloc(size));
        size_t usable = malloc_usable_size(p);
        char *same = check_hide(realloc(p, usable));
        CHECK(same == p, "realloc to the usable size %zu: expected no move from %p, got %p", usable,
              (void *)p, (void *)same);
        free(same);
    }
}

/* Freed memory full of ones, of every class, for calloc to find. */
static void dirty_heap(void)
{
    enum { N = 4000 };
    static char *blocks[N];
    for (unsigned i = 0; i < N; i++) {
        size_t size = i < 3000 ? i % 1100 + 1 : (size_t)(i - 2999) * 300;
        blocks[i] = check_hide(malloc(size));
        memset(blocks[i], 0xff, malloc_usable_size(blocks[i]));
    }
    for (unsigned i = 0; i < N; i++)
        free(blocks[i]);
}

static void check_zero(const char *p, size_t n)
{
    CHECK(p != NULL, "calloc of %zu: got NULL", n);
    for (size_t i = 0; i < n; i++)
        CHECK(p[i] == 0, "calloc of %zu: expected zero at byte %zu, found 0x%02x", n, i,
              (unsigned char)p[i]);
}

static void visit_calloc(size_t size, void *context)
{
    (void)context;
    enum { N = 4 };
    char *blocks[N];
    for (int i = 0; i < N; i++) {
        blocks[i] = check_hide(size % 3 == 0 ? calloc(3, size / 3) : calloc(size, 1));
        check_zero(blocks[i], size);
    }
    for (int i = 0; i < N; i++) {
        memset(blocks[i], 0xee, malloc_usable_size(blocks[i]));
        free(blocks[i]);
    }
}

static void calloc_gives_zeros(void)
{
    dirty_heap();
    check_each_size(3 << 20, visit_calloc, NULL);
    dirty_heap();
    check_each_size(200000, visit_calloc, NULL);
}

static void calloc_gives_zeros_after_shrink_and_trim(void)
{
    for (size_t size = 5000; size < 8000000; size += size / 2) {
        char *p = check_hide(malloc(size));
        memset(p, 0xff, size);
        p = check_hide(realloc(p, size / 3));
        char *q = check_hide(calloc(1, size / 2));
        check_zero(q, size / 2);
        memset(q, 0xff, size / 2);
        free(p);
        free(q);
        malloc_trim(0);
        q = check_hide(calloc(1, size));
        check_zero(q, size);
        memset(q, 0xff, size);
        free(q);
    }
}

static void calloc_of_nothing_is_unique(void)
{
    void *a = check_hide(calloc(0, 5));
    void *b = check_hide(calloc(5, 0));
    void *c = check_hide(calloc(0, SIZE_MAX));
    CHECK(a != NULL && b != NULL && c != NULL && a != b && b != c && a != c,
          "calloc of 0 bytes: expected three unique pointers, got %p %p %p", a, b, c);
    free(a);
    free(b);
    free(c);
}

static const size_t too_large[] = {
    (size_t)PTRDIFF_MAX + 1,
    (size_t)PTRDIFF_MAX + 4096,
    SIZE_MAX,
    SIZE_MAX - 1,
    SIZE_MAX - 15,
    SIZE_MAX - 16,
    SIZE_MAX - 4095,
    SIZE_MAX - 4096,
    SIZE_MAX - 65536,
    SIZE_MAX / 4 * 3,
};

static void too_large_is_refused_quickly(void)
{
    struct timespec start;
    struct timespec end;
    void *keep = check_hide(malloc(100));
    check_fill(keep, 100, 1);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int round = 0; round < 1000; round++)
        for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
            size_t size = check_hide_size(too_large[i]);
            CHECK_REFUSED(malloc(size), ENOMEM);
            CHECK_REFUSED(calloc(1, size), ENOMEM);
            CHECK_REFUSED(calloc(size, 1), ENOMEM);
            CHECK_REFUSED(realloc(NULL, size), ENOMEM);
            CHECK_REFUSED(realloc(keep, size), ENOMEM);
            CHECK_REFUSED(reallocarray(keep, 1, size), ENOMEM);
        }
    clock_gettime(CLOCK_MONOTONIC, &end);
    check_filled(keep, 100, 1, "block after refused reallocs");
    CHECK(end.tv_sec - start.tv_sec <= 3, "60,000 refusals: expected at most 3 s, took %ld s",
          (long)(end.tv_sec - start.tv_sec));
    free(keep);
}

/* Allowed by PTRDIFF_MAX, not by the machine. */
static void more_than_the_address_space_is_refused(void)
{
    CHECK_REFUSED(malloc(check_hide_size((size_t)PTRDIFF_MAX)), ENOMEM);
    CHECK_REFUSED(malloc(check_hide_size((size_t)PTRDIFF_MAX - 65536)), ENOMEM);
    CHECK_REFUSED(malloc(check_hide_size((size_t)1 << 48)), ENOMEM);
    CHECK_REFUSED(calloc(check_hide_size((size_t)1 << 31), (size_t)1 << 30), ENOMEM);
}

static void overflowing_products_are_refused(void)
{
    void *keep = check_hide(malloc(64));
    check_fill(keep, 64, 9);
    size_t half = check_hide_size((size_t)1 << 32);
    CHECK_REFUSED(calloc(half, half), ENOMEM);
    CHECK_REFUSED(calloc(half, half + 1), ENOMEM);
    CHECK_REFUSED(calloc(SIZE_MAX / 2 + 1, check_hide_size(2)), ENOMEM);
    CHECK_REFUSED(calloc(SIZE_MAX / 16 + 2, check_hide_size(16)), ENOMEM);
    CHECK_REFUSED(calloc(check_hide_size(3), SIZE_MAX / 3 + 1), ENOMEM);
    CHECK_REFUSED(reallocarray(keep, half, half), ENOMEM);
    CHECK_REFUSED(reallocarray(keep, SIZE_MAX / 2 + 1, check_hide_size(2)), ENOMEM);
    CHECK_REFUSED(reallocarray(NULL, check_hide_size(3), SIZE_MAX / 3 + 1), ENOMEM);
    check_filled(keep, 64, 9, "block after refused reallocarrays");
    free(keep);
}

static void realloc_of_null_allocates(void)
{
    char *p = check_hide(realloc(NULL, 100));
    CHECK(p != NULL, "realloc(NULL, 100): got NULL");
    memset(p, 1, 100);
    char *q = check_hide(realloc(NULL, 0));
    char *r = check_hide(realloc(NULL, 0));
    CHECK(q != NULL && r != NULL && q != r,
          "realloc(NULL, 0): expected unique pointers, got %p and %p", (void *)q, (void *)r);
    free(p);
    free(q);
    free(r);
}

static void realloc_to_zero_frees(void)
{
    for (int i = 0; i < 40000; i++) {
        char *p = check_hide(malloc(65536));
        CHECK(p != NULL, "round %d: got NULL", i);
        for (int k = 0; k < 16; k++)
            p[k * 4096] = 1;
        errno = 1234;
        void *q = check_hide(realloc(p, check_hide_size(0)));
        CHECK(q == NULL, "realloc(p, 0): expected NULL, got %p", q);
        CHECK(errno == 1234, "realloc(p, 0): expected errno unchanged (1234), got %d", errno);
    }
    CHECK(check_resident_bytes() < (size_t)256 << 20,
          "40,000 x realloc(p, 0) of 64 KiB: expected the blocks to be freed, resident %zu MiB",
          check_resident_bytes() >> 20);
}

static void realloc_between(size_t from, size_t to)
{
    char *p = check_hide(malloc(from));
    CHECK(p != NULL, "malloc(%zu): got NULL", from);
    check_fill(p, from, (unsigned)from);
    p = check_hide(realloc(p, to));
    CHECK(p != NULL, "realloc from %zu to %zu: got NULL", from, to);
    check_filled(p, from < to ? from : to, (unsigned)from, "realloc");
    check_fill(p, to, 77);
    check_filled(p, to, 77, "after realloc");
    free(p);
}

static void realloc_keeps_contents_small(void)
{
    for (size_t from = 1; from <= 2100; from += from < 300 ? 1 : 13)
        for (size_t to = 1; to <= 2100; to += to < 64 ? 1 : 37)
            realloc_between(from, to);
}

/* All boundaries where a block changes its home: classes, pages, runs, mappings. */
static void realloc_keeps_contents_across_homes(void)
{
    static const size_t edges[] = {1024,   2048,    4096,    8192,    16384,  20480,
                                   32768,  65536,   131072,  200000,  262144, 524288,
                                   800000, 1048576, 2097152, 4194304, 9000000};
    enum { N = sizeof edges / sizeof edges[0] };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            for (int delta = -1; delta <= 1; delta++)
                realloc_between(edges[i] + (size_t)(ptrdiff_t)delta,
                                edges[j] - (size_t)(ptrdiff_t)delta);
}

static void realloc_step_by_step(void)
{
    char *p = check_hide(malloc(1));
    p[0] = 42;
    for (size_t size = 2; size < 40000000; size += size / 5 + 1) {
        p = check_hide(realloc(p, size));
        CHECK(p != NULL && p[0] == 42, "growing to %zu: first byte lost", size);
        CHECK(size < 4 || p[size * 4 / 5 / 2] == p[size * 4 / 5 / 2], "unreadable");
        p[size - 1] = 7;
    }
    for (size_t size = 40000000; size > 1; size -= size / 4 + 1) {
        p = check_hide(realloc(p, size));
        CHECK(p != NULL && p[0] == 42, "shrinking to %zu: first byte lost", size);
    }
    free(p);
}

static void failed_realloc_leaves_block(void)
{
    for (size_t size = 1; size < 10000000; size = size * 3 + 1) {
        char *p = check_hide(malloc(size));
        check_fill(p, size, 5);
        CHECK_REFUSED(realloc(p, check_hide_size((size_t)1 << 60)), ENOMEM);
        check_filled(p, size, 5, "block after a refused realloc");
        free(p);
    }
}

static void reallocarray_works(void)
{
    char *p = check_hide(reallocarray(NULL, 10, 10));
    CHECK(p != NULL, "reallocarray(NULL, 10, 10): got NULL");
    check_fill(p, 100, 3);
    p = check_hide(reallocarray(p, 1000, 33));
    CHECK(p != NULL, "reallocarray(p, 1000, 33): got NULL");
    check_filled(p, 100, 3, "reallocarray");
    errno = 99;
    void *q = check_hide(reallocarray(p, check_hide_size(0), 33));
    CHECK(q == NULL && errno == 99,
          "reallocarray(p, 0, 33): expected NULL and errno unchanged (99), got %p and %d", q,
          errno);
}

static void visit_free_errno(size_t size, void *context)
{
    (void)context;
    char *p = check_hide(malloc(size));
    if (size > 0)
        p[size - 1] = 1;
    errno = 1234;
    free(p);
    CHECK(errno == 1234, "free of %zu bytes: expected errno unchanged (1234), got %d", size, errno);
}

static void free_keeps_errno(void)
{
    errno = 1234;
    free(NULL);
    CHECK(errno == 1234, "free(NULL): expected errno unchanged (1234), got %d", errno);
    check_each_size((size_t)300 << 20, visit_free_errno, NULL);
}

static void success_keeps_errno(void)
{
    for (size_t size = 1; size < 100000000; size = size * 2 + 1) {
        errno = 1234;
        char *p = check_hide(malloc(size));
        CHECK(errno == 1234, "malloc(%zu): expected errno unchanged (1234), got %d", size, errno);
        char *q = check_hide(calloc(1, size));
        CHECK(errno == 1234, "calloc(1, %zu): expected errno unchanged, got %d", size, errno);
        p = check_hide(realloc(p, size * 2));
        CHECK(errno == 1234, "realloc to %zu: expected errno unchanged, got %d", size * 2, errno);
        free(p);
        free(q);
    }
}

/* The heap stays bounded when the same work is done again. */
static void repeated_work_does_not_grow(void)
{
    size_t resident = 0;
    for (int round = 0; round < 60; round++) {
        enum { N = 2000 };
        static char *blocks[N];
        for (unsigned i = 0; i < N; i++) {
            size_t size = (i * 2654435761u >> 16) % (i % 10 == 0 ? 60000 : 900) + 1;
            blocks[i] = check_hide(malloc(size));
            memset(blocks[i], 1, size);
        }
        for (unsigned i = 0; i < N; i++)
            free(blocks[(i * 997) % N]);
        if (round == 20)
            resident = check_resident_bytes();
    }
    CHECK(check_resident_bytes() < resident + (2 << 20),
          "40 more rounds of the same work: expected about %zu KiB resident, got %zu KiB",
          resident >> 10, check_resident_bytes() >> 10);
}

int main(int argc, char **argv)
{
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct check_case cases[] = {
        C(malloc_zero_is_unique),
        C(malloc_aligns_to_16),
        C(calloc_and_realloc_align_to_16),
        C(blocks_do_not_overlap),
        C(usable_size_is_stable),
        C(realloc_to_usable_size_stays),
        C(calloc_gives_zeros),
        C(calloc_gives_zeros_after_shrink_and_trim),
        C(calloc_of_nothing_is_unique),
        C(too_large_is_refused_quickly),
        C(more_than_the_address_space_is_refused),
        C(overflowing_products_are_refused),
        C(realloc_of_null_allocates),
        C(realloc_to_zero_frees),
        C(realloc_keeps_contents_small),
        C(realloc_keeps_contents_across_homes),
        C(realloc_step_by_step),
        C(failed_realloc_leaves_block),
        C(reallocarray_works),
        C(free_keeps_errno),
        C(success_keeps_errno),
        C(repeated_work_does_not_grow),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
