/* The public face of the ledger: taking it, and writing it in three formats. */
#include "inspect/ledger.h"
#include "inspect/named.h"
#include "inspect/writer.h"

_Static_assert((int)RATION_CLASS_COUNT == (int)CLASS_COUNT, "the public struct has every class");
_Static_assert((int)RATION_REASON_COUNT == (int)PAGES_REASONS &&
                   (int)RATION_FOR_GUARD == (int)PAGES_GUARD &&
                   (int)RATION_FOR_MOVE == (int)PAGES_MOVE,
               "the same reasons");
_Static_assert(sizeof(struct ration_account) == sizeof(struct pages_account) &&
                   RATION_ACCOUNT_MAGIC == PAGES_MAGIC,
               "the same file");
_Static_assert((int)RATION_NO_PROCESS == (int)VIEW_NO_PROCESS &&
                   (int)RATION_DENIED == (int)VIEW_DENIED &&
                   (int)RATION_NOT_LOADED == (int)VIEW_NOT_LOADED &&
                   (int)RATION_UNREADABLE == (int)VIEW_UNREADABLE,
               "the same words");

static const struct {
    const char *words;
    const char *key; /* in JSON and OpenMetrics */
} part_names[RATION_PART_COUNT] = {
    [RATION_PART_LIVE_SMALL] = {"live small blocks", "live_small"},
    [RATION_PART_LIVE_LARGE] = {"live large blocks", "live_large"},
    [RATION_PART_HELD_BACK] = {"freed, held back", "held_back"},
    [RATION_PART_CACHED] = {"cached by threads", "cached"},
    [RATION_PART_FREE] = {"free slots in slabs", "free"},
    [RATION_PART_TAILS] = {"ends of slabs", "tails"},
    [RATION_PART_DIRTY] = {"free pages, dirty", "dirty"},
    [RATION_PART_CLEAN] = {"free pages, clean", "clean"},
    [RATION_PART_FRESH] = {"pages never used", "fresh"},
    [RATION_PART_TABLES] = {"the allocator's tables", "tables"},
};

EXPORT const char *ration_part_name(enum ration_part part)
{
    return (unsigned)part < RATION_PART_COUNT ? part_names[part].words : "?";
}

static const struct {
    const char *words;
    const char *key;
} reason_names[RATION_REASON_COUNT] = {
    [RATION_FOR_OPEN] = {"the window is opened", "open"},
    [RATION_FOR_SLABS] = {"fresh pages for small blocks", "slabs"},
    [RATION_FOR_LARGE] = {"fresh pages for large blocks", "large"},
    [RATION_FOR_VOID] = {"unmapped pages come back", "void"},
    [RATION_FOR_TABLES] = {"the allocator's tables grow", "tables"},
    [RATION_FOR_MOVE] = {"large blocks grow by moving", "move"},
    [RATION_FOR_SLOTS] = {"given back between blocks", "slots"},
    [RATION_FOR_CLEAN] = {"given back: free pages", "clean"},
    [RATION_FOR_UNMAP] = {"given back with addresses", "unmap"},
    [RATION_FOR_ADVICE] = {"huge pages refused", "advice"},
    [RATION_FOR_LOOK] = {"for those who look", "look"},
    [RATION_FOR_GUARD] = {"guard pages", "guard"},
};

EXPORT const char *ration_reason_name(enum ration_reason reason)
{
    return (unsigned)reason < RATION_REASON_COUNT ? reason_names[reason].words : "?";
}

EXPORT const char *ration_reason_key(enum ration_reason reason)
{
    return (unsigned)reason < RATION_REASON_COUNT ? reason_names[reason].key : "?";
}

EXPORT size_t ration_stats_bytes(void)
{
    return sizeof(struct ration_stats);
}

EXPORT void ration_stats_read(struct ration_stats *stats)
{
    ledger_take_own(stats, true);
}

EXPORT enum ration_status ration_stats_read_process(int pid, struct ration_stats *stats)
{
    struct view v;
    enum view_status status = pid > 0 ? view_open(&v, pid) : VIEW_NO_PROCESS;
    if (status == VIEW_OK)
        ledger_take(stats, &v, true);
    if (pid > 0)
        view_close(&v);
    return (enum ration_status)status;
}

enum { NAME_COLUMNS = 30, NUMBER_COLUMNS = 16 };

static void add_name(struct writer *w, const char *name)
{
    size_t n = 0;
    writer_add(w, "  ");
    writer_add(w, name);
    while (name[n] != '\0')
        n++;
    for (; n < NAME_COLUMNS; n++)
        writer_add(w, " ");
}

static void add_row(struct writer *w, const char *name, size_t first, size_t second)
{
    add_name(w, name);
    writer_add_column(w, first, NUMBER_COLUMNS);
    writer_add_column(w, second, NUMBER_COLUMNS);
    writer_add(w, "\n");
}

static void add_single(struct writer *w, const char *name, size_t bytes)
{
    add_name(w, name);
    writer_add_column(w, bytes, 2 * NUMBER_COLUMNS);
    writer_add(w, "\n");
}

static void write_parts(struct writer *w, const struct ration_stats *s)
{
    size_t mapped = 0;
    writer_add(w, "ration: the heap, in bytes                mapped        resident\n");
    for (int part = 0; part < RATION_PART_COUNT; part++) {
        const struct ration_memory *m = &s->parts[part];
        mapped += m->mapped_bytes;
        if (m->mapped_bytes != 0)
            add_row(w, part_names[part].words, m->mapped_bytes, m->resident_bytes);
    }
    add_row(w, "the allocator's in all", mapped, s->own_bytes);
    if (s->rss_bytes != 0) {
        add_single(w, "not the allocator's", s->not_own_bytes);
        add_single(w, "the process (RSS)", s->rss_bytes);
        add_single(w, "its peak", s->rss_peak_bytes);
    }
    if (!s->resident_is_known)
        writer_add(w, "  (the system does not tell what is resident: taken as mapped)\n");
}

static void write_classes(struct writer *w, const struct ration_stats *s)
{
    writer_add(w,
               "  class    live of   slots in  slabs   peak  cached  held back        resident\n");
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        if (k->slabs_peak == 0)
            continue;
        writer_add_column(w, k->slot_bytes, 7);
        writer_add_column(w, k->live, 8);
        writer_add_column(w, k->slots, 11);
        writer_add_column(w, k->slabs, 10);
        writer_add_column(w, k->slabs_peak, 7);
        writer_add_column(w, k->cached, 8);
        writer_add_column(w, k->held_back, 11);
        writer_add_column(w, k->resident_bytes, NUMBER_COLUMNS);
        writer_add(w, "\n");
    }
}

static void write_calls(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "  memory system calls by reason     calls           bytes    microseconds\n");
    for (int why = 0; why < RATION_REASON_COUNT; why++) {
        const struct ration_calls *c = &s->calls[why];
        if (c->calls == 0)
            continue;
        add_name(w, reason_names[why].words);
        writer_add_column(w, c->calls, 9);
        writer_add_column(w, c->bytes, NUMBER_COLUMNS);
        writer_add_column(w, c->nanoseconds / 1000, NUMBER_COLUMNS);
        writer_add(w, "\n");
    }
}

/* Where the requested size of no block is known, that is said instead of a zero. */
static void write_payload(struct writer *w, const struct ration_stats *s)
{
    if (s->sized_blocks == 0) {
        writer_add(w, "  payload and slack are not told apart: requested sizes are recorded under "
                      "harden=full, and read by the process itself\n");
        return;
    }
    add_single(w, "blocks of known request", s->sized_blocks);
    add_single(w, "their payload", s->payload_bytes);
    add_single(w, "their slack", s->slack_bytes);
}

static void write_threads(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "  thread    slabs leased      their bytes  slots cached     their bytes\n");
    for (size_t i = 0; i < s->threads_shown; i++) {
        const struct ration_thread_stats *t = &s->thread_list[i];
        writer_add_column(w, t->thread, 8);
        writer_add_column(w, t->leases, 16);
        writer_add_column(w, t->leased_bytes, 17);
        writer_add_column(w, t->cached, 14);
        writer_add_column(w, t->cached_bytes, NUMBER_COLUMNS);
        writer_add(w, "\n");
    }
    if (s->threads > s->threads_shown)
        writer_add(w, "  (and older threads)\n");
}

EXPORT int ration_stats_write_text(const struct ration_stats *stats, int fd)
{
    struct writer w;
    writer_begin(&w, fd);
    write_parts(&w, stats);
    add_single(&w, "live blocks", stats->live_small_blocks + stats->live_large_blocks);
    write_payload(&w, stats);
    add_single(&w, "threads with a cache", stats->threads);
    add_single(&w, "most of them at once", stats->threads_peak);
    add_single(&w, "most addresses in use", stats->window_peak_bytes);
    add_single(&w, "longest free run", stats->largest_free_bytes);
    write_classes(&w, stats);
    write_threads(&w, stats);
    write_calls(&w, stats);
    named_write_text(&w, stats);
    return writer_end(&w);
}

static void add_json_number(struct writer *w, const char *key, size_t n, const char *after)
{
    writer_add(w, "\"");
    writer_add(w, key);
    writer_add(w, "\": ");
    writer_add_unsigned(w, n);
    writer_add(w, after);
}

static void write_json_parts(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "  \"parts\": {\n");
    for (int part = 0; part < RATION_PART_COUNT; part++) {
        writer_add(w, "    \"");
        writer_add(w, part_names[part].key);
        writer_add(w, "\": {");
        add_json_number(w, "mapped_bytes", s->parts[part].mapped_bytes, ", ");
        add_json_number(w, "resident_bytes", s->parts[part].resident_bytes, "}");
        writer_add(w, part + 1 < RATION_PART_COUNT ? ",\n" : "\n  },\n");
    }
}

static void write_json_classes(struct writer *w, const struct ration_stats *s)
{
    const char *between = "\n";
    writer_add(w, "  \"classes\": [");
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        if (k->slabs_peak == 0)
            continue;
        writer_add(w, between);
        writer_add(w, "    {");
        add_json_number(w, "slot_bytes", k->slot_bytes, ", ");
        add_json_number(w, "slabs", k->slabs, ", ");
        add_json_number(w, "slabs_peak", k->slabs_peak, ", ");
        add_json_number(w, "slots", k->slots, ", ");
        add_json_number(w, "live", k->live, ", ");
        add_json_number(w, "cached", k->cached, ", ");
        add_json_number(w, "held_back", k->held_back, ", ");
        add_json_number(w, "resident_bytes", k->resident_bytes, "}");
        between = ",\n";
    }
    writer_add(w, "\n  ]\n");
}

static void write_json_calls(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "  \"system_calls\": {\n");
    for (int why = 0; why < RATION_REASON_COUNT; why++) {
        const struct ration_calls *c = &s->calls[why];
        writer_add(w, "    \"");
        writer_add(w, reason_names[why].key);
        writer_add(w, "\": {");
        add_json_number(w, "calls", c->calls, ", ");
        add_json_number(w, "refused", c->refused, ", ");
        add_json_number(w, "bytes", c->bytes, ", ");
        add_json_number(w, "nanoseconds", c->nanoseconds, "}");
        writer_add(w, why + 1 < RATION_REASON_COUNT ? ",\n" : "\n  },\n");
    }
}

static void write_json_threads(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "  \"thread_list\": [");
    for (size_t i = 0; i < s->threads_shown; i++) {
        const struct ration_thread_stats *t = &s->thread_list[i];
        writer_add(w, i == 0 ? "\n    {" : ",\n    {");
        add_json_number(w, "thread", t->thread, ", ");
        add_json_number(w, "leases", t->leases, ", ");
        add_json_number(w, "leased_bytes", t->leased_bytes, ", ");
        add_json_number(w, "cached", t->cached, ", ");
        add_json_number(w, "cached_bytes", t->cached_bytes, "}");
    }
    writer_add(w, s->threads_shown > 0 ? "\n  ],\n" : "],\n");
}

EXPORT int ration_stats_write_json(const struct ration_stats *stats, int fd)
{
    const struct {
        const char *key;
        size_t n;
    } numbers[] = {
        {"rss_bytes", stats->rss_bytes},
        {"rss_peak_bytes", stats->rss_peak_bytes},
        {"own_bytes", stats->own_bytes},
        {"not_own_bytes", stats->not_own_bytes},
        {"live_small_blocks", stats->live_small_blocks},
        {"live_large_blocks", stats->live_large_blocks},
        {"unmapped_bytes", stats->unmapped_bytes},
        {"window_peak_bytes", stats->window_peak_bytes},
        {"free_runs", stats->free_runs},
        {"largest_free_bytes", stats->largest_free_bytes},
        {"threads", stats->threads},
        {"threads_peak", stats->threads_peak},
        {"sized_blocks", stats->sized_blocks},
        {"payload_bytes", stats->payload_bytes},
        {"slack_bytes", stats->slack_bytes},
    };
    struct writer w;
    writer_begin(&w, fd);
    writer_add(&w, "{\n");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        writer_add(&w, "  ");
        add_json_number(&w, numbers[i].key, numbers[i].n, ",\n");
    }
    writer_add(&w, "  \"resident_is_known\": ");
    writer_add(&w, stats->resident_is_known ? "true,\n" : "false,\n");
    named_write_json(&w, stats);
    write_json_parts(&w, stats);
    write_json_calls(&w, stats);
    write_json_threads(&w, stats);
    write_json_classes(&w, stats);
    writer_add(&w, "}\n");
    return writer_end(&w);
}

static void add_gauge(struct writer *w, const char *name, const char *unit, const char *help)
{
    writer_add(w, "# TYPE ration_");
    writer_add(w, name);
    writer_add(w, " gauge\n");
    if (unit[0] != '\0') {
        writer_add(w, "# UNIT ration_");
        writer_add(w, name);
        writer_add(w, " ");
        writer_add(w, unit);
        writer_add(w, "\n");
    }
    writer_add(w, "# HELP ration_");
    writer_add(w, name);
    writer_add(w, " ");
    writer_add(w, help);
    writer_add(w, "\n");
}

static void add_sample(struct writer *w, const char *name, const char *label, const char *value,
                       size_t n)
{
    writer_add(w, "ration_");
    writer_add(w, name);
    if (label != NULL) {
        writer_add(w, "{");
        writer_add(w, label);
        writer_add(w, "=\"");
        writer_add(w, value);
        writer_add(w, "\"}");
    }
    writer_add(w, " ");
    writer_add_unsigned(w, n);
    writer_add(w, "\n");
}

static void write_part_metrics(struct writer *w, const struct ration_stats *s)
{
    add_gauge(w, "mapped_bytes", "bytes", "Address space of the allocator by what it is for.");
    for (int part = 0; part < RATION_PART_COUNT; part++)
        add_sample(w, "mapped_bytes", "part", part_names[part].key, s->parts[part].mapped_bytes);
    add_gauge(w, "resident_bytes", "bytes", "Memory of the allocator by what it is for.");
    for (int part = 0; part < RATION_PART_COUNT; part++)
        add_sample(w, "resident_bytes", "part", part_names[part].key,
                   s->parts[part].resident_bytes);
    add_gauge(w, "not_own_bytes", "bytes", "Memory of the process that is not the allocator's.");
    add_sample(w, "not_own_bytes", NULL, NULL, s->not_own_bytes);
    add_gauge(w, "rss_bytes", "bytes", "Memory of the process.");
    add_sample(w, "rss_bytes", NULL, NULL, s->rss_bytes);
    add_gauge(w, "rss_peak_bytes", "bytes", "Most memory of the process since it started.");
    add_sample(w, "rss_peak_bytes", NULL, NULL, s->rss_peak_bytes);
    add_gauge(w, "threads", "", "Threads that have a cache.");
    add_sample(w, "threads", NULL, NULL, s->threads);
}

static void write_class_metrics(struct writer *w, const struct ration_stats *s, const char *name,
                                const char *help, size_t field)
{
    add_gauge(w, name, "", help);
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        struct text size;
        if (k->slabs == 0)
            continue;
        text_clear(&size);
        text_add_unsigned(&size, k->slot_bytes);
        text_add_bytes(&size, "", 1);
        add_sample(w, name, "slot_bytes", size.chars,
                   *(const size_t *)(const void *)((const char *)k + field));
    }
}

static void write_call_metrics(struct writer *w, const struct ration_stats *s)
{
    writer_add(w, "# TYPE ration_system_calls counter\n"
                  "# HELP ration_system_calls Memory system calls by reason.\n");
    for (int why = 0; why < RATION_REASON_COUNT; why++)
        add_sample(w, "system_calls_total", "reason", reason_names[why].key, s->calls[why].calls);
}

EXPORT int ration_stats_write_openmetrics(const struct ration_stats *stats, int fd)
{
    struct writer w;
    writer_begin(&w, fd);
    write_part_metrics(&w, stats);
    write_call_metrics(&w, stats);
    write_class_metrics(&w, stats, "class_live", "Live blocks of a size class.",
                        offsetof(struct ration_class_stats, live));
    write_class_metrics(&w, stats, "class_slots", "Slots of a size class, free ones included.",
                        offsetof(struct ration_class_stats, slots));
    named_write_openmetrics(&w, stats);
    writer_add(&w, "# EOF\n");
    return writer_end(&w);
}
