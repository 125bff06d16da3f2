/* How the cost of an allocator grows with the work. One line of JSON each:
 *
 *   scale live COUNT MIX       ns per malloc+free pair with COUNT live blocks
 *   scale steps COUNT MIX      the same loop between two SIGUSR1, for stepcount; prints its pairs
 *   scale loop COUNT MIX       the same without an allocator
 *   scale threads N PAIRS      N threads at once, PAIRS pairs each: checked, nothing printed
 *   scale overhead MIX MIB     resident memory over live bytes, MIB live: built up, and aged
 *   scale mixes                names the mixes of sizes */
#include "figures.h"
#include "workloads/common.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WINDOWS = 25,
    WINDOW_PAIRS = 10000,
    WARM_UP_PAIRS = 50000,
    STEP_PAIRS = 1500,
    THREAD_SLOTS = 500,
    AGEING_TURNS = 3,
};

struct mix {
    const char *name;
    size_t lowest, highest;
    bool is_pareto;
};

static const struct mix mixes[] = {
    {"64", 64, 64, false},
    {"16-128", 16, 128, false},
    {"16-1024", 16, 1024, false},
    {"100-2000", 100, 2000, false},
    {"pareto-64K", 16, 65536, true},
    {"16-16K", 16, 16384, false},
    {"16K-256K", 16384, 262144, false},
    {"256K-4M", 262144, 4194304, false},
};
enum { MIX_COUNT = sizeof mixes / sizeof *mixes };

static struct random draws = {.state = 77};

static const struct mix *find_mix(const char *name)
{
    for (size_t i = 0; i < MIX_COUNT; i++) {
        if (strcmp(mixes[i].name, name) == 0) {
            return &mixes[i];
        }
    }
    die("no such mix of sizes; scale mixes names them");
}

static size_t mix_size(const struct mix *mix, uint64_t drawn)
{
    return mix->is_pareto ? pick_pareto(drawn, mix->highest)
                          : pick_size(drawn, mix->lowest, mix->highest);
}

/* Memory for the bench's own tables, of which the allocator under test knows nothing; all resident. */
static void *own_table(size_t bytes)
{
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (table == MAP_FAILED) {
        die("out of memory for the bench's own table");
    }
    return table;
}

static char *take(size_t size)
{
    char *block = malloc(size);
    if (!block) {
        die("malloc returned null");
    }
    block[0] = 1;
    return block;
}

/* What the loop costs alone: the blocks were taken before, and are taken again. */
static void *same_block;
static void *loop_take(size_t size)
{
    *(volatile char *)same_block = (char)size;
    return same_block;
}

static void replace(char **slots, uint32_t count, const struct mix *mix, unsigned n_pairs)
{
    for (unsigned i = 0; i < n_pairs; i++) {
        uint64_t drawn = random_next(&draws);
        char **slot = &slots[pick_below(drawn, count)];
        free(*slot);
        *slot = take(mix_size(mix, drawn));
    }
}

static void replace_nothing(char **slots, uint32_t count, const struct mix *mix, unsigned n_pairs)
{
    for (unsigned i = 0; i < n_pairs; i++) {
        uint64_t drawn = random_next(&draws);
        char **slot = &slots[pick_below(drawn, count)];
        same_block = *slot;
        *slot = loop_take(mix_size(mix, drawn));
    }
}

typedef void (*replace_loop)(char **slots, uint32_t count, const struct mix *mix, unsigned n_pairs);

static char **fill(uint32_t count, const struct mix *mix)
{
    char **slots = own_table(count * sizeof *slots);

    for (uint32_t i = 0; i < count; i++) {
        slots[i] = take(mix_size(mix, random_next(&draws)));
    }
    replace(slots, count, mix, WARM_UP_PAIRS);
    return slots;
}

static void time_live(uint32_t count, const struct mix *mix, replace_loop loop)
{
    double sorted[WINDOWS];
    char **slots = fill(count, mix);

    for (unsigned i = 0; i < WINDOWS; i++) {
        double start = thread_nanoseconds();
        loop(slots, count, mix, WINDOW_PAIRS);
        sorted[i] = (thread_nanoseconds() - start) / WINDOW_PAIRS;
    }
    qsort(sorted, WINDOWS, sizeof *sorted, compare_doubles);
    printf("{\"min\": %.2f, \"median\": %.2f}\n", sorted[0], sorted[WINDOWS / 2]);
}

static void mark_steps(uint32_t count, const struct mix *mix)
{
    char **slots = fill(count, mix);

    raise(SIGUSR1);
    replace(slots, count, mix, STEP_PAIRS);
    raise(SIGUSR1);
}

struct worker {
    struct block *slots[THREAD_SLOTS];
    struct random random;
    struct tally tally;
    unsigned n_pairs;
};

static pthread_barrier_t all_there;

/* All threads are alive from the first pair of the first to the last of the last. */
static void *work(void *arg)
{
    struct worker *worker = arg;

    pthread_barrier_wait(&all_there);
    for (unsigned i = 0; i < worker->n_pairs; i++) {
        uint64_t drawn = random_next(&worker->random);
        struct block **slot = &worker->slots[pick_below(drawn, THREAD_SLOTS)];
        block_drop(&worker->tally, *slot);
        *slot = block_new(&worker->tally, pick_size(drawn, 16, 512), drawn);
    }
    pthread_barrier_wait(&all_there);
    for (unsigned i = 0; i < THREAD_SLOTS; i++) {
        block_drop(&worker->tally, worker->slots[i]);
    }
    return NULL;
}

static void run_threads(unsigned n_threads, unsigned n_pairs)
{
    struct worker *workers = own_table(n_threads * sizeof *workers);
    struct tally tally = {0};

    pthread_barrier_init(&all_there, NULL, n_threads);
    for (unsigned i = 0; i < n_threads; i++) {
        workers[i].random.state = 50 + i;
        workers[i].n_pairs = n_pairs;
    }
    threads_run(n_threads, work, workers, sizeof *workers);
    for (unsigned i = 0; i < n_threads; i++) {
        tally_add(&tally, &workers[i].tally);
    }
    if (tally.born != tally.died) {
        die("blocks were lost or damaged");
    }
}

/* In bytes, exact: the kernel walks the page tables, where statm's count may be some dozen pages
 * behind. */
static double exact_resident(void)
{
    char text[1024];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);

    close(file);
    if (length <= 0) {
        return (double)resident_kib() * 1024;
    }
    text[length] = '\0';
    const char *found = strstr(text, "Rss:");
    return found ? strtod(found + 4, NULL) * 1024 : 0;
}

struct sized {
    char *block;
    size_t size;
};

static void sized_new(struct sized *slot, const struct mix *mix, double *live)
{
    slot->size = mix_size(mix, random_next(&draws));
    slot->block = malloc(slot->size);
    if (!slot->block) {
        die("malloc returned null");
    }
    memset(slot->block, 1, slot->size);
    *live += (double)slot->size;
}

static void measure_overhead(const struct mix *mix, double wanted)
{
    uint32_t most = (uint32_t)(wanted / (double)mix->lowest) + 1, count = 0;
    double live = 0;
    struct sized *slots = own_table(most * sizeof *slots);
    double before = exact_resident();

    for (; live < wanted && count < most; count++) {
        sized_new(&slots[count], mix, &live);
    }
    double built = (exact_resident() - before) / live;
    for (uint64_t i = 0; i < (uint64_t)count * AGEING_TURNS; i++) {
        struct sized *slot = &slots[pick_below(random_next(&draws), count)];
        live -= (double)slot->size;
        free(slot->block);
        sized_new(slot, mix, &live);
    }
    double aged = (exact_resident() - before) / live;
    printf("{\"built\": %.4f, \"aged\": %.4f, \"live_mib\": %.1f, \"blocks\": %u}\n", built, aged,
           live / 1048576, count);
}

static int print_mixes(void)
{
    for (size_t i = 0; i < MIX_COUNT; i++) {
        puts(mixes[i].name);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (argc == 2 && strcmp(what, "mixes") == 0) {
        return print_mixes();
    }
    if (argc != 4) {
        fprintf(stderr, "usage: scale live|steps|loop COUNT MIX, scale threads N PAIRS, "
                        "scale overhead MIX MIB, scale mixes\n");
        return 2;
    }
    if (strcmp(what, "live") == 0) {
        time_live((uint32_t)atol(argv[2]), find_mix(argv[3]), replace);
    } else if (strcmp(what, "loop") == 0) {
        time_live((uint32_t)atol(argv[2]), find_mix(argv[3]), replace_nothing);
    } else if (strcmp(what, "steps") == 0) {
        mark_steps((uint32_t)atol(argv[2]), find_mix(argv[3]));
    } else if (strcmp(what, "threads") == 0) {
        run_threads((unsigned)atoi(argv[2]), (unsigned)atol(argv[3]));
    } else if (strcmp(what, "overhead") == 0) {
        measure_overhead(find_mix(argv[2]), strtod(argv[3], NULL) * 1048576);
    } else {
        die("the first word is not known; scale alone tells them");
    }
    return 0;
}
