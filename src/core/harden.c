#include "core/harden.h"

#include "area/records.h"
#include "core/core.h"
#include "core/events.h"
#include "core/fence.h"
#include "core/life.h"
#include "core/misuse.h"
#include "slab/shelf.h"

#include <string.h>

enum {
    HELD_BLOCKS = 256,       /* in quarantine, per thread */
    HELD_BYTES = 256 * 1024, /* the same; a larger block waits alone */
    WIDE_CHOICE = 8, /* free slots above 2 KiB to choose from: all would touch a whole slab */
};

struct held {
    struct slab *slab;
    char *block;
};

struct quarantine {
    uint64_t random; /* state of the thread's generator */
    size_t bytes;
    unsigned count;
    struct held held[HELD_BLOCKS];
};

enum harden harden_level = HARDEN_OFF;
static uint64_t secret;

/* xorshift64 (Marsaglia, 2003), seeded by the system: places need to be unknown from outside, not to withstand study. */
static uint64_t draw(struct quarantine *q)
{
    q->random ^= q->random << 13;
    q->random ^= q->random >> 7;
    q->random ^= q->random << 17;
    return q->random;
}

static struct quarantine *quarantine_of(struct cache *cache)
{
    if (cache->quarantine == NULL) {
        struct quarantine *q = records_take(sizeof *q);
        if (q == NULL)
            return NULL;
        os->random(&q->random, sizeof q->random);
        q->random |= 1;
        cache->quarantine = q;
    }
    return cache->quarantine;
}

bool harden_begin(enum harden level)
{
    if (!events_close_fast_paths())
        return false;
    os->random(&secret, sizeof secret);
    slabs_are_zeroed = level == HARDEN_FULL;
    harden_level = level;
    fence_begin();
    return true;
}

/* The tail. The last word of a slot holds the count of bytes between the request and the word, under a key that depends
 * on the address; those bytes hold the key's lowest byte. */

static uint64_t tail_key(const char *block)
{
    uint64_t key = ((uint64_t)(uintptr_t)block ^ secret) * 0x9e3779b97f4a7c15U;
    return key ^ key >> 32;
}

static void write_tail(char *block, size_t size, size_t n)
{
    uint64_t key = tail_key(block);
    uint64_t word = key ^ (size - HARDEN_TAIL_BYTES - n);
    memset(block + n, (int)(key & 0xff), size - HARDEN_TAIL_BYTES - n);
    memcpy(block + size - HARDEN_TAIL_BYTES, &word, sizeof word);
}

/* The bytes that were asked for; if the tail's word is damaged, those before it. */
static size_t read_tail(const char *block, size_t size)
{
    uint64_t word;
    memcpy(&word, block + size - HARDEN_TAIL_BYTES, sizeof word);
    uint64_t slack = word ^ tail_key(block);
    return slack <= size - HARDEN_TAIL_BYTES ? size - HARDEN_TAIL_BYTES - slack
                                             : size - HARDEN_TAIL_BYTES;
}

/* The first byte of the tail that is not as it was written, as an offset into the slot; `size` if all are. */
static size_t find_tail_damage(const char *block, size_t size)
{
    uint64_t key = tail_key(block);
    uint64_t word;
    memcpy(&word, block + size - HARDEN_TAIL_BYTES, sizeof word);
    uint64_t slack = word ^ key;
    if (slack > size - HARDEN_TAIL_BYTES)
        return size - HARDEN_TAIL_BYTES;
    for (size_t i = size - HARDEN_TAIL_BYTES - slack; i < size - HARDEN_TAIL_BYTES; i++) {
        if ((uint8_t)block[i] != (key & 0xff))
            return i;
    }
    return size;
}

static void check_tail(const struct slab *s, const char *block, const char *function)
{
    size_t size = size_classes[s->class_index].size;
    size_t damaged = find_tail_damage(block, size);
    if (damaged < size)
        misuse_report_overflow((uintptr_t)block, read_tail(block, size), damaged, function);
}

/* H1 for a block about to change hands. */
static void check_zero(char *block, size_t size, const char *function)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, block + i, sizeof word);
        if (word == 0)
            continue;
        while (block[i] == 0)
            i++;
        misuse_report_written((uintptr_t)block, size, i, function);
        memset(block, 0, size);
        return;
    }
}

/* Allocation. */

/* A slot of the mask at random, near enough: the next one at or after a random place. */
static void *take_random(struct bin *bin, struct quarantine *q)
{
    uint64_t behind = q != NULL ? bin->mask & ~(uint64_t)0 << (draw(q) & 63) : 0;
    uint64_t slot = lowest_bit(behind != 0 ? behind : bin->mask);
    bin->mask &= ~((uint64_t)1 << slot);
    atomic_store_relaxed(&bin->states[slot], SLOT_LIVE);
    return (void *)(bin->base + bin->size * slot);
}

static void *take_wide(unsigned c, struct quarantine *q)
{
    bool is_zero;
    return shelf_take_slot(c, 0, q != NULL ? (unsigned)(draw(q) % WIDE_CHOICE) : 0, &is_zero);
}

static void *take_slot(unsigned c)
{
    struct cache *cache = life_cache();
    if (cache == NULL)
        return my_cache == &late_cache ? life_late_alloc(c) : NULL;
    if (class_is_wide(c))
        return take_wide(c, quarantine_of(cache));
    struct bin *bin = &cache->bins[c];
    if (bin->mask == 0 && !cache_refill(cache, c))
        return NULL;
    return take_random(bin, quarantine_of(cache));
}

void *harden_alloc(size_t n, size_t align, bool *is_large)
{
    bool full = harden_level == HARDEN_FULL;
    size_t needed = n <= SMALL_MAX && full ? n + HARDEN_TAIL_BYTES : n;
    unsigned c = needed <= SMALL_MAX ? class_of_aligned(max_size(needed, 1), max_size(align, 1))
                                     : CLASS_COUNT;
    *is_large = c == CLASS_COUNT;
    if (*is_large)
        return NULL;
    char *block = take_slot(c);
    if (block == NULL)
        return out_of_memory();
    if (full) {
        check_zero(block, size_classes[c].size, "malloc");
        write_tail(block, size_classes[c].size, n);
    }
    return block;
}

/* Freeing. */

static void free_for_good(const struct held *h)
{
    struct slab *s = h->slab;
    if (harden_level == HARDEN_FULL)
        check_zero(h->block, size_classes[s->class_index].size, "free");
    size_t slot = slot_around(s, (uintptr_t)h->block);
    if (slab_is_wide(s)) {
        free_wide_slot(s, slot);
        return;
    }
    atomic_store_release(&s->states[slot], SLOT_FREE);
    if (hint_take_one_is_negative(&s->till))
        free_event(h->block);
}

static void let_go_of(struct quarantine *q, unsigned i)
{
    struct held h = q->held[i];
    q->held[i] = q->held[--q->count];
    q->bytes -= size_classes[h.slab->class_index].size;
    free_for_good(&h);
}

static void hold_back(struct quarantine *q, const struct held *h)
{
    size_t size = size_classes[h->slab->class_index].size;
    while (q->count == HELD_BLOCKS || (q->count > 0 && q->bytes + size > HELD_BYTES))
        let_go_of(q, (unsigned)(draw(q) % q->count));
    q->held[q->count++] = *h;
    q->bytes += size;
}

void harden_free(struct slab *s, void *p, const char *function)
{
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    if (slot == SLOTS_MAX || !atomic_cas_acquire(&s->states[slot], SLOT_LIVE, SLOT_HELD_BACK)) {
        misuse_report((uintptr_t)p, function);
        return;
    }
    if (harden_level == HARDEN_FULL)
        check_tail(s, p, function);
    memset(p, 0, size_classes[s->class_index].size);
    struct held h = {.slab = s, .block = p};
    struct cache *cache = life_cache();
    struct quarantine *q = cache != NULL ? quarantine_of(cache) : NULL;
    if (q != NULL)
        hold_back(q, &h);
    else
        free_for_good(&h);
}

void harden_drain(struct cache *cache)
{
    struct quarantine *q = cache->quarantine;
    while (q != NULL && q->count > 0)
        let_go_of(q, q->count - 1);
}

bool harden_is_live(const struct slab *s, const void *p, size_t *bytes)
{
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    if (slot == SLOTS_MAX || !byte_is(&s->states[slot], SLOT_LIVE))
        return false;
    size_t size = size_classes[s->class_index].size;
    *bytes = harden_level == HARDEN_FULL ? read_tail(p, size) : size;
    return true;
}
