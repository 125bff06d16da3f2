#include "callers/sites.h"

#include "area/records.h"
#include "base/atomics.h"

#include <string.h>

enum {
    TABLE_BITS = 20,
    TABLE_PLACES = 1 << TABLE_BITS,
    TABLE_FULL = TABLE_PLACES / 8 * 7,
    CHUNK_SHIFT = 16, /* words in a chunk */
    CHUNK_WORDS = 1 << CHUNK_SHIFT,
    CHUNKS_MAX = 4096,
};

static uint32_t *table; /* of sites, by hash */
static uint64_t *chunks[CHUNKS_MAX];
static uint32_t next_word; /* the first that no site has; 0 is none */
static uint32_t n_sites, n_refused;

bool sites_begin(void)
{
    if (table == NULL)
        table = records_take(TABLE_PLACES * sizeof *table);
    return table != NULL;
}

static uint64_t hash(const uintptr_t *callers, unsigned n)
{
    uint64_t h = n;
    for (unsigned i = 0; i < n; i++) {
        h = (h ^ callers[i]) * 0x9e3779b97f4a7c15U;
        h ^= h >> 29;
    }
    return h * 0xbf58476d1ce4e5b9U;
}

static uint64_t head_of(uint64_t h, unsigned n)
{
    return (h & 0xffffffff) << 32 | n;
}

static uint64_t *words_of(uint32_t site)
{
    uint64_t *chunk = atomic_load_acquire(&chunks[site >> CHUNK_SHIFT]);
    return chunk + (site & (CHUNK_WORDS - 1));
}

static bool is_same(uint32_t site, uint64_t head, const uintptr_t *callers, unsigned n)
{
    const uint64_t *words = words_of(site);
    return words[0] == head && memcmp(words + 1, callers, n * sizeof *callers) == 0;
}

/* Words in one chunk; SITE_NONE if there are no more. */
static uint32_t take_words(uint32_t n)
{
    uint32_t at, start;
    do {
        at = atomic_load_relaxed(&next_word);
        start = at == 0 ? 1 : at;
        if ((start & (CHUNK_WORDS - 1)) + n > CHUNK_WORDS)
            start = (start | (CHUNK_WORDS - 1)) + 1;
        if (start >> CHUNK_SHIFT >= CHUNKS_MAX)
            return SITE_NONE;
    } while (!atomic_cas_acquire(&next_word, at, start + n));
    uint64_t **chunk = &chunks[start >> CHUNK_SHIFT];
    if (atomic_load_acquire(chunk) == NULL) {
        uint64_t *fresh = records_take(CHUNK_WORDS * sizeof **chunk);
        if (fresh != NULL)
            atomic_cas_acquire(chunk, (uint64_t *)NULL,
                               fresh); /* else another thread was quicker */
    }
    return atomic_load_acquire(chunk) != NULL ? start : (uint32_t)SITE_NONE;
}

static COLD uint32_t write_site(uint64_t head, const uintptr_t *callers, unsigned n)
{
    uint32_t site = atomic_load_relaxed(&n_sites) < TABLE_FULL ? take_words(n + 1) : SITE_NONE;
    if (site == SITE_NONE) {
        atomic_add_relaxed(&n_refused, 1);
        return SITE_NONE;
    }
    uint64_t *words = words_of(site);
    words[0] = head;
    memcpy(words + 1, callers, n * sizeof *callers);
    return site;
}

uint32_t site_of(const uintptr_t *callers, unsigned n)
{
    if (n == 0 || table == NULL)
        return SITE_NONE;
    uint64_t h = hash(callers, n);
    uint64_t head = head_of(h, n);
    uint32_t fresh = SITE_NONE;
    for (size_t i = h >> (64 - TABLE_BITS);; i = (i + 1) & (TABLE_PLACES - 1)) {
        uint32_t site = atomic_load_acquire(&table[i]); /* pairs with the exchange below */
        if (site == SITE_NONE) {
            if (fresh == SITE_NONE)
                fresh = write_site(head, callers, n);
            if (fresh == SITE_NONE)
                return SITE_NONE;
            if (atomic_cas_acquire(&table[i], (uint32_t)SITE_NONE, fresh)) {
                atomic_add_relaxed(&n_sites, 1);
                return fresh;
            }
            site = atomic_load_acquire(&table[i]);
        }
        if (is_same(site, head, callers, n))
            return site;
    }
}

unsigned site_callers(uint32_t site, const uintptr_t **callers)
{
    if (site == SITE_NONE || site >= atomic_load_acquire(&next_word) ||
        chunks[site >> CHUNK_SHIFT] == NULL)
        return 0;
    const uint64_t *words = words_of(site);
    *callers = (const uintptr_t *)(words + 1);
    uint32_t n = (uint32_t)words[0];
    return n <= CALLERS_MAX ? n : 0;
}

uint32_t sites_count(void)
{
    return atomic_load_relaxed(&n_sites);
}

uint32_t sites_refused(void)
{
    return atomic_load_relaxed(&n_refused);
}
