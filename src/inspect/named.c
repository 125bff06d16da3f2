#include "inspect/named.h"

#include "base/atomics.h"
#include "inspect/proc.h"
#include "os/syscall.h"

#include <ration/registry.h>
#include <string.h>

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "figures are words of 8 bytes");

/* Programs and libraries with heaps of their own in them. Slots are filled in order, for ever. */
enum { REGISTRIES = 16 };
static const struct ration_registry *registries[REGISTRIES];

EXPORT int ration_registry_join(const struct ration_registry *registry)
{
    for (int i = 0; i < REGISTRIES; i++) {
        const struct ration_registry *none = NULL;
        if (atomic_cas_acquire(&registries[i], none, registry) ||
            atomic_load_relaxed(&registries[i]) == registry)
            return 0;
    }
    return -1;
}

/* --- reading: what is found may have ended, or never have been a heap --- */

/* By the system, so that an address that leads nowhere is an answer. */
static bool copy(const struct view *v, void *to, const void *from, size_t bytes)
{
    return proc_read_memory(v->pid != 0 ? v->pid : (int)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0), to,
                            (uintptr_t)from, bytes);
}

/* Text that may end right before memory that is not there. Printable, without quotes. */
static void copy_text(const struct view *v, char *to, const char *from, size_t capacity)
{
    size_t n = 0;
    while (n + 1 < capacity && copy(v, to + n, from + n, 1) && to[n] != '\0') {
        bool is_plain = to[n] >= ' ' && to[n] != '"' && to[n] != '\\' && to[n] != 127;
        if (!is_plain)
            to[n] = '_';
        n++;
    }
    memset(to + n, 0, capacity - n);
}

static uint64_t read_word(const struct view *v, const char *base, size_t offset, uint64_t otherwise)
{
    uint64_t word = otherwise;
    if (offset != 0 && !copy(v, &word, base + offset, sizeof word))
        word = otherwise;
    return word;
}

static uint64_t read_figure(const struct view *v, const char *base,
                            const struct ration_figure_place *place)
{
    if (place->plus == 0 && place->minus == 0 && place->times == 0)
        return RATION_UNKNOWN;
    return (read_word(v, base, place->plus, 0) - read_word(v, base, place->minus, 0)) *
           read_word(v, base, place->times, 1);
}

static void read_figures(const struct view *v, const struct ration_heap *at,
                         const struct ration_heap *heap, const struct ration_figures *figures,
                         struct ration_named_heap *named)
{
    uint64_t values[RATION_FIGURE_COUNT];
    const char *base = figures->are_through ? (const char *)heap->through : (const char *)at;
    for (int i = 0; i < RATION_FIGURE_COUNT; i++)
        values[i] = read_figure(v, base, &figures->places[i]);
    named->heap_bytes = values[RATION_FIGURE_HEAP_BYTES];
    named->live_bytes = values[RATION_FIGURE_LIVE_BYTES];
    named->live_blocks = values[RATION_FIGURE_LIVE_BLOCKS];
    named->n_allocs = values[RATION_FIGURE_ALLOCS];
    named->n_frees = values[RATION_FIGURE_FREES];
    named->n_failures = values[RATION_FIGURE_FAILURES];
}

/* False if no heap is there. */
static bool read_heap(const struct view *v, const struct ration_heap *at, struct ration_heap *heap,
                      struct ration_named_heap *named)
{
    struct ration_heap_ops ops;
    struct ration_figures figures = {0};
    if (!copy(v, heap, at, sizeof *heap) || !copy(v, &ops, heap->ops, sizeof ops))
        return false;
    if (ops.figures != NULL && !copy(v, &figures, ops.figures, sizeof figures))
        return false;
    copy_text(v, named->name, heap->name, sizeof named->name);
    copy_text(v, named->kind, ops.kind, sizeof named->kind);
    read_figures(v, at, heap, &figures, named);
    return true;
}

static void read_registry(const struct view *v, const struct ration_registry *at,
                          struct ration_stats *stats)
{
    enum { MOST_HEAPS = 100000 }; /* a damaged list may run in a circle */
    struct ration_registry registry;
    if (!copy(v, &registry, at, sizeof registry) || registry.version != RATION_REGISTRY_VERSION ||
        registry.handle_bytes != sizeof(struct ration_heap))
        return;
    const struct ration_heap *next = registry.first;
    for (int i = 0; next != NULL && i < MOST_HEAPS; i++) {
        struct ration_named_heap unlisted;
        struct ration_heap heap;
        bool is_listed = stats->n_heaps < RATION_NAMED_HEAPS;
        if (!read_heap(v, next, &heap, is_listed ? &stats->heaps[stats->n_heaps] : &unlisted))
            return;
        stats->n_heaps++;
        next = heap.next_published;
    }
}

void named_read(const struct view *v, struct ration_stats *stats)
{
    const struct ration_registry *known[REGISTRIES];
    if (!copy(v, (void *)known, (const char *)registries + v->shift, sizeof known))
        return;
    for (int i = 0; i < REGISTRIES && known[i] != NULL; i++)
        read_registry(v, known[i], stats);
}

/* --- writing --- */

static size_t count_listed(const struct ration_stats *stats)
{
    return min_size(stats->n_heaps, RATION_NAMED_HEAPS);
}

static void add_left(struct writer *w, const char *text, size_t columns)
{
    size_t n = strlen(text);
    writer_add(w, text);
    for (; n < columns; n++)
        writer_add(w, " ");
}

static void add_column(struct writer *w, size_t n, unsigned columns)
{
    if (n != RATION_UNKNOWN) {
        writer_add_column(w, n, columns);
        return;
    }
    add_left(w, "", columns - 1);
    writer_add(w, "-");
}

void named_write_text(struct writer *w, const struct ration_stats *stats)
{
    size_t n = count_listed(stats);
    if (n == 0)
        return;
    writer_add(w, "  the program's heaps (part of the bytes above)\n");
    writer_add(w, "    name                            kind             heap bytes    live bytes"
                  "    blocks      allocs  failures\n");
    for (size_t i = 0; i < n; i++) {
        const struct ration_named_heap *h = &stats->heaps[i];
        writer_add(w, "    ");
        add_left(w, h->name, sizeof h->name);
        add_left(w, h->kind, sizeof h->kind - 5);
        add_column(w, h->heap_bytes, 16);
        add_column(w, h->live_bytes, 14);
        add_column(w, h->live_blocks, 10);
        add_column(w, h->n_allocs, 12);
        add_column(w, h->n_failures, 10);
        writer_add(w, "\n");
    }
    if (stats->n_heaps > n) {
        writer_add(w, "    and ");
        writer_add_unsigned(w, stats->n_heaps - n);
        writer_add(w, " more\n");
    }
}

static void add_json_figure(struct writer *w, const char *key, size_t n)
{
    if (n == RATION_UNKNOWN)
        return;
    writer_add(w, ", \"");
    writer_add(w, key);
    writer_add(w, "\": ");
    writer_add_unsigned(w, n);
}

void named_write_json(struct writer *w, const struct ration_stats *stats)
{
    size_t n = count_listed(stats);
    writer_add(w, "  \"n_heaps\": ");
    writer_add_unsigned(w, stats->n_heaps);
    writer_add(w, ",\n  \"heaps\": [");
    for (size_t i = 0; i < n; i++) {
        const struct ration_named_heap *h = &stats->heaps[i];
        writer_add(w, i == 0 ? "\n    {\"name\": \"" : ",\n    {\"name\": \"");
        writer_add(w, h->name);
        writer_add(w, "\", \"kind\": \"");
        writer_add(w, h->kind);
        writer_add(w, "\"");
        add_json_figure(w, "heap_bytes", h->heap_bytes);
        add_json_figure(w, "live_bytes", h->live_bytes);
        add_json_figure(w, "live_blocks", h->live_blocks);
        add_json_figure(w, "allocs", h->n_allocs);
        add_json_figure(w, "frees", h->n_frees);
        add_json_figure(w, "failures", h->n_failures);
        writer_add(w, "}");
    }
    writer_add(w, n == 0 ? "],\n" : "\n  ],\n");
}

static void add_gauge(struct writer *w, const char *name, const char *help,
                      const struct ration_stats *stats, size_t field)
{
    writer_add(w, "# TYPE ration_");
    writer_add(w, name);
    writer_add(w, " gauge\n# UNIT ration_");
    writer_add(w, name);
    writer_add(w, " bytes\n# HELP ration_");
    writer_add(w, name);
    writer_add(w, " ");
    writer_add(w, help);
    writer_add(w, "\n");
    for (size_t i = 0; i < count_listed(stats); i++) {
        const struct ration_named_heap *h = &stats->heaps[i];
        size_t n = *(const size_t *)(const void *)((const char *)h + field);
        if (n == RATION_UNKNOWN)
            continue;
        writer_add(w, "ration_");
        writer_add(w, name);
        writer_add(w, "{heap=\"");
        writer_add(w, h->name);
        writer_add(w, "\",kind=\"");
        writer_add(w, h->kind);
        writer_add(w, "\",number=\"");
        writer_add_unsigned(w, i);
        writer_add(w, "\"} ");
        writer_add_unsigned(w, n);
        writer_add(w, "\n");
    }
}

void named_write_openmetrics(struct writer *w, const struct ration_stats *stats)
{
    if (stats->n_heaps == 0)
        return;
    add_gauge(w, "heap_bytes", "Memory of a heap that the program published.", stats,
              offsetof(struct ration_named_heap, heap_bytes));
    add_gauge(w, "heap_live_bytes", "Of it, usable bytes of live blocks.", stats,
              offsetof(struct ration_named_heap, live_bytes));
}
