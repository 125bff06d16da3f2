/* aligned_alloc, posix_memalign, memalign, valloc, pvalloc: alignments from 1 byte to 8 GiB. */
#include "check.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

static const size_t KiB = 1024;
static const size_t GiB = (size_t)1 << 30;

static void use_ends(char *p, size_t size)
{
    if (size > 0) {
        p[0] = 1;
        p[size - 1] = 2;
    }
}

static void aligned_alloc_aligns(void)
{
    for (size_t alignment = 1; alignment <= 64 * KiB; alignment *= 2)
        for (size_t size = 0; size < 70000; size += size / 3 + 1) {
            char *blocks[3];
            for (int i = 0; i < 3; i++) {
                blocks[i] = check_hide(aligned_alloc(alignment, size));
                CHECK(blocks[i] != NULL, "aligned_alloc(%zu, %zu): got NULL", alignment, size);
                CHECK_ALIGNED(blocks[i], alignment);
                CHECK_ALIGNED(blocks[i], alignment < 16 && size < 16 ? alignment : 16);
                CHECK(malloc_usable_size(blocks[i]) >= size,
                      "aligned_alloc(%zu, %zu): expected at least that usable, got %zu", alignment,
                      size, malloc_usable_size(blocks[i]));
                check_fill(blocks[i], malloc_usable_size(blocks[i]), (unsigned)i);
            }
            for (int i = 0; i < 3; i++)
                check_filled(blocks[i], size, (unsigned)i, "aligned block");
            for (int i = 0; i < 3; i++)
                free(blocks[i]);
        }
}

static void aligned_alloc_refuses_bad_alignment(void)
{
    static const size_t bad[] = {0, 3, 5, 6, 7, 9, 12, 24, 48, 100, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_REFUSED(aligned_alloc(check_hide_size(bad[i]), 48), EINVAL);
}

static void posix_memalign_aligns(void)
{
    for (size_t alignment = sizeof(void *); alignment <= 1024 * KiB; alignment *= 2)
        for (size_t size = 0; size < 300000; size += size + 1) {
            void *p = NULL;
            errno = 1234;
            int code = posix_memalign(&p, alignment, size);
            CHECK(code == 0 && p != NULL, "posix_memalign(%zu, %zu): expected 0, got %d", alignment,
                  size, code);
            CHECK(errno == 1234, "posix_memalign: expected errno unchanged (1234), got %d", errno);
            CHECK_ALIGNED(p, alignment);
            use_ends(p, size);
            free(p);
        }
}

static void posix_memalign_refuses_bad_alignment(void)
{
    static const size_t bad[] = {0, 1, 2, 4, 3, 7, 9, 12, 24, 48, 4095, SIZE_MAX};
    void *const mark = (void *)(uintptr_t)0x1230;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *p = mark;
        errno = 1234;
        int code = posix_memalign(&p, check_hide_size(bad[i]), 64);
        CHECK(code == EINVAL, "posix_memalign(%zu): expected EINVAL (%d), got %d", bad[i], EINVAL,
              code);
        CHECK(p == mark, "posix_memalign(%zu): expected *memptr untouched, got %p", bad[i], p);
        CHECK(errno == 1234, "posix_memalign(%zu): expected errno unchanged, got %d", bad[i],
              errno);
    }
}

static void posix_memalign_without_memory(void)
{
    void *const mark = (void *)(uintptr_t)0x1230;
    static const size_t huge[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 63,
                                  SIZE_MAX - 4096};
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        void *p = mark;
        errno = 1234;
        int code = posix_memalign(&p, 64, check_hide_size(huge[i]));
        CHECK(code == ENOMEM, "posix_memalign(64, %zu): expected ENOMEM, got %d", huge[i], code);
        CHECK(p == mark && errno == 1234,
              "posix_memalign(64, %zu): expected *memptr and errno untouched, got %p and %d",
              huge[i], p, errno);
    }
}

static void alignments_beyond_memory_fail(void)
{
    for (size_t align = (size_t)1 << 50; align != 0; align *= 2) {
        for (size_t size = 1; size != 0; size *= 4) {
            errno = 0;
            void *p = memalign(align, check_hide_size(size + (size_t)PTRDIFF_MAX));
            CHECK(p == NULL && errno == ENOMEM,
                  "memalign(%zu, %zu): expected NULL and ENOMEM, got %p and %d", align,
                  size + (size_t)PTRDIFF_MAX, p, errno);
        }
    }
}

static void memalign_rounds_the_alignment_up(void)
{
    static const size_t pairs[][2] = {{0, 16},  {1, 16},    {3, 16},      {24, 32},
                                      {33, 64}, {100, 128}, {1000, 1024}, {5000, 8192}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (size_t size = 1; size < 20000; size = size * 3) {
            char *p = check_hide(memalign(pairs[i][0], size));
            CHECK(p != NULL, "memalign(%zu, %zu): expected a block, got NULL", pairs[i][0], size);
            CHECK_ALIGNED(p, pairs[i][1]);
            use_ends(p, size);
            free(p);
        }
}

static void valloc_and_pvalloc(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 100000; size += 777) {
        char *p = check_hide(valloc(size));
        char *q = check_hide(pvalloc(size));
        CHECK(p != NULL && q != NULL, "valloc or pvalloc(%zu): got NULL", size);
        CHECK_ALIGNED(p, page);
        CHECK_ALIGNED(q, page);
        size_t rounded = (size + page - 1) / page * page;
        CHECK(malloc_usable_size(q) >= rounded, "pvalloc(%zu): expected %zu usable, got %zu", size,
              rounded, malloc_usable_size(q));
        memset(q, 1, rounded);
        use_ends(p, size);
        free(p);
        free(q);
    }
}

static void huge_alignments(void)
{
    for (size_t alignment = 128 * KiB; alignment <= GiB; alignment *= 2)
        for (size_t size = 1; size <= 10000000; size = size * 100 + 1) {
            char *p = check_hide(memalign(alignment, size));
            char *q = check_hide(aligned_alloc(alignment, size));
            void *r = NULL;
            int code = posix_memalign(&r, alignment, size);
            CHECK(p != NULL && q != NULL && code == 0 && p != q && q != r,
                  "alignment %zu, size %zu: expected three blocks, got %p %p %p", alignment, size,
                  (void *)p, (void *)q, r);
            CHECK_ALIGNED(p, alignment);
            CHECK_ALIGNED(q, alignment);
            CHECK_ALIGNED(r, alignment);
            use_ends(p, size);
            use_ends(q, size);
            use_ends(r, size);
            free(q);
            free(r);
            free(p);
        }
}

static void alignment_of_8_gib(void)
{
    char *p = check_hide(aligned_alloc(8 * GiB, 4096));
    CHECK(p != NULL, "aligned_alloc(8 GiB, 4096): got NULL");
    CHECK_ALIGNED(p, 8 * GiB);
    memset(p, 1, 4096);
    free(p);
    CHECK(check_resident_bytes() < (size_t)64 << 20, "expected little memory, resident %zu MiB",
          check_resident_bytes() >> 20);
}

static void overflow_is_refused(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK_REFUSED(pvalloc(check_hide_size(SIZE_MAX)), ENOMEM);
    CHECK_REFUSED(pvalloc(check_hide_size(SIZE_MAX - page / 2)), ENOMEM);
    CHECK_REFUSED(pvalloc(check_hide_size((size_t)PTRDIFF_MAX)), ENOMEM);
    CHECK_REFUSED(valloc(check_hide_size(SIZE_MAX)), ENOMEM);
    CHECK_REFUSED(valloc(check_hide_size(SIZE_MAX - page)), ENOMEM);
    CHECK_REFUSED(memalign(64, check_hide_size(SIZE_MAX)), ENOMEM);
    CHECK_REFUSED(memalign(64, check_hide_size(SIZE_MAX - 64)), ENOMEM);
    CHECK_REFUSED(memalign(page, check_hide_size((size_t)PTRDIFF_MAX)), ENOMEM);
    CHECK_REFUSED(memalign((size_t)1 << 46, check_hide_size((size_t)PTRDIFF_MAX - 4096)), ENOMEM);
    CHECK_REFUSED(aligned_alloc(4096, check_hide_size(SIZE_MAX - 4095)), ENOMEM);
    CHECK_REFUSED(aligned_alloc((size_t)1 << 62, check_hide_size((size_t)1 << 62)), ENOMEM);
    CHECK_REFUSED(aligned_alloc((size_t)1 << 62, check_hide_size(1)), ENOMEM);
}

static void realloc_of_aligned_keeps_contents(void)
{
    for (size_t alignment = 32; alignment <= 4096 * KiB; alignment *= 2)
        for (size_t size = 10; size < 200000; size *= 5) {
            char *p = check_hide(aligned_alloc(alignment, size));
            check_fill(p, size, 4);
            p = check_hide(realloc(p, size * 2));
            check_filled(p, size, 4, "realloc of an aligned block, growing");
            p = check_hide(realloc(p, size / 3));
            check_filled(p, size / 3, 4, "realloc of an aligned block, shrinking");
            free(p);
        }
}

/* Mixed alignments and sizes alive at once, freed in another order. */
static void mixed_alignments_do_not_overlap(void)
{
    enum { N = 3000 };
    static char *blocks[N];
    static size_t sizes[N];
    unsigned random = 12345;
    for (int round = 0; round < 4; round++) {
        for (unsigned i = 0; i < N; i++) {
            random = random * 1664525u + 1013904223u;
            size_t alignment = (size_t)16 << (random >> 28);
            sizes[i] = (random >> 8) % 5000;
            blocks[i] = check_hide(memalign(alignment, sizes[i]));
            CHECK(blocks[i] != NULL, "memalign(%zu, %zu): got NULL", alignment, sizes[i]);
            CHECK_ALIGNED(blocks[i], alignment);
            check_fill(blocks[i], sizes[i], i);
        }
        for (unsigned k = 0; k < N; k++) {
            unsigned i = k * 1009 % N;
            check_filled(blocks[i], sizes[i], i, "aligned block");
            free(blocks[i]);
        }
    }
}

static void aligned_success_keeps_errno(void)
{
    for (size_t alignment = 16; alignment <= 4096 * KiB; alignment *= 4) {
        errno = 1234;
        char *p = check_hide(aligned_alloc(alignment, 100));
        char *q = check_hide(memalign(alignment, 100000));
        CHECK(errno == 1234, "aligned success: expected errno unchanged, got %d", errno);
        free(p);
        free(q);
        CHECK(errno == 1234, "free of aligned blocks: expected errno unchanged, got %d", errno);
    }
}

int main(int argc, char **argv)
{
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct check_case cases[] = {
        C(aligned_alloc_aligns),
        C(aligned_alloc_refuses_bad_alignment),
        C(posix_memalign_aligns),
        C(posix_memalign_refuses_bad_alignment),
        C(posix_memalign_without_memory),
        C(alignments_beyond_memory_fail),
        C(memalign_rounds_the_alignment_up),
        C(valloc_and_pvalloc),
        C(huge_alignments),
        C(alignment_of_8_gib),
        C(overflow_is_refused),
        C(realloc_of_aligned_keeps_contents),
        C(mixed_alignments_do_not_overlap),
        C(aligned_success_keeps_errno),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
