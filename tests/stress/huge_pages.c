/* Huge pages do not bloat: a heap that grew large on them holds what lives and little more, and when most is freed the
 * pages go back although huge pages held them. Exit 77 where the system gives no huge pages. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 100000, BYTES = 1000, SLOT = 1024, ROW = 64, KEPT_ROW = 10, THREADS = 100 };

static char *blocks[BLOCKS];

static void fail(const char *what, long is, long limit)
{
    fprintf(stderr, "huge_pages: %s: %ld KiB, expected at most %ld\n", what, is, limit);
    exit(1);
}

/* KiB behind a key of /proc/self/smaps_rollup. */
static long figure(const char *key)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return kib;
}

static int system_gives_none(void)
{
    char line[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (f != NULL && fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    if (f != NULL)
        fclose(f);
    return line[0] == '\0' || strstr(line, "[never]") != NULL;
}

/* Many slabs of which little is used: a large heap by addresses, and one of a few MiB in truth. */
static void *hold_a_few(void *all_here)
{
    void *few[64];
    int n = 0;
    for (size_t bytes = 16; bytes <= 16384; bytes += bytes / 8 + 8) {
        few[n] = malloc(bytes);
        *(char *)few[n++] = 1;
    }
    pthread_barrier_wait(all_here);
    pthread_barrier_wait(all_here);
    while (n > 0)
        free(few[--n]);
    return NULL;
}

static void require_none_for_many_threads(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_t all_here;
    pthread_attr_t small;
    pthread_barrier_init(&all_here, NULL, THREADS + 1);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], &small, hold_a_few, &all_here) != 0)
            exit(2);
    }
    pthread_barrier_wait(&all_here);
    printf("%d threads: %ld KiB resident, in huge pages %ld\n", THREADS, figure("Rss:"),
           figure("AnonHugePages:"));
    if (figure("AnonHugePages:") > 0)
        fail("in huge pages of many threads", figure("AnonHugePages:"), 0);
    pthread_barrier_wait(&all_here);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_here);
    pthread_attr_destroy(&small);
    malloc_trim(0);
}

/* Buffers that are filled are trusted; a table far larger than any of them, and of zeros, is not. */
static void require_sparse_tables_stay_sparse(void)
{
    enum { BUFFERS = 8, BUFFER = 8 << 20, TABLE = 256 << 20, FIELDS = 64 };
    char *buffers[BUFFERS];
    for (int i = 0; i < BUFFERS; i++)
        memset(buffers[i] = malloc(BUFFER), i + 1, BUFFER);
    long full = figure("Rss:");
    long huge = figure("AnonHugePages:");
    volatile char *table = malloc(TABLE);
    volatile char *zeros = calloc(1, BUFFER);
    for (long i = 0; i < FIELDS; i++) {
        table[i * (TABLE / FIELDS)] = 1;
        zeros[i * (BUFFER / FIELDS)] = 1;
    }
    long more = figure("Rss:") - full;
    printf("buffers: %ld KiB resident, in huge pages %ld; tables with %d fields each: %ld more\n",
           full, huge, FIELDS, more);
    if (more > 2048)
        fail("resident for sparse tables", more, 2048);
}

static void require_in_child(void (*what)(void))
{
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        what();
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        exit(1);
}

int main(void)
{
    if (system_gives_none())
        return 77;
    /* In processes of their own: the page tables that they leave would keep huge pages out. */
    require_in_child(require_none_for_many_threads);
    require_in_child(require_sparse_tables_stay_sparse);
    long before = figure("Rss:");
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BYTES);
        memset(blocks[i], i, BYTES);
    }
    long live = (long)BLOCKS * SLOT / 1024;
    long grown = figure("Rss:") - before;
    long huge = figure("AnonHugePages:");
    printf("grown to %ld KiB for %ld, in huge pages %ld\n", grown, live, huge);
    if (grown > live + live / 16)
        fail("resident when grown", grown, live + live / 16);
    if (huge > live)
        fail("in huge pages", huge, live);

    for (int i = 0; i < BLOCKS; i++) {
        if (i / ROW % KEPT_ROW != 0)
            free(blocks[i]);
    }
    malloc_trim(0);
    long left = figure("Rss:") - before;
    long kept = live / KEPT_ROW;
    printf("left %ld KiB for %ld, in huge pages %ld\n", left, kept, figure("AnonHugePages:"));
    if (left > kept + kept / 4)
        fail("resident when most was freed", left, kept + kept / 4);
    if (figure("AnonHugePages:") > 2048)
        fail("in huge pages when most was freed", figure("AnonHugePages:"), 2048);
    for (int i = 0; i < BLOCKS; i++) {
        if (i / ROW % KEPT_ROW == 0 && blocks[i][BYTES - 1] != (char)i) {
            fprintf(stderr, "huge_pages: block %d is not what was written there\n", i);
            return 1;
        }
    }
    return 0;
}
