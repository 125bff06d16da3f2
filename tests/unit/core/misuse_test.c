/* core/misuse: the kind and the explanation for every sort of address that is no live block. */
#include "core/misuse.h"

#include "core/core.h"
#include "core/fast_path.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int setup(void **state)
{
    (void)state;
    fake_os_install();
    heap_go_on_after_misuse();
    return 0;
}

static void require_kind(const void *p, const char *function, const char *kind,
                         const char *explains)
{
    char first[128];
    snprintf(first, sizeof first, "ration: %s at 0x%lx in %s()\n", kind,
             (unsigned long)(uintptr_t)p, function);
    fake_os_clear();
    misuse_report((uintptr_t)p, function);
    if (strncmp(fake.message, first, strlen(first)) != 0)
        fail_msg("expected %s got %s", first, fake.message);
    if (strstr(fake.message, explains) == NULL)
        fail_msg("expected '%s' in: %s", explains, fake.message);
    assert_int_equal(fake.message_writes, 1);
}

static void test_small(void **state)
{
    (void)state;
    char *p = malloc_fast(100);
    require_kind(p + 16, "free", "interior free", "16 bytes into the live block at 0x");
    require_kind(p + 111, "free", "misaligned free", "111 bytes into the live block");
    require_kind(p + 3, "realloc", "misaligned free", "112 usable bytes");
    free_fast(p);
    require_kind(p, "free", "double free", "freed before and not handed out since: slot ");
    require_kind(p, "operator delete", "double free", "112 bytes)");
    require_kind(p, "sdallocx", "double free", "freed before");
    require_kind(p, "realloc", "use after free", "freed before");
    require_kind(p, "malloc_usable_size", "use after free", "freed before");
    require_kind(p + 16, "free", "invalid free", "into a block that was freed before");
}

static void test_slab_ends(void **state)
{
    (void)state;
    unsigned c = 17; /* 320 bytes: 204 slots and 256 bytes that are none's */
    char *p = malloc_fast(size_classes[c].size);
    const struct slab *s = slab_of((uintptr_t)p);
    require_kind((char *)s->base + (size_t)s->slots * size_classes[c].size, "free", "invalid free",
                 "unused end of the slab");
    require_kind((char *)s->base + slab_bytes(s) - 1, "free", "invalid free",
                 "unused end of the slab");
    if (s->opened < s->slots)
        require_kind((char *)s->base + (size_t)(s->slots - 1) * size_classes[c].size, "free",
                     "invalid free", "no block was ever handed out there");
    free_fast(p);
}

static void test_large(void **state)
{
    (void)state;
    char *p = malloc_fast(200000);
    require_kind(p + 4096, "free", "interior free", "4096 bytes into the live block at 0x");
    require_kind(p + 200000, "free", "interior free", "usable bytes");
    require_kind(p + 1, "free", "misaligned free", "1 bytes into the live block");
    free_fast(p);
    require_kind(p, "free", "double free", "part of a free run of ");
    require_kind(p, "realloc", "use after free", "free run");
    require_kind(p + 4096, "free", "double free", "free run");
    require_kind(p + 5, "free", "misaligned free", "free run");
    span_purge(fake.now_ms, 0, SIZE_MAX, SIZE_MAX);
    require_kind(p, "free", "double free", "free run");
}

static void test_foreign(void **state)
{
    (void)state;
    static int variable;
    int on_stack;
    void *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *others = malloc(100); /* the C library's: these tests do not replace it */
    const void *wild[] = {&variable,
                          &on_stack,
                          mapped,
                          others,
                          (void *)1,
                          (void *)4096,
                          (void *)UINTPTR_MAX,
                          (void *)((uintptr_t)1 << 63),
                          (void *)0xdeadbeef,
                          (void *)(window.base - 16),
                          (void *)(window.base + (window.unit_count + 5) * UNIT_BYTES),
                          (void *)window.map,
                          (void *)0x0000ffffffff0000};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        require_kind(wild[i], "free", "invalid free", "never handed out memory there");
    munmap(mapped, 4096);
    free(others);
}

static void test_size(void **state)
{
    (void)state;
    fake_os_clear();
    misuse_report_size(0x1234, 112, 40, "free_sized");
    assert_int_equal(strncmp(fake.message, "ration: size mismatch at 0x1234 in free_sized()\n", 48),
                     0);
    assert_non_null(strstr(fake.message, "40 bytes"));
    assert_non_null(strstr(fake.message, "112 usable bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_small, setup), cmocka_unit_test_setup(test_slab_ends, setup),
        cmocka_unit_test_setup(test_large, setup), cmocka_unit_test_setup(test_foreign, setup),
        cmocka_unit_test_setup(test_size, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
