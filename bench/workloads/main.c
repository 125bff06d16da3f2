/* workload NAME [SCALE]: runs one workload and prints one line of key=value.
 * workload --list: prints "NAME<tab>what it is" for each. */
#include "workloads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct workload {
    const char *name;
    const char *what;
    struct outcome (*run)(double scale);
};

static const struct workload workloads[] = {
    {"pairs", "one block allocated and freed at once, 16 sizes from 16 to 1000 B", pairs_run},
    {"batches", "100 blocks of 16 to 512 B, then all freed in order", batches_run},
    {"replace-small", "random replacement in 10,000 slots, 16 to 128 B", replace_small_run},
    {"replace-wide", "random replacement in 10,000 slots, 16 to 1024 B", replace_wide_run},
    {"replace-threads",
     "4 threads, each replaces random ones of its own 5,000 blocks, 16 to 2000 B",
     replace_threads_run},
    {"replace-large", "4 threads, each replaces random ones of its own 20 buffers, 20 to 128 KiB",
     replace_large_run},
    {"server", "4 lines of threads, each hands 5000 blocks to its successor (larson's pattern)",
     server_run},
    {"larson", "2 such lines, of which each block's first 16 bytes are written only", larson_run},
    {"pipeline", "2 threads allocate, 2 others free, 16 to 256 B (xmalloc's pattern)",
     pipeline_run},
    {"pipeline-wide", "the same with 2 to 8 KiB, of which only the head is written",
     pipeline_wide_run},
    {"phases", "8 threads a phase, new ones each phase, a quarter survives (mstress's pattern)",
     phases_run},
    {"pareto", "random replacement, sizes by a power law up to 64 KiB", pareto_run},
    {"mixed", "4 threads, 16 B to 16 KiB, one block in 8 freed by another thread", mixed_run},
    {"bursts",
     "2 threads, bursts of zeroed blocks of 16 B to 16 KiB, some handed on (rptest's pattern)",
     bursts_run},
    {"lifofifo", "2 threads, runs of 4000 blocks, half freed first-in, half last-in first",
     lifofifo_run},
    {"buffers", "12 buffers of 256 KiB to 8 MiB, replaced at random", buffers_run},
    {"vectors", "arrays that grow by realloc, many small and one of 64 MiB", vectors_run},
    {"strings", "a dictionary of words, lines joined, split and counted", strings_run},
    {"trees", "a treap with values under insert and erase, and short-lived binary trees",
     trees_run},
    {"ageing", "a day of a server: sessions and a cache whose sizes shift with the hour",
     ageing_run},
    {"bulk", "linked records built up to about 100 MiB and torn down, three times", bulk_run},
    {"swiss", "100,000 blocks of 1000 B, a random 90 % freed, 3 s idle", swiss_run},
    {"swiss64", "2,000,000 blocks of 64 B, a random 90 % freed, 3 s idle", swiss64_run},
    {"threads", "many short threads of 64 blocks each", threads_short_run},
    {"start", "/bin/true started 1200 times", start_run},
};

enum { WORKLOAD_COUNT = sizeof workloads / sizeof *workloads };

static int print_list(void)
{
    for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
        printf("%s\t%s\n", workloads[i].name, workloads[i].what);
    }
    return 0;
}

static int run_workload(const struct workload *workload, double scale)
{
    struct outcome outcome = workload->run(scale);

    if (outcome.tally.born != outcome.tally.died) {
        fprintf(stderr,
                "workload: %s: blocks were lost or damaged: tags written add up to %016" PRIx64
                ", tags read back to %016" PRIx64 "\n",
                workload->name, outcome.tally.born, outcome.tally.died);
        return 1;
    }
    printf("operations=%" PRIu64 " checksum=%016" PRIx64 " idle_ms=%" PRIu64 " live_kib=%" PRIu64
           " rss_after_kib=%" PRIu64 "\n",
           outcome.tally.operations, outcome.tally.born, outcome.idle_ms, outcome.live_kib,
           outcome.rss_after_kib);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        return print_list();
    }
    double scale = argc == 3 ? strtod(argv[2], NULL) : 1.0;
    if (argc < 2 || argc > 3 || scale <= 0) {
        fprintf(stderr, "usage: workload NAME [SCALE above 0]; workload --list names them\n");
        return 2;
    }
    for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
        if (strcmp(workloads[i].name, argv[1]) == 0) {
            return run_workload(&workloads[i], scale);
        }
    }
    fprintf(stderr, "workload: no workload is called \"%s\"; workload --list names them\n",
            argv[1]);
    return 2;
}
