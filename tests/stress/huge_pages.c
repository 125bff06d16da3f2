/* Huge pages do not bloat: a heap that grew large on them holds what lives and little more, and when most is freed the
 * pages go back although huge pages held them. Exit 77 where the system gives no huge pages. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 100000, BYTES = 1000, SLOT = 1024, ROW = 64, KEPT_ROW = 10 };
#define HUGE_FROM (32L << 10) /* KiB, src/span/huge.c */

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

int main(void)
{
    if (system_gives_none())
        return 77;
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
    if (huge > live - HUGE_FROM + 2048)
        fail("in huge pages", huge, live - HUGE_FROM + 2048);

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
