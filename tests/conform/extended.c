/* The names that not every libc has: C23 sized frees, C2y at-least, BSD, jemalloc, Android, and the
   __libc_ aliases. All are looked up at run time, so that a library without them says "absent". */
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#define FUNCTION(result, name, ...)                                                                \
    result (*name)(__VA_ARGS__) = (result(*)(__VA_ARGS__))check_symbol(#name)

struct at_least {
    void *ptr;
    size_t size;
};

static void visit_free_sized(size_t size, void *context)
{
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))context;
    char *p = check_hide(malloc(size));
    char *q = check_hide(calloc(1, size));
    char *r = check_hide(realloc(check_hide(malloc(size * 3 + 7)), size + 1));
    errno = 1234;
    free_sized(p, size);
    free_sized(q, size);
    free_sized(r, size + 1);
    CHECK(errno == 1234, "free_sized(p, %zu): expected errno unchanged, got %d", size, errno);
}

static void free_sized_frees(void)
{
    FUNCTION(void, free_sized, void *, size_t);
    free_sized(NULL, 0);
    free_sized(NULL, 100);
    check_each_size(1 << 20, visit_free_sized, (void *)free_sized);
    for (int i = 0; i < 20000; i++) {
        char *p = check_hide(malloc(100000));
        memset(p, 1, 100000);
        free_sized(p, 100000);
    }
    CHECK(check_resident_bytes() < (size_t)128 << 20, "free_sized does not free: %zu MiB resident",
          check_resident_bytes() >> 20);
}

/* After a shrinking realloc the size is the new one, whatever the allocator kept. */
static void free_sized_after_shrink(void)
{
    FUNCTION(void, free_sized, void *, size_t);
    for (size_t from = 16; from < 3000000; from = from * 2 + 3)
        for (size_t to = 1; to <= from; to = to * 2 + 1) {
            char *p = check_hide(malloc(from));
            p = check_hide(realloc(p, to));
            free_sized(p, to);
        }
}

static void free_aligned_sized_frees(void)
{
    FUNCTION(void, free_aligned_sized, void *, size_t, size_t);
    free_aligned_sized(NULL, 16, 100);
    for (size_t alignment = 16; alignment <= (size_t)4 << 20; alignment *= 2)
        for (size_t size = 0; size < 300000; size = size * 2 + 1) {
            char *p = check_hide(aligned_alloc(alignment, size));
            errno = 1234;
            free_aligned_sized(p, alignment, size);
            CHECK(errno == 1234, "free_aligned_sized: expected errno unchanged, got %d", errno);
        }
}

static void alloc_at_least_gives_the_slack(void)
{
    FUNCTION(struct at_least, alloc_at_least, size_t);
    for (size_t size = 0; size < 5000000; size += size / 7 + 1) {
        struct at_least got = alloc_at_least(size);
        CHECK(got.ptr != NULL && got.size >= size,
              "alloc_at_least(%zu): expected at least that, got %p with %zu", size, got.ptr,
              got.size);
        CHECK(got.size <= malloc_usable_size(got.ptr),
              "alloc_at_least(%zu): size %zu exceeds the usable %zu", size, got.size,
              malloc_usable_size(got.ptr));
        check_fill(got.ptr, got.size, 3);
        check_filled(got.ptr, got.size, 3, "alloc_at_least");
        free(got.ptr);
    }
    errno = 0;
    struct at_least none = alloc_at_least(check_hide_size(SIZE_MAX));
    CHECK(none.ptr == NULL && errno == ENOMEM,
          "alloc_at_least(SIZE_MAX): expected NULL and ENOMEM, got %p and %d", none.ptr, errno);
}

static void alloc_at_least_takes_sized_free(void)
{
    FUNCTION(struct at_least, alloc_at_least, size_t);
    FUNCTION(void, free_sized, void *, size_t);
    for (size_t size = 1; size < 5000000; size += size / 3 + 1) {
        struct at_least first = alloc_at_least(size);
        free_sized(first.ptr, size);
        struct at_least second = alloc_at_least(size);
        free_sized(second.ptr, second.size);
    }
}

static void aligned_alloc_at_least_aligns(void)
{
    FUNCTION(struct at_least, aligned_alloc_at_least, size_t, size_t);
    for (size_t alignment = 16; alignment <= 1 << 20; alignment *= 4)
        for (size_t size = 1; size < 500000; size = size * 3 + 1) {
            struct at_least got = aligned_alloc_at_least(alignment, size);
            CHECK(got.ptr != NULL && got.size >= size,
                  "aligned_alloc_at_least(%zu, %zu): got %p, %zu", alignment, size, got.ptr,
                  got.size);
            CHECK_ALIGNED(got.ptr, alignment);
            check_fill(got.ptr, got.size, 3);
            free(got.ptr);
        }
    errno = 0;
    struct at_least none = aligned_alloc_at_least(check_hide_size(24), 48);
    CHECK(none.ptr == NULL && errno == EINVAL,
          "aligned_alloc_at_least(24, 48): expected NULL and EINVAL, got %p and %d", none.ptr,
          errno);
}

static void reallocf_frees_on_failure(void)
{
    FUNCTION(void *, reallocf, void *, size_t);
    char *p = check_hide(reallocf(NULL, 50));
    check_fill(p, 50, 1);
    p = check_hide(reallocf(p, 5000));
    check_filled(p, 50, 1, "reallocf");
    free(p);
    for (int i = 0; i < 1000; i++) {
        char *block = check_hide(malloc(1 << 20));
        memset(block, 1, 1 << 20);
        CHECK_REFUSED(reallocf(block, check_hide_size(SIZE_MAX)), ENOMEM);
    }
    CHECK(check_resident_bytes() < (size_t)200 << 20,
          "reallocf that fails: expected the block freed, %zu MiB resident",
          check_resident_bytes() >> 20);
}

static void recallocarray_zeroes_the_rest(void)
{
    FUNCTION(void *, recallocarray, void *, size_t, size_t, size_t);
    for (size_t size = 1; size < 3000; size = size * 3 + 1)
        for (size_t count = 1; count < 300; count = count * 2 + 1) {
            char *p = check_hide(recallocarray(NULL, 0, count, size));
            CHECK(p != NULL, "recallocarray(NULL, 0, %zu, %zu): got NULL", count, size);
            for (size_t i = 0; i < count * size; i++)
                CHECK(p[i] == 0, "recallocarray: expected zeros, byte %zu is %d", i, p[i]);
            memset(p, 0x55, malloc_usable_size(p));
            p = check_hide(recallocarray(p, count, count * 3, size));
            for (size_t i = 0; i < count * size * 3; i++)
                CHECK(p[i] == (i < count * size ? 0x55 : 0),
                      "recallocarray from %zu to %zu bytes: byte %zu is 0x%02x", count * size,
                      count * size * 3, i, (unsigned char)p[i]);
            p = check_hide(recallocarray(p, count * 3, (count + 1) / 2, size));
            CHECK(p != NULL && p[0] == 0x55, "recallocarray, shrinking: contents lost");
            p = check_hide(recallocarray(p, (count + 1) / 2, count * 3, size));
            CHECK(p[count * 3 * size - 1] == 0, "recallocarray after a shrink: rest not zero");
            free(p);
        }
    char *p = check_hide(calloc(10, 10));
    CHECK_REFUSED(recallocarray(p, 10, SIZE_MAX / 8, check_hide_size(10)), ENOMEM);
    free(p);
}

static void freezero_frees(void)
{
    FUNCTION(void, freezero, void *, size_t);
    freezero(NULL, 0);
    freezero(NULL, 10);
    for (size_t size = 1; size < 3000000; size = size * 2 + 1) {
        char *p = check_hide(malloc(size));
        memset(p, 1, size);
        errno = 1234;
        freezero(p, size);
        CHECK(errno == 1234, "freezero: expected errno unchanged, got %d", errno);
    }
}

static void reallocarr_reports_by_code(void)
{
    FUNCTION(int, reallocarr, void *, size_t, size_t);
    char *p = NULL;
    errno = 1234;
    int code = reallocarr(&p, 10, 10);
    CHECK(code == 0 && p != NULL, "reallocarr(10, 10): expected 0, got %d", code);
    check_fill(p, 100, 1);
    CHECK(reallocarr(&p, 100, 100) == 0, "reallocarr(100, 100): expected 0");
    check_filled(p, 100, 1, "reallocarr");
    char *before = p;
    code = reallocarr(&p, SIZE_MAX / 2, check_hide_size(4));
    CHECK(code == EOVERFLOW || code == ENOMEM, "reallocarr, overflow: got %d", code);
    CHECK(p == before, "reallocarr, overflow: expected the pointer untouched");
    check_filled(p, 100, 1, "reallocarr that failed");
    CHECK(errno == 1234, "reallocarr: expected errno unchanged, got %d", errno);
    code = reallocarr(&p, 0, 10);
    CHECK(code == 0 && p == NULL, "reallocarr(0, 10): expected 0 and NULL, got %d and %p", code,
          (void *)p);
}

static void visit_sizes_agree(size_t size, void *context)
{
    size_t (*predict)(size_t) = (size_t(*)(size_t))context;
    char *p = check_hide(malloc(size));
    size_t usable = malloc_usable_size(p);
    CHECK(predict(size) == usable, "malloc_good_size(%zu): expected %zu as malloc gives, got %zu",
          size, usable, predict(size));
    free(p);
}

static void malloc_good_size_predicts(void)
{
    FUNCTION(size_t, malloc_good_size, size_t);
    check_each_size(4 << 20, visit_sizes_agree, (void *)malloc_good_size);
}

static void malloc_size_is_usable_size(void)
{
    FUNCTION(size_t, malloc_size, const void *);
    for (size_t size = 0; size < 3000000; size += size / 5 + 1) {
        char *p = check_hide(malloc(size));
        CHECK(malloc_size(p) == malloc_usable_size(p), "malloc_size(%zu): expected %zu, got %zu",
              size, malloc_usable_size(p), malloc_size(p));
        free(p);
    }
    CHECK(malloc_size(NULL) == 0, "malloc_size(NULL): expected 0");
}

static void vfree_and_cfree_free(void)
{
    FUNCTION(void, vfree, void *);
    FUNCTION(void, cfree, void *);
    vfree(NULL);
    cfree(NULL);
    for (int i = 0; i < 20000; i++) {
        char *p = check_hide(valloc(50000));
        char *q = check_hide(malloc(50000));
        memset(p, 1, 50000);
        memset(q, 1, 50000);
        vfree(p);
        cfree(q);
    }
    CHECK(check_resident_bytes() < (size_t)128 << 20, "vfree or cfree does not free: %zu MiB",
          check_resident_bytes() >> 20);
}

enum { LG_ALIGN_64 = 6 };

static void nallocx_predicts(void)
{
    FUNCTION(size_t, nallocx, size_t, int);
    for (size_t size = 1; size < 5000000; size += size / 9 + 1) {
        char *p = check_hide(malloc(size));
        CHECK(nallocx(size, 0) == malloc_usable_size(p), "nallocx(%zu, 0): expected %zu, got %zu",
              size, malloc_usable_size(p), nallocx(size, 0));
        free(p);
        char *q = check_hide(aligned_alloc(64, size));
        CHECK(nallocx(size, LG_ALIGN_64) == malloc_usable_size(q),
              "nallocx(%zu, align 64): expected %zu, got %zu", size, malloc_usable_size(q),
              nallocx(size, LG_ALIGN_64));
        free(q);
    }
    CHECK(nallocx(check_hide_size(SIZE_MAX), 0) == 0, "nallocx(SIZE_MAX): expected 0, got %zu",
          nallocx(SIZE_MAX, 0));
}

static void sdallocx_frees(void)
{
    FUNCTION(void, sdallocx, void *, size_t, int);
    for (size_t size = 1; size < 5000000; size += size / 9 + 1) {
        sdallocx(check_hide(malloc(size)), size, 0);
        sdallocx(check_hide(aligned_alloc(64, size)), size, LG_ALIGN_64);
    }
}

enum { N_WALKED = 600 };

struct walk {
    uintptr_t blocks[N_WALKED];
    size_t sizes[N_WALKED];
    unsigned seen[N_WALKED];
    size_t n_visited;
};

static void on_block(uintptr_t base, size_t size, void *argument)
{
    struct walk *walk = argument;
    walk->n_visited++;
    for (int i = 0; i < N_WALKED; i++)
        if (walk->blocks[i] == base && size >= walk->sizes[i])
            walk->seen[i]++;
}

static void malloc_iterate_visits_live_blocks(void)
{
    FUNCTION(int, malloc_iterate, uintptr_t, size_t, void (*)(uintptr_t, size_t, void *), void *);
    FUNCTION(void, malloc_disable, void);
    FUNCTION(void, malloc_enable, void);
    static struct walk walk;
    for (unsigned i = 0; i < N_WALKED; i++) {
        walk.sizes[i] = i < 500 ? i * 40 + 1 : (size_t)(i - 499) * 30000;
        walk.blocks[i] = (uintptr_t)check_hide(malloc(walk.sizes[i]));
    }
    for (unsigned i = 0; i < N_WALKED; i += 3)
        free((void *)walk.blocks[i]);
    malloc_disable();
    int code = malloc_iterate(0, SIZE_MAX, on_block, &walk);
    malloc_enable();
    CHECK(code == 0, "malloc_iterate: expected 0, got %d", code);
    for (unsigned i = 0; i < N_WALKED; i++)
        CHECK(walk.seen[i] == (i % 3 != 0),
              "malloc_iterate: block %u of %zu bytes (%s): expected %d visits, got %u", i,
              walk.sizes[i], i % 3 == 0 ? "freed" : "live", i % 3 != 0, walk.seen[i]);
}

static void malloc_iterate_keeps_to_its_range(void)
{
    FUNCTION(int, malloc_iterate, uintptr_t, size_t, void (*)(uintptr_t, size_t, void *), void *);
    FUNCTION(void, malloc_disable, void);
    FUNCTION(void, malloc_enable, void);
    static struct walk walk;
    walk.blocks[0] = (uintptr_t)check_hide(malloc(3000));
    walk.sizes[0] = 3000;
    malloc_disable();
    int code = malloc_iterate(walk.blocks[0], 3000, on_block, &walk);
    malloc_enable();
    CHECK(code == 0 && walk.seen[0] == 1 && walk.n_visited == 1,
          "malloc_iterate over one block: expected it alone, got %zu visits (%u of it), code %d",
          walk.n_visited, walk.seen[0], code);
    void *p = check_hide(malloc(100));
    CHECK(p != NULL, "malloc after malloc_enable: got NULL");
}

static void libc_aliases_share_the_heap(void)
{
    FUNCTION(void *, __libc_malloc, size_t);
    FUNCTION(void *, __libc_calloc, size_t, size_t);
    FUNCTION(void *, __libc_realloc, void *, size_t);
    FUNCTION(void *, __libc_memalign, size_t, size_t);
    FUNCTION(void *, __libc_valloc, size_t);
    FUNCTION(void *, __libc_pvalloc, size_t);
    FUNCTION(void, __libc_free, void *);
    for (size_t size = 1; size < 1000000; size = size * 4) {
        free(check_hide(__libc_malloc(size)));
        __libc_free(check_hide(malloc(size)));
        free(check_hide(__libc_calloc(1, size)));
        free(check_hide(__libc_realloc(check_hide(malloc(3)), size)));
        __libc_free(check_hide(realloc(check_hide(__libc_malloc(9)), size)));
        void *p = check_hide(__libc_memalign(256, size));
        CHECK_ALIGNED(p, 256);
        free(p);
        free(check_hide(__libc_valloc(size)));
        free(check_hide(__libc_pvalloc(size)));
    }
}

static void rarer_aliases_share_the_heap(void)
{
    FUNCTION(void *, __libc_reallocarray, void *, size_t, size_t);
    FUNCTION(int, __posix_memalign, void **, size_t, size_t);
    FUNCTION(void, __libc_cfree, void *);
    FUNCTION(int, __libc_mallopt, int, int);
    FUNCTION(struct mallinfo, __libc_mallinfo, void);
    void *p = NULL;
    CHECK(__posix_memalign(&p, 128, 1000) == 0, "__posix_memalign: expected 0");
    CHECK_ALIGNED(p, 128);
    p = check_hide(__libc_reallocarray(p, 30, 100));
    __libc_cfree(p);
    CHECK(__libc_mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "__libc_mallopt: expected 1");
    CHECK(__libc_mallinfo().uordblks >= 0, "__libc_mallinfo: expected a count");
}

/* Folly takes a process for jemalloc's when all of these exist; so none may. */
static void jemalloc_is_not_impersonated(void)
{
    static const char *const names[] = {"mallocx", "rallocx",          "xallocx",
                                        "dallocx", "mallctlnametomib", "mallctl"};
    size_t n_present = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        n_present += dlsym(RTLD_DEFAULT, names[i]) != NULL;
    CHECK(n_present == 0 || n_present == sizeof names / sizeof names[0],
          "expected all or none of jemalloc's extended names, got %zu of %zu", n_present,
          sizeof names / sizeof names[0]);
}

int main(int argc, char **argv)
{
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct check_case cases[] = {
        C(free_sized_frees),
        C(free_sized_after_shrink),
        C(free_aligned_sized_frees),
        C(alloc_at_least_gives_the_slack),
        C(alloc_at_least_takes_sized_free),
        C(aligned_alloc_at_least_aligns),
        C(reallocf_frees_on_failure),
        C(recallocarray_zeroes_the_rest),
        C(freezero_frees),
        C(reallocarr_reports_by_code),
        C(malloc_good_size_predicts),
        C(malloc_size_is_usable_size),
        C(vfree_and_cfree_free),
        C(nallocx_predicts),
        C(sdallocx_frees),
        C(malloc_iterate_visits_live_blocks),
        C(malloc_iterate_keeps_to_its_range),
        C(libc_aliases_share_the_heap),
        C(rarer_aliases_share_the_heap),
        C(jemalloc_is_not_impersonated),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
