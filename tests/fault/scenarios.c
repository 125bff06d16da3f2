#include "scenarios.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/harden.h"
#include "core/life.h"
#include "core/purge.h"
#include "core/sample.h"
#include "inspect/glibc_stats.h"
#include "support/heap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD_MAX = 20000 };

static struct {
    unsigned char *block;
    size_t n;
} held[HELD_MAX];
static size_t held_count;

/* What every allocating call promises; keeps the block. */
static void *keep(void *p, size_t n, size_t align)
{
    if (p == NULL) {
        REQUIRE(errno == ENOMEM);
        errno = 0;
        return NULL;
    }
    REQUIRE(errno == 0 && (uintptr_t)p % align == 0 && core_usable(p, "x") >= n);
    pattern_write(p, n, held_count);
    held[held_count].block = p;
    held[held_count++].n = n;
    return p;
}

static void release(size_t i)
{
    if (held[i].block == NULL)
        return;
    REQUIRE(pattern_is(held[i].block, held[i].n, i));
    errno = 0;
    free_fast(held[i].block);
    REQUIRE(errno == 0);
    held[i].block = NULL;
}

void scenario_end(void)
{
    for (size_t i = 0; i < held_count; i++)
        release(i);
    held_count = 0;
    REQUIRE(heap_live_blocks() == 0);
}

static void start(void)
{
    keep(malloc_fast(1), 1, 16);
}

static void one_class(void)
{
    for (int i = 0; i < 500; i++)
        keep(malloc_fast(5000), 5000, 16);
    for (size_t i = 0; i < held_count; i += 2)
        release(i);
    for (int i = 0; i < 500; i++)
        keep(malloc_fast(5000), 5000, 16);
}

static void all_classes(void)
{
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        for (int i = 0; i < 3; i++)
            keep(malloc_fast(size_classes[c].size), size_classes[c].size, 16);
    }
}

static void require_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; p != NULL && i < n; i++)
        REQUIRE(p[i] == 0);
}

static void zeroed(void)
{
    for (int round = 0; round < 2; round++) {
        for (size_t n = 1; n < 400000; n += n + 10) {
            unsigned char *p = calloc_fast(1, n);
            require_zero(p, n);
            keep(p, n, 16);
        }
        for (size_t i = 0; i < held_count; i++)
            release(i);
        purge_all();
    }
}

static void large(void)
{
    for (size_t n = 20000; n < MIB(2); n += n / 3) {
        keep(malloc_fast(n), n, 4096);
        if (held_count % 3 == 0)
            release(held_count - 1);
    }
    for (size_t i = 0; i < held_count; i += 2)
        release(i);
    for (size_t n = 20000; n < MIB(2); n += n / 2)
        keep(malloc_fast(n), n, 4096);
}

static void huge(void)
{
    for (int i = 0; i < 3; i++) {
        void *p = malloc_fast(MIB(40));
        if (p == NULL)
            continue;
        ((char *)p)[0] = 1;
        ((char *)p)[MIB(40) - 1] = 1;
        free_fast(p);
        fake.now_ms += 2000;
        purge_note(MIB(40));
    }
    errno = 0;
}

static void resize(size_t i, size_t n)
{
    size_t had = held[i].n;
    void *p = core_realloc(held[i].block, n, "realloc");
    if (p == NULL) {
        REQUIRE(errno == ENOMEM);
        errno = 0;
        REQUIRE(pattern_is(held[i].block, had, i));
        return;
    }
    REQUIRE(errno == 0 && pattern_is(p, min_size(n, had), i));
    pattern_write(p, n, i);
    held[i].block = p;
    held[i].n = n;
}

static void realloc_growth(void)
{
    for (int i = 0; i < 3; i++)
        keep(malloc_fast(10), 10, 16);
    for (size_t n = 20; held_count > 0 && n < MIB(3); n += n * 2 / 3) {
        for (size_t i = 0; i < held_count; i++)
            resize(i, n + i);
    }
    for (size_t n = MIB(2); held_count > 0 && n > 10; n /= 3)
        resize(0, n);
}

static void aligned(void)
{
    for (size_t align = 16; align <= MIB(4); align *= 4) {
        for (size_t n = 1; n < 200000; n = n * 7 + 1)
            keep(core_aligned(align, n), n, align);
    }
}

static void *live_shortly(void *arg)
{
    (void)arg;
    errno = 0;
    void *p = malloc_fast(300);
    REQUIRE(p != NULL || errno == ENOMEM);
    errno = 0;
    void *q = malloc_fast(30000);
    REQUIRE(q != NULL || errno == ENOMEM);
    free_fast(q);
    if (p != NULL)
        pattern_write(p, 300, 11);
    return p;
}

static void threads(void)
{
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        void *p = NULL;
        REQUIRE(pthread_create(&thread, NULL, live_shortly, NULL) == 0);
        pthread_join(thread, &p);
        errno = 0;
        REQUIRE(p == NULL || pattern_is(p, 300, 11));
        if (i % 2 == 0)
            keep(malloc_fast(300), 300, 16);
        free_fast(p);
    }
}

static void forks(void)
{
    all_classes();
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        large();
        const char *broken = heap_broken();
        if (broken != NULL)
            require_failed(broken, "child", 0);
        scenario_end();
        _exit(0);
    }
    int status = -1;
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    errno = 0;
    keep(malloc_fast(5000), 5000, 16);
}

/* Passes by age while slabs are full of holes, with dirty runs of every length, some long enough to
 * be unmapped. */
static void purges(void)
{
    for (int i = 0; i < 800; i++)
        keep(malloc_fast(6000), 6000, 16);
    for (size_t n = 20000; n < MIB(12); n *= 3)
        keep(malloc_fast(n), n, 4096);
    for (size_t i = 0; i < held_count; i++) {
        if (i / 3 % 7 != 0)
            release(i);
    }
    for (int i = 0; i < 3; i++) {
        fake.now_ms += 700;
        purge_note(MIB(2));
    }
    for (int i = 0; i < 400; i++)
        keep(malloc_fast(6000), 6000, 16);
    for (size_t n = 20000; n < MIB(12); n *= 3)
        keep(malloc_fast(n), n, 4096);
}

static void trims(void)
{
    one_class();
    for (size_t i = 0; i < held_count; i++) {
        if (i % 50 != 0)
            release(i);
    }
    errno = 0;
    core_trim();
    REQUIRE(errno == 0);
    one_class();
    core_trim();
}

static void statistics(void)
{
    all_classes();
    large();
    struct mallinfo2 m = stats_mallinfo2();
    REQUIRE(m.uordblks + m.fordblks == m.arena);
    stats_print();
}

/* Guards, hidden pages, addresses that wait and come back: each of their calls may be refused. */
static void guards(void)
{
    REQUIRE(harden_begin(HARDEN_FULL));
    realloc_growth();
    large();
    for (int i = 0; i < 3; i++) {
        size_t k = held_count;
        keep(malloc_fast(MIB(9)), MIB(9), 16);
        if (held_count > k)
            release(k);
    }
    trims();
}

static void samples(void)
{
    sample_begin(50);
    errno = 0; /* the unwinder was loaded */
    realloc_growth();
    one_class();
    aligned();
}

const struct scenario scenarios[] = {
    {"start", start},
    {"one class", one_class},
    {"all classes", all_classes},
    {"calloc", zeroed},
    {"large", large},
    {"huge", huge},
    {"realloc", realloc_growth},
    {"aligned", aligned},
    {"threads", threads},
    {"fork", forks},
    {"purge", purges},
    {"trim", trims},
    {"statistics", statistics},
    {"guards", guards},
    {"samples", samples},
};
const unsigned scenario_count = sizeof scenarios / sizeof *scenarios;
