/* show_alloc_mem() and show_alloc_mem_ex(): every live block as a line. */
#include "callers/places.h"
#include "inspect/proc.h"
#include "inspect/walk.h"
#include "inspect/writer.h"
#include "os/syscall.h"
#include "record/record.h"

enum {
    TINY_MAX = 128,
    SMALL_ZONE_MAX = 1024,
    DUMP_BYTES = 32,
    DUMP_ROW = 16,
    SHOWN_EVENTS = 4,
    SHOWN_CALLERS = 5
};

struct show {
    struct writer w;
    size_t total;
    size_t blocks;
    size_t free_slots;
    bool is_extended;
};

static const char *zone_name(const struct walk_zone *zone)
{
    uint32_t size = zone->slab == NULL ? UINT32_MAX : size_classes[zone->slab->class_index].size;
    return size <= TINY_MAX ? "TINY" : size <= SMALL_ZONE_MAX ? "SMALL" : "LARGE";
}

static void show_zone_line(struct show *s, const struct walk_zone *zone)
{
    writer_add(&s->w, zone_name(zone));
    writer_add(&s->w, " : ");
    writer_add_address(&s->w, zone->start);
    writer_add(&s->w, "\n");
}

static void show_range(struct show *s, uintptr_t start, size_t bytes)
{
    writer_add_address(&s->w, start);
    writer_add(&s->w, " - ");
    writer_add_address(&s->w, start + bytes);
    writer_add(&s->w, " : ");
    writer_add_unsigned(&s->w, bytes);
    writer_add(&s->w, " bytes\n");
}

/* Another thread may free the block meanwhile, and its pages may be unmapped: the system copies the
 * bytes and tells. */
static void show_bytes(struct show *s, uintptr_t start)
{
    unsigned char bytes[DUMP_BYTES];
    if (!proc_read_memory((int)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0), bytes, start, sizeof bytes))
        return;
    for (size_t row = 0; row < DUMP_BYTES; row += DUMP_ROW) {
        char chars[DUMP_ROW];
        writer_add(&s->w, "   ");
        for (size_t i = 0; i < DUMP_ROW; i++) {
            unsigned char byte = bytes[row + i];
            chars[i] = (char)(byte >= ' ' && byte <= '~' ? byte : '.');
            writer_add(&s->w, " ");
            writer_add_byte(&s->w, byte);
        }
        writer_add(&s->w, "  ");
        writer_add_bytes(&s->w, chars, sizeof chars);
        writer_add(&s->w, "\n");
    }
}

static void show_callers(struct show *s, const struct ration_history_event *event)
{
    for (size_t i = 0; i < event->n_callers && i < SHOWN_CALLERS; i++) {
        struct text t;
        text_clear(&t);
        place_add(&t, event->callers[i]);
        writer_add(&s->w, "      #");
        writer_add_unsigned(&s->w, i);
        writer_add(&s->w, " ");
        writer_add_bytes(&s->w, t.chars, t.used);
        writer_add(&s->w, "\n");
    }
}

/* The last events of the address, the latest first, if they are recorded. */
static void show_history(struct show *s, uintptr_t start)
{
    struct ration_history_event events[SHOWN_EVENTS];
    size_t n = ration_history((const void *)start, events, SHOWN_EVENTS);
    for (size_t i = 0; i < n; i++) {
        bool is_free = events[i].kind == RATION_HISTORY_FREED;
        writer_add(&s->w, is_free ? "    freed by thread " : "    allocated by thread ");
        writer_add_unsigned(&s->w, events[i].thread);
        writer_add(&s->w, ", ");
        writer_add_unsigned(&s->w, events[i].age_ms);
        writer_add(&s->w, " ms ago");
        if (!is_free) {
            writer_add(&s->w, ", ");
            writer_add_unsigned(&s->w, events[i].bytes);
            writer_add(&s->w, " bytes");
        }
        writer_add(&s->w, events[i].n_callers > 0 ? ", from\n" : "\n");
        show_callers(s, &events[i]);
    }
}

static void show_block(struct show *s, uintptr_t start, size_t bytes)
{
    show_range(s, start, bytes);
    s->total += bytes;
    s->blocks++;
    if (s->is_extended && bytes >= DUMP_BYTES)
        show_bytes(s, start);
    if (s->is_extended)
        show_history(s, start);
}

static unsigned count_live(const struct slab *slab)
{
    unsigned live = 0;
    for (unsigned i = 0; i < slab->slots; i++)
        live += slab->states[i] == SLOT_LIVE;
    return live;
}

/* Rows of free slots of a zone as one line each. */
static void show_free_slots(struct show *s, const struct slab *slab, unsigned from, unsigned to)
{
    uint32_t size = size_classes[slab->class_index].size;
    writer_add(&s->w, "  free ");
    writer_add_address(&s->w, slab->base + (uintptr_t)from * size);
    writer_add(&s->w, " - ");
    writer_add_address(&s->w, slab->base + (uintptr_t)to * size);
    writer_add(&s->w, " : ");
    writer_add_unsigned(&s->w, to - from);
    writer_add(&s->w, " slots\n");
    s->free_slots += to - from;
}

static void show_occupancy(struct show *s, const struct slab *slab, unsigned live)
{
    writer_add(&s->w, "  ");
    writer_add_unsigned(&s->w, live);
    writer_add(&s->w, " of ");
    writer_add_unsigned(&s->w, slab->slots);
    writer_add(&s->w, " slots of ");
    writer_add_unsigned(&s->w, size_classes[slab->class_index].size);
    writer_add(&s->w, " bytes in use, ");
    writer_add_unsigned(&s->w, live * 100ULL / slab->slots);
    writer_add(&s->w, " %\n");
}

static int show_zone(const struct walk_zone *zone, void *arg)
{
    struct show *s = arg;
    const struct slab *slab = zone->slab;
    if (slab == NULL) {
        show_zone_line(s, zone);
        size_t asked = record_requested(zone->start);
        show_block(s, zone->start, asked != SIZE_MAX ? asked : zone->bytes);
        return 0;
    }
    uint32_t size = size_classes[slab->class_index].size;
    unsigned live = count_live(slab);
    if (live == 0)
        return 0;
    show_zone_line(s, zone);
    if (s->is_extended)
        show_occupancy(s, slab, live);
    for (unsigned i = 0; i < slab->slots; i++) {
        unsigned first = i;
        if (slab->states[i] == SLOT_LIVE) {
            uintptr_t block = slab->base + (uintptr_t)i * size;
            size_t requested = walk_requested(slab, block);
            show_block(s, block, requested != RATION_UNKNOWN ? requested : size);
            continue;
        }
        while (i + 1U < slab->slots && slab->states[i + 1] != SLOT_LIVE)
            i++;
        if (s->is_extended)
            show_free_slots(s, slab, first, i + 1);
    }
    return 0;
}

static void show(bool is_extended)
{
    struct show s = {.is_extended = is_extended};
    writer_begin(&s.w, 1);
    walk_zones(0, UINTPTR_MAX, show_zone, &s);
    writer_add(&s.w, "Total : ");
    writer_add_unsigned(&s.w, s.total);
    writer_add(&s.w, " bytes\n");
    if (is_extended) {
        writer_add_unsigned(&s.w, s.blocks);
        writer_add(&s.w, " blocks, ");
        writer_add_unsigned(&s.w, s.free_slots);
        writer_add(&s.w, " free slots beside them\n");
    }
    writer_end(&s.w);
}

EXPORT void show_alloc_mem(void)
{
    show(false);
}

EXPORT void show_alloc_mem_ex(void)
{
    show(true);
}
