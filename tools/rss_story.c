#include "rss_story.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is not worth a sentence, in per cent of RSS. */
#define LEAST_SHARE 1.0

/* A share of the process, as it is told. */
struct share {
    size_t bytes;
    const char *what;
    const char *advice; /* the command to type if this is what stands out; %s is the process */
};

static void say(struct rss_story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct rss_story *story, const char *format, ...)
{
    va_list arguments;
    if (story->n_sentences == most_sentences)
        return;
    va_start(arguments, format);
    vsnprintf(story->sentences[story->n_sentences++], sentence_chars, format, arguments);
    va_end(arguments);
}

static double mebibytes(size_t bytes)
{
    return (double)bytes / 1048576;
}

static double percent(size_t bytes, const struct ration_stats *stats)
{
    return stats->rss_bytes == 0 ? 0 : 100.0 * (double)bytes / (double)stats->rss_bytes;
}

static int compare_shares(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* The class whose free slots cost most memory. */
static const struct ration_class_stats *emptiest_class(const struct ration_stats *stats)
{
    const struct ration_class_stats *found = &stats->classes[0];
    size_t most = 0;
    for (int c = 0; c < RATION_CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &stats->classes[c];
        const size_t live = k->live * k->slot_bytes;
        const size_t empty = k->resident_bytes > live ? k->resident_bytes - live : 0;
        if (empty > most) {
            most = empty;
            found = k;
        }
    }
    return found;
}

static int list_shares(const struct ration_stats *stats, struct share *shares)
{
    const struct ration_memory *parts = stats->parts;
    const struct share all[] = {
        {parts[RATION_PART_LIVE_SMALL].resident_bytes, "are live blocks of up to 16 KiB",
         "ration leaks -- PROGRAM     (which of the live blocks nobody can reach any more)"},
        {parts[RATION_PART_LIVE_LARGE].resident_bytes, "are live blocks above 16 KiB",
         "ration leaks -- PROGRAM     (which of the live blocks nobody can reach any more)"},
        {stats->not_own_bytes,
         "are not the allocator's: the program's code and libraries, stacks, files and mappings of "
         "its own",
         "pmap -x %s     (what else is mapped)"},
        {parts[RATION_PART_FREE].resident_bytes + parts[RATION_PART_TAILS].resident_bytes,
         "are free slots on pages that live blocks hold: fragmentation",
         "ration stats %s     (which size classes have more slots than live blocks)"},
        {parts[RATION_PART_DIRTY].resident_bytes,
         "are free pages on their way back to the system, purge_delay after they were freed",
         "ration run --purge-delay=0 -- PROGRAM     (free pages go back at once, for some time)"},
        {parts[RATION_PART_CACHED].resident_bytes,
         "are free slots in the hands of threads, for their next allocations",
         "ration stats %s     (how many threads hold them)"},
        {parts[RATION_PART_HELD_BACK].resident_bytes, "were freed and are held back by hardening",
         "ration run --harden=off -- PROGRAM     (without quarantine)"},
        {parts[RATION_PART_TABLES].resident_bytes, "are the allocator's own tables",
         "ration stats %s     (what they describe)"},
    };
    memcpy(shares, all, sizeof all);
    qsort(shares, sizeof all / sizeof *all, sizeof *shares, compare_shares);
    return sizeof all / sizeof *all;
}

void rss_story_tell(struct rss_story *story, const struct ration_stats *stats, const char *who)
{
    struct share shares[8];
    const int n = list_shares(stats, shares);
    const size_t live = stats->parts[RATION_PART_LIVE_SMALL].resident_bytes +
                        stats->parts[RATION_PART_LIVE_LARGE].resident_bytes;
    size_t told = 0;
    *story = (struct rss_story){.n_sentences = 0};
    say(story,
        "The process has %.1f MiB in memory (RSS); %.1f MiB of them, %.0f %%, hold its %zu live "
        "blocks.",
        mebibytes(stats->rss_bytes), mebibytes(live), percent(live, stats),
        stats->live_small_blocks + stats->live_large_blocks);
    for (int i = 0; i < n; i++) {
        if (percent(shares[i].bytes, stats) < LEAST_SHARE)
            continue;
        told += shares[i].bytes;
        say(story, "%.1f MiB, %.0f %%, %s.", mebibytes(shares[i].bytes),
            percent(shares[i].bytes, stats), shares[i].what);
    }
    if (stats->rss_bytes > told)
        say(story, "%.1f MiB are the rest.", mebibytes(stats->rss_bytes - told));
    const struct ration_class_stats *k = emptiest_class(stats);
    const size_t empty = stats->parts[RATION_PART_FREE].resident_bytes;
    if (percent(empty, stats) >= 5 && k->slots > 0)
        say(story, "Most free slots are of %zu bytes: %zu of %zu are live.", k->slot_bytes, k->live,
            k->slots);
    if (stats->rss_peak_bytes > stats->rss_bytes + stats->rss_bytes / 10)
        say(story, "It had %.1f MiB at its peak: %.1f MiB went back to the system since.",
            mebibytes(stats->rss_peak_bytes), mebibytes(stats->rss_peak_bytes - stats->rss_bytes));
    snprintf(story->next, sizeof story->next, "%s", shares[0].advice);
    char *mark = strstr(story->next, "%s");
    if (mark != NULL) {
        const char *rest = strstr(shares[0].advice, "%s") + 2;
        snprintf(mark, sizeof story->next - (size_t)(mark - story->next), "%s%s", who, rest);
    }
}
