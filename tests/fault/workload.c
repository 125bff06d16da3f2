/* A program that a limit or a refusal may hit at any point: it allocates in every way with contents
 * checked, uses up what there is, and goes on after it. Arguments: `plenty` (no call may fail),
 * `scarce` (null and ENOMEM are fine, and after freeing there is memory again), `maps` (scarce,
 * after using up vm.max_map_count). Says `ok` and exits with 0. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVE = 4000, STEPS = 60000 };
static struct {
    unsigned char *block;
    size_t n;
} live[LIVE];
static int plenty;
static unsigned long refusals;

static void fail(const char *why)
{
    char text[200];
    int n = snprintf(text, sizeof text, "workload: %s\n", why);
    if (write(2, text, (size_t)n) != n)
        _exit(4);
    _exit(1);
}

static uint64_t chance_state = 88172645463325252;

static size_t chance(size_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (size_t)(chance_state % below);
}

static int is_filled(size_t i, size_t n)
{
    for (size_t k = 0; k < n; k += k < 64 ? 1 : 61) {
        if (live[i].block[k] != (unsigned char)(i + k))
            return 0;
    }
    return n == 0 || live[i].block[n - 1] == (unsigned char)(i + n - 1);
}

static void fill(size_t i)
{
    for (size_t k = 0; k < live[i].n; k++)
        live[i].block[k] = (unsigned char)(i + k);
}

static size_t any_size(void)
{
    switch (chance(8)) {
    case 0:
        return chance(200000);
    case 1:
        return chance(20000);
    default:
        return chance(1500);
    }
}

static void keep(size_t i, void *p, size_t n)
{
    if (p == NULL && errno != ENOMEM)
        fail("null without ENOMEM");
    if (p == NULL && plenty)
        fail("null though there is plenty");
    refusals += p == NULL;
    live[i].block = p;
    live[i].n = p != NULL ? n : 0;
    if (p != NULL)
        fill(i);
}

static void allocate(size_t i)
{
    size_t n = any_size();
    errno = 0;
    switch (chance(4)) {
    case 0: {
        unsigned char *p = calloc(1, n);
        for (size_t k = 0; p != NULL && k < n; k++) {
            if (p[k] != 0)
                fail("calloc gave memory that is not zero");
        }
        keep(i, p, n);
        break;
    }
    case 1: {
        size_t align = (size_t)16 << chance(9);
        void *p = aligned_alloc(align, n);
        if ((uintptr_t)p % align != 0)
            fail("misaligned");
        keep(i, p, n);
        break;
    }
    default:
        keep(i, malloc(n), n);
    }
}

static void resize(size_t i)
{
    size_t n = any_size() + 1;
    errno = 0;
    size_t had = live[i].n;
    unsigned char *p = realloc(live[i].block, n);
    if (p == NULL) {
        if (errno != ENOMEM || plenty || !is_filled(i, had))
            fail("realloc refused wrongly, or spoilt the block");
        refusals++;
        return;
    }
    live[i].block = p;
    if (!is_filled(i, had < n ? had : n))
        fail("realloc lost contents");
    live[i].n = n;
    fill(i);
}

static void step(void)
{
    size_t i = chance(LIVE);
    if (live[i].block == NULL) {
        allocate(i);
    } else if (!is_filled(i, live[i].n)) {
        fail("a block changed");
    } else if (chance(4) == 0) {
        resize(i);
    } else {
        free(live[i].block);
        live[i].block = NULL;
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < LIVE; i++) {
        if (live[i].block != NULL && !is_filled(i, live[i].n))
            fail("a block changed");
        free(live[i].block);
        live[i].block = NULL;
    }
}

/* Until there is no more; all of it touched, given back, and to be had once more. */
static void use_up(size_t bytes)
{
    for (int round = 0; round < 2; round++) {
        void **last = NULL;
        unsigned long n = 0;
        for (; n * bytes < (size_t)3 << 30; n++) {
            errno = 0;
            void **p = malloc(bytes);
            if (p == NULL)
                break;
            memset(p, 0, bytes < 4096 ? bytes : 4096);
            *p = last;
            last = p;
        }
        if (n == 0 || errno != ENOMEM)
            fail("a limit was set, but memory is not used up; or nothing is to be had");
        while (last != NULL) {
            void **next = *last;
            free(last);
            last = next;
        }
        malloc_trim(0);
    }
}

/* Splits one mapping into as many as the kernel keeps. */
static void use_up_maps(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = 140000;
    char *p = mmap(NULL, n * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        fail("no addresses");
    for (size_t i = 0; i < n; i += 2) {
        if (mprotect(p + i * page, page, PROT_READ) != 0)
            return;
    }
    if (write(1, "skip: vm.max_map_count is too large to be used up\n", 50) == 50)
        _exit(77);
}

static void *work_in_thread(void *arg)
{
    (void)arg;
    void *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = malloc(i * 50);
        if (blocks[i] != NULL)
            memset(blocks[i], 1, i * 50);
    }
    for (size_t i = 0; i < 300; i++)
        free(blocks[i]);
    return NULL;
}

static void use_threads_and_fork(void)
{
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work_in_thread, NULL) == 0)
            pthread_join(thread, NULL);
    }
    pid_t child = fork();
    if (child == 0) {
        work_in_thread(NULL);
        _exit(0);
    }
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
        fail("the child did not end well");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    plenty = strcmp(mode, "plenty") == 0;
    if (strcmp(mode, "maps") == 0) {
        for (int i = 0; i < STEPS / 2; i++)
            step();
        use_up_maps();
    }
    for (int i = 0; i < STEPS; i++)
        step();
    use_threads_and_fork();
    if (strcmp(mode, "scarce") == 0) {
        free_all();
        use_up(100);
        use_up(5000);
        use_up(100000);
        use_up((size_t)3 << 20);
    }
    malloc_trim(0);
    for (int i = 0; i < STEPS; i++)
        step();
    free_all();
    struct mallinfo2 m = mallinfo2();
    if (m.uordblks + m.fordblks != m.arena)
        fail("mallinfo2 does not add up");
    fprintf(stderr, "ok, %lu refused\n", refusals);
    return 0;
}
