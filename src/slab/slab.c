#include "slab/slab.h"

#include "area/records.h"
#include "span/huge.h"
#include "span/span.h"

#include <string.h>

/* start_limit 0: no address passes the slot test. Neither guarded nor wide. */
struct slab no_slab = {.place = SLAB_RETIRED};

bool slabs_are_guarded;
bool slabs_are_zeroed;
uint32_t slab_records_made[CLASS_COUNT];

enum { LOOK_BACK_UNITS = 4 * HUGE_BYTES / UNIT_BYTES };

static struct slab *take_record(unsigned c)
{
    const struct size_class *k = &size_classes[c];
    unsigned padded = (unsigned)align_up(k->slots, 64);
    struct slab *s = records_take(sizeof *s + padded);
    if (s == NULL)
        return NULL;
    s->class_index = (uint8_t)c;
    for (unsigned i = k->slots; i < padded; i++)
        s->states[i] = SLOT_LIVE;
    return s;
}

static size_t offered_bytes(const struct slab *s)
{
    return (size_t)atomic_load_relaxed(&s->opened) * size_classes[s->class_index].size;
}

/* Whether the slabs before the unit were offered to three quarters: then new ones will be, too. Many threads with a slab
 * for each class, of which they use a page, fill none. So many units are looked at that a huge page adds a fifth to
 * them at most. */
static bool fills_slabs(size_t unit)
{
    unsigned seen = 0;
    size_t offered = 0;
    while (unit > 0 && seen < LOOK_BACK_UNITS) {
        const struct slab *s = atomic_load_acquire(&atomic_load_relaxed(&window.map)[--unit]);
        if (s == &no_slab)
            continue;
        seen++;
        offered += offered_bytes(s) / class_units(s->class_index);
    }
    return offered >= (size_t)LOOK_BACK_UNITS * UNIT_BYTES / 4 * 3;
}

void slab_ask_huge(const struct slab *s)
{
    if (UNLIKELY(huge_begins_in(s->base, slab_bytes(s))) && fills_slabs(window_unit(s->base)))
        huge_ask(s->base, slab_bytes(s), true);
}

struct slab *slab_create(unsigned c, struct slab *record)
{
    /* The run comes first: it can be given back, a new record cannot. */
    bool is_zero;
    size_t bytes = (size_t)class_units(c) * UNIT_BYTES;
    uintptr_t before = record != NULL ? record->base : 0;
    void *run = span_alloc_again(before, bytes, UNIT_BYTES, RUN_SLAB, &is_zero);
    if (run == NULL)
        return NULL;
    struct slab *s = record != NULL ? record : take_record(c);
    if (s == NULL) {
        span_release((uintptr_t)run, RUN_SLAB);
        return NULL;
    }
    if (record == NULL)
        atomic_add_relaxed(&slab_records_made[c], 1);
    if (slabs_are_zeroed && !is_zero)
        memset(run, 0, bytes);
    const struct size_class *k = &size_classes[c];
    s->base = (uintptr_t)run;
    s->reciprocal = k->reciprocal;
    s->start_limit = slabs_are_guarded || class_is_wide(c) ? 0 : k->start_limit;
    s->is_guarded = slabs_are_guarded;
    s->slots = (uint16_t)k->slots;
    atomic_store_relaxed(&s->opened, (uint16_t)0);
    s->fresh = is_zero || slabs_are_zeroed;
    s->purged_pages = 0;
    s->place = SLAB_LEASED;
    span_enter_slab(s->base, class_units(c), s);
    return s;
}

/* Pages that slots below `opened` may have touched. */
static size_t touched_bytes(const struct slab *s)
{
    return s->fresh ? min_size(offered_bytes(s), slab_bytes(s)) : slab_bytes(s);
}

void slab_retire(struct slab *s)
{
    s->place = SLAB_RETIRED;
    span_enter_slab(s->base, class_units(s->class_index), &no_slab);
    span_release(s->base, RUN_SLAB);
}

/* A bit for each page that slots [low, end) lie on. */
static uint64_t pages_of_slots(const struct slab *s, unsigned low, unsigned end)
{
    size_t size = size_classes[s->class_index].size;
    unsigned first = (unsigned)(low * size >> page_shift);
    unsigned last = (unsigned)((end * size - 1) >> page_shift);
    return (~(uint64_t)0 >> (63 - (last - first))) << first;
}

bool slab_slot_is_used(const struct slab *s, unsigned slot)
{
    bool was_offered = slot < s->opened || !s->fresh;
    return was_offered && (s->purged_pages & pages_of_slots(s, slot, slot + 1)) == 0;
}

/* Pages that the slots lie on: all purged? They may be touched from now on. */
static bool take_purged_mark(struct slab *s, uint64_t pages)
{
    bool all = (s->purged_pages & pages) == pages;
    s->purged_pages &= ~pages;
    return all;
}

bool slab_offer(struct slab *s, unsigned first, uint64_t mask)
{
    unsigned low = first + lowest_bit(mask);
    unsigned end = first + highest_bit(mask) + 1;
    bool is_zero = false;
    if (end > s->opened) {
        is_zero = s->fresh && low >= s->opened;
        atomic_store_relaxed(&s->opened, (uint16_t)end);
    }
    if (UNLIKELY(s->purged_pages != 0))
        is_zero |= take_purged_mark(s, pages_of_slots(s, low, end));
    return is_zero;
}

/* Slots that overlap page k: [*from, *to). */
static void slots_of_page(const struct slab *s, size_t k, unsigned *from, unsigned *to)
{
    uint32_t size = size_classes[s->class_index].size;
    size_t start = k << page_shift;
    size_t end = (k + 1) << page_shift;
    *from = (unsigned)(start / size);
    *to = (unsigned)min_size((end + size - 1) / size, s->slots);
}

static bool page_is_free(const struct slab *s, size_t k)
{
    unsigned from;
    unsigned to;
    slots_of_page(s, k, &from, &to);
    return from < to && all_zero_bytes(s->states + from, to - from);
}

size_t slab_collect_purge(struct slab *s, struct os_range *ranges, size_t max)
{
    size_t pages = (touched_bytes(s) + ((size_t)1 << page_shift) - 1) >> page_shift;
    size_t n = 0;
    size_t previous_end = 0;
    for (size_t k = 0; k < pages; k++) {
        uint64_t bit = (uint64_t)1 << k;
        if ((s->purged_pages & bit) != 0 || !page_is_free(s, k))
            continue;
        char *start = (char *)s->base + (k << page_shift);
        if (n > 0 && previous_end == k) {
            ranges[n - 1].bytes += (size_t)1 << page_shift;
        } else if (n < max) {
            ranges[n++] = (struct os_range){start, (size_t)1 << page_shift};
        } else {
            break;
        }
        previous_end = k + 1;
        s->purged_pages |= bit;
    }
    return n;
}

void slab_unmark_purged(struct slab *s, const struct os_range *range)
{
    size_t first = ((uintptr_t)range->start - s->base) >> page_shift;
    for (size_t k = 0; k << page_shift < range->bytes; k++)
        s->purged_pages &= ~((uint64_t)1 << (first + k));
}

bool slab_covers(const struct slab *s, size_t unit)
{
    if (s == &no_slab)
        return s->base == 0 && s->start_limit == 0 && s->place == SLAB_RETIRED;
    return unit - window_unit(s->base) < class_units(s->class_index);
}

static int check_map(const struct slab *s)
{
    size_t unit = window_unit(s->base);
    if (s->base % UNIT_BYTES != 0 || unit + class_units(s->class_index) > window.unit_count)
        return 1;
    for (unsigned i = 0; i < class_units(s->class_index); i++) {
        if (window.map[unit + i] != s)
            return 1;
    }
    return 0;
}

static int check_states(const struct slab *s)
{
    for (unsigned i = 0; i < padded_slots(s); i++) {
        uint8_t state = s->states[i];
        if (state > SLOT_KEPT || (state == SLOT_KEPT && !slab_is_wide(s)))
            return 2;
        if (i >= s->slots && state != SLOT_LIVE)
            return 2;
        if (i < s->slots && i >= s->opened && state == SLOT_LIVE)
            return 3;
    }
    if (s->opened > s->slots)
        return 3;
    return 0;
}

static int check_purged(const struct slab *s)
{
    for (size_t k = 0; k << page_shift < slab_bytes(s); k++) {
        unsigned from;
        unsigned to;
        slots_of_page(s, k, &from, &to);
        if ((s->purged_pages >> k & 1) != 0 && from < to &&
            !all_zero_bytes(s->states + from, to - from))
            return 4;
    }
    return 0;
}

static int check_class(const struct slab *s)
{
    const struct size_class *k = &size_classes[s->class_index];
    bool passes = !slab_is_guarded(s) && !slab_is_wide(s);
    return s->reciprocal == k->reciprocal && s->start_limit == (passes ? k->start_limit : 0) &&
                   s->slots == k->slots
               ? 0
               : 6;
}

int slab_check(const struct slab *s)
{
    int broken = check_class(s);
    if (broken == 0)
        broken = check_map(s);
    if (broken == 0)
        broken = check_states(s);
    return broken != 0 ? broken : check_purged(s);
}
