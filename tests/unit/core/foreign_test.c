/* core/foreign: the line about each sort of memory that is not libration's. */
#include "core/foreign.h"

#include "area/window.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "support/heap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

static int zeroed[100000];
static int initialised[4] = {1, 2, 3, 4};
static const char constant[64] = "constant";

static void require_line(const void *p, const char *begins)
{
    struct text t;
    text_clear(&t);
    foreign_describe(&t, (uintptr_t)p);
    text_add_bytes(&t, "", 1);
    if (strncmp(t.chars, begins, strlen(begins)) != 0)
        fail_msg("expected '%s', got: %s", begins, t.chars);
    assert_int_equal(t.chars[t.used - 2], '\n');
}

static void *wait_in_thread(void *arg)
{
    int local = 0;
    void **shared = arg;
    __atomic_store_n(&shared[0], &local, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared[1], __ATOMIC_ACQUIRE) == NULL)
        usleep(100);
    return NULL;
}

static void test_stacks(void **state)
{
    (void)state;
    int local = 0;
    void *shared[2] = {NULL, NULL};
    pthread_t thread;
    require_line(&local, "  it lies in the stack of the calling thread (0x");
    assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, shared), 0);
    while (__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE) == NULL)
        usleep(100);
    require_line(shared[0], "  it lies in the stack of another thread, by its guard page (0x");
    __atomic_store_n(&shared[1], &local, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

static void *describe_main_stack(void *p)
{
    require_line(p, "  it lies in the stack of the main thread (0x");
    return NULL;
}

static void test_main_stack(void **state)
{
    (void)state;
    int local = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, describe_main_stack, &local), 0);
    pthread_join(thread, NULL);
}

static void test_program(void **state)
{
    (void)state;
    char path[512];
    char line[640];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = '\0';
    if (n > MAPPING_NAME_CHARS - 1)
        memmove(path, path + n - (MAPPING_NAME_CHARS - 1), MAPPING_NAME_CHARS);
    snprintf(line, sizeof line, "  it lies in a variable of %s (0x", path);
    require_line(initialised, line);
    require_line(&zeroed[50000], line);
    snprintf(line, sizeof line, "  it lies in the constant data of %s (0x", path);
    require_line(constant, line);
    snprintf(line, sizeof line, "  it lies in the code of %s (0x", path);
    require_line((const void *)(uintptr_t)test_program, line);
}

static void test_mappings(void **state)
{
    (void)state;
    char *mapped = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(munmap(mapped, 4096), 0); /* so that it has no neighbour before it */
    int fd = open("/proc/self/exe", O_RDONLY);
    char *file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    require_line(file, "  it lies in a shared mapping of the file /");
    require_line((void *)getauxval(AT_SYSINFO_EHDR),
                 "  it lies in the kernel's mapping [vdso] (0x");
    require_line((char *)sbrk(8192) + 64,
                 "  it lies in the brk heap, which another allocator uses (0x");
    munmap(file, 4096);
    require_line(file, "  nothing is mapped there, as far as the system tells\n");
    munmap(mapped + 4096, 8192);
    close(fd);
    char *private =
        mmap((void *)0x200000000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require_line(
        private,
        "  it lies in a mapping of the program without a file, or of another allocator (0x");
    munmap(private, 4096);
}

static void test_numbers(void **state)
{
    (void)state;
    require_line((void *)16, "  that is a small number, no address\n");
    require_line(
        (void *)0xdead000000000010,
        "  no program has such addresses: the pointer was never valid, or was overwritten\n");
    fake_os_install();
    free_fast(malloc_fast(10));
    require_line((void *)(window.base + (window.unit_limit << UNIT_SHIFT) - 16),
                 "  it lies where libration places blocks, but none was ever there\n");
    fake.refuse |= ENTRY_BIT(ENTRY_MAPPING_FIND);
    require_line(&zeroed, "  nothing is mapped there, as far as the system tells\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stacks),  cmocka_unit_test(test_main_stack),
        cmocka_unit_test(test_program), cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
