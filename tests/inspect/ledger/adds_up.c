/* Fills a heap in several shapes with threads, lets go of part of it, and prints the ledger: JSON on
 * descriptor 1 (first argument `json`) or OpenMetrics, while nothing else happens. Then the smaps of
 * the mappings is copied to descriptor 2, so that the reader can compare the two. */
#include <fcntl.h>
#include <pthread.h>
#include <ration/stats.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 60000, THREADS = 3 };

static pthread_barrier_t filled, printed;
static int kept_one_in = 5;

static void *fill(void *seed)
{
    unsigned random = (unsigned)(size_t)seed;
    char **blocks = calloc(BLOCKS, sizeof *blocks);
    if (blocks == NULL)
        abort();
    for (int i = 0; i < BLOCKS; i++) {
        random = random * 1103515245 + 12345;
        const size_t n = (random >> 8) % (i % 100 == 0 ? 300000 : 700);
        blocks[i] = malloc(n);
        if (blocks[i] != NULL && n > 0)
            memset(blocks[i], 1, i % 7 == 0 ? 1 : n);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % kept_one_in != 0)
            free(blocks[i]);
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&printed);
    return NULL;
}

static void copy_maps(void)
{
    static char chars[65536];
    ssize_t n;
    const int fd = open("/proc/self/smaps", O_RDONLY);
    while ((n = read(fd, chars, sizeof chars)) > 0)
        if (write(2, chars, (size_t)n) != n)
            abort();
    close(fd);
}

int main(int argc, char **argv)
{
    static struct ration_stats stats;
    pthread_t threads[THREADS];
    if (argc > 2)
        kept_one_in = 97; /* so that many pages are free, and are purged */
    pthread_barrier_init(&filled, NULL, THREADS + 1);
    pthread_barrier_init(&printed, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, fill, (void *)(i + 1)) != 0)
            return 1;
    pthread_barrier_wait(&filled);
    if (argc > 2)
        usleep(1500000); /* purged meanwhile */
    ration_stats_read(&stats);
    copy_maps();
    if (argc > 1 && strcmp(argv[1], "json") == 0)
        ration_stats_write_json(&stats, 1);
    else
        ration_stats_write_openmetrics(&stats, 1);
    pthread_barrier_wait(&printed);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
