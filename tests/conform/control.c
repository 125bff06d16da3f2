/* mallopt, malloc_trim, mallinfo, mallinfo2, malloc_stats, malloc_info: they must tell the truth
   about the heap that malloc uses. `control --xml` prints malloc_info for an XML parser. */
#include "check.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N_BLOCKS = 10486, BLOCK_BYTES = 1000 };

static char *blocks[N_BLOCKS];

static void allocate_10_mib(void)
{
    for (int i = 0; i < N_BLOCKS; i++) {
        blocks[i] = check_hide(malloc(BLOCK_BYTES));
        CHECK(blocks[i] != NULL, "malloc(1000): got NULL");
        memset(blocks[i], 1, BLOCK_BYTES);
    }
}

static void free_10_mib(void)
{
    for (int i = 0; i < N_BLOCKS; i++)
        free(blocks[i]);
}

static void mallopt_accepts_known_parameters(void)
{
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt(M_MMAP_THRESHOLD): expected 1");
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1, "mallopt(M_TRIM_THRESHOLD): expected 1");
    CHECK(mallopt(M_TOP_PAD, 1 << 16) == 1, "mallopt(M_TOP_PAD): expected 1");
    CHECK(mallopt(M_MMAP_MAX, 100) == 1, "mallopt(M_MMAP_MAX): expected 1");
    CHECK(mallopt(M_ARENA_MAX, 2) == 1, "mallopt(M_ARENA_MAX): expected 1");
    void *p = check_hide(malloc(1000));
    CHECK(p != NULL, "malloc after mallopt: got NULL");
    free(p);
}

static void mallinfo2_counts_small_blocks(void)
{
    size_t before = mallinfo2().uordblks;
    allocate_10_mib();
    size_t grown = mallinfo2().uordblks - before;
    CHECK(grown >= (size_t)N_BLOCKS * BLOCK_BYTES,
          "10,486,000 bytes allocated: expected uordblks to grow by at least that, got %zu", grown);
    CHECK(grown <= (size_t)N_BLOCKS * BLOCK_BYTES / 100 * 113,
          "10,486,000 bytes allocated: expected uordblks to grow by at most 13 %% more, got %zu",
          grown);
    free_10_mib();
    size_t after = mallinfo2().uordblks;
    CHECK(after <= before + 100000, "all freed: expected uordblks near %zu, got %zu", before,
          after);
}

static void mallinfo2_counts_large_blocks(void)
{
    struct mallinfo2 before = mallinfo2();
    char *p = check_hide(malloc((size_t)100 << 20));
    struct mallinfo2 during = mallinfo2();
    free(p);
    struct mallinfo2 after = mallinfo2();
    size_t used_before = before.uordblks + before.hblkhd;
    size_t used_during = during.uordblks + during.hblkhd;
    size_t used_after = after.uordblks + after.hblkhd;
    CHECK(used_during - used_before >= (size_t)100 << 20,
          "100 MiB allocated: expected uordblks + hblkhd to grow by that, got %zu",
          used_during - used_before);
    CHECK(used_after <= used_before + 100000, "freed again: expected %zu in use, got %zu",
          used_before, used_after);
}

static void mallinfo_agrees_with_mallinfo2(void)
{
    allocate_10_mib();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
    struct mallinfo2 wide = mallinfo2();
    CHECK((size_t)narrow.uordblks == wide.uordblks, "expected uordblks %zu from both, mallinfo: %d",
          wide.uordblks, narrow.uordblks);
    CHECK(wide.arena + wide.hblkhd >= wide.uordblks,
          "expected arena + hblkhd (%zu) to hold uordblks (%zu)", wide.arena + wide.hblkhd,
          wide.uordblks);
    free_10_mib();
}

static void *free_in_thread(void *unused)
{
    (void)unused;
    free_10_mib();
    return NULL;
}

static void mallinfo2_sees_frees_of_other_threads(void)
{
    size_t before = mallinfo2().uordblks;
    allocate_10_mib();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_in_thread, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
    size_t after = mallinfo2().uordblks;
    CHECK(after <= before + 200000,
          "all freed by another thread: expected uordblks near %zu, got %zu", before, after);
}

static void *allocate_in_thread(void *unused)
{
    (void)unused;
    allocate_10_mib();
    return NULL;
}

static void mallinfo2_sees_blocks_of_other_threads(void)
{
    size_t before = mallinfo2().uordblks;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_in_thread, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
    size_t after = mallinfo2().uordblks;
    CHECK(after - before >= (size_t)N_BLOCKS * BLOCK_BYTES,
          "10,486,000 bytes allocated by a thread that ended: expected that growth, got %zu",
          after - before);
    free_10_mib();
}

static void malloc_trim_returns_memory(void)
{
    enum { N = 100 };
    static char *pieces[N];
    for (int i = 0; i < N; i++) {
        pieces[i] = check_hide(malloc(100000));
        memset(pieces[i], 1, 100000);
    }
    allocate_10_mib();
    free_10_mib();
    for (int i = 0; i < N; i++)
        free(pieces[i]);
    errno = 1234;
    int code = malloc_trim(0);
    CHECK(code == 0 || code == 1, "malloc_trim(0): expected 0 or 1, got %d", code);
    CHECK(errno == 1234, "malloc_trim: expected errno unchanged, got %d", errno);
    CHECK(check_resident_bytes() < (size_t)9 << 20,
          "20 MiB freed and trimmed: expected less than 9 MiB resident, got %zu KiB",
          check_resident_bytes() >> 10);
}

static void malloc_trim_tells_when_there_was_nothing(void)
{
    allocate_10_mib();
    free_10_mib();
    malloc_trim(0);
    CHECK(malloc_trim(0) == 0, "malloc_trim again with nothing to give: expected 0, got 1");
}

static void malloc_trim_reaches_other_threads_memory(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_in_thread, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
    free_10_mib();
    malloc_trim(0);
    CHECK(check_resident_bytes() < (size_t)9 << 20,
          "10 MiB of an ended thread freed and trimmed: expected less than 9 MiB resident, got "
          "%zu KiB",
          check_resident_bytes() >> 10);
}

static void malloc_stats_prints_to_stderr(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0, "pipe");
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    malloc_stats();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(ends[1]);
    char text[4096];
    ssize_t n = read(ends[0], text, sizeof text);
    CHECK(n > 20, "malloc_stats: expected text on stderr, got %zd bytes", n);
}

static void malloc_info_refuses_options(void)
{
    FILE *sink = fopen("/dev/null", "w");
    int code = malloc_info(7, sink);
    CHECK(code != 0, "malloc_info(7, f): expected a refusal, got 0");
    CHECK(malloc_info(0, sink) == 0, "malloc_info(0, f): expected 0");
    fclose(sink);
}

static int print_xml(void)
{
    allocate_10_mib();
    char *large = check_hide(malloc(3000000));
    for (int i = 0; i < N_BLOCKS; i += 2)
        free(blocks[i]);
    int code = malloc_info(0, stdout);
    free(large);
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--xml") == 0)
        return print_xml();
#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct check_case cases[] = {
        C(mallopt_accepts_known_parameters),
        C(mallinfo2_counts_small_blocks),
        C(mallinfo2_counts_large_blocks),
        C(mallinfo_agrees_with_mallinfo2),
        C(mallinfo2_sees_frees_of_other_threads),
        C(mallinfo2_sees_blocks_of_other_threads),
        C(malloc_trim_returns_memory),
        C(malloc_trim_tells_when_there_was_nothing),
        C(malloc_trim_reaches_other_threads_memory),
        C(malloc_stats_prints_to_stderr),
        C(malloc_info_refuses_options),
    };
    return check_main(argc, argv, CHECK_CASES(cases));
}
