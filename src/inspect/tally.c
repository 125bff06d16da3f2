#include "inspect/tally.h"

#include "area/records.h"
#include "base/fmt.h"
#include "slab/slab.h"
#include "span/span.h"

#include <string.h>

static void add_slab(struct tally *t, const struct slab *s)
{
    struct class_tally *k = &t->classes[s->class_index];
    size_t size = size_classes[s->class_index].size;
    size_t live = s->slots - slab_count_free(s);
    k->slabs++;
    k->slots += s->slots;
    k->live += live;
    t->small_live_bytes += live * size;
    t->small_free_bytes += (s->slots - live) * size;
    t->slab_bytes += slab_bytes(s);
}

/* The slab whose first unit this is, or null. */
static struct slab *slab_starting_at(size_t unit)
{
    struct slab *s = atomic_load_acquire(&window.map[unit]);
    return s != &no_slab && s->base == window.base + unit * UNIT_BYTES ? s : NULL;
}

void tally_take(struct tally *t)
{
    memset(t, 0, sizeof *t);
    size_t units = atomic_load_acquire(&window.unit_count);
    for (size_t u = 0; u < units; u++) {
        const struct slab *s = slab_starting_at(u);
        if (s != NULL)
            add_slab(t, s);
    }
    struct span_counts counts;
    span_count(&counts);
    t->large_live_bytes = counts.pages[RUN_LARGE] << page_shift;
    t->large_blocks = counts.runs[RUN_LARGE];
    t->dirty_bytes = (counts.pages[RUN_DIRTY] + counts.pages[RUN_HELD]) << page_shift;
    t->clean_bytes = counts.pages[RUN_CLEAN] << page_shift;
    t->void_bytes = counts.pages[RUN_VOID] << page_shift;
    t->mapped_bytes = counts.mapped_bytes - t->void_bytes;
    t->record_bytes = records_used_bytes();
}

struct block_visit {
    uintptr_t base;
    size_t bytes;
    void (*visit)(uintptr_t block, size_t usable, void *arg);
    void *arg;
};

static void visit_slab(const struct block_visit *v, const struct slab *s)
{
    uint32_t size = size_classes[s->class_index].size;
    for (unsigned i = 0; i < s->slots; i++) {
        uintptr_t block = s->base + (uintptr_t)i * size;
        if (block - v->base < v->bytes && byte_is(&s->states[i], SLOT_LIVE))
            v->visit(block, size, v->arg);
    }
}

void tally_visit_blocks(uintptr_t base, size_t bytes,
                        void (*visit)(uintptr_t block, size_t usable, void *arg), void *arg)
{
    struct block_visit v = {.base = base, .bytes = bytes, .visit = visit, .arg = arg};
    size_t units = atomic_load_acquire(&window.unit_count);
    for (size_t u = 0; u < units; u++) {
        const struct slab *s = slab_starting_at(u);
        if (s != NULL) {
            visit_slab(&v, s);
            continue;
        }
        uintptr_t start = window.base + u * UNIT_BYTES;
        for (uintptr_t at = start; at < start + UNIT_BYTES; at += (uintptr_t)1 << page_shift) {
            size_t large = span_in_use_bytes(at, RUN_LARGE);
            if (large != 0 && at - base < bytes)
                visit(at, large, arg);
        }
    }
}

struct line {
    const char *name;
    size_t bytes;
};

static void add_line(struct text *text, const char *name, size_t bytes)
{
    text_add(text, "  ");
    text_add(text, name);
    for (size_t n = strlen(name); n < 34; n++)
        text_add(text, " ");
    text_add_unsigned(text, bytes);
    text_add(text, "\n");
}

void tally_print(const struct tally *t, void (*write)(const char *chars, size_t n))
{
    const struct line lines[] = {
        {"live small blocks (usable bytes)", t->small_live_bytes},
        {"live large blocks", t->large_live_bytes},
        {"free slots in slabs", t->small_free_bytes},
        {"free, may hold memory (dirty)", t->dirty_bytes},
        {"free, costs no memory (clean)", t->clean_bytes},
        {"records", t->record_bytes},
        {"mapped in all", t->mapped_bytes},
    };
    struct text text;
    text_clear(&text);
    text_add(&text, "ration: the heap, in bytes\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        add_line(&text, lines[i].name, lines[i].bytes);
    write(text.chars, text.used);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct class_tally *k = &t->classes[c];
        if (k->slabs == 0)
            continue;
        text_clear(&text);
        text_add(&text, "  class ");
        text_add_unsigned(&text, size_classes[c].size);
        text_add(&text, ": ");
        text_add_unsigned(&text, k->live);
        text_add(&text, " live of ");
        text_add_unsigned(&text, k->slots);
        text_add(&text, " slots in ");
        text_add_unsigned(&text, k->slabs);
        text_add(&text, " slabs\n");
        write(text.chars, text.used);
    }
}
