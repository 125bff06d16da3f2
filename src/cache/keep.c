/* Wide slots: a thread keeps the few that it freed last, and hands these out again first, while their lines are in its
 * processor's caches. All others lie on the shelf, where every thread finds them. Of a slab that was made for another thread it
 * keeps but a few: that thread filled such a block, its processor has most of the lines, and it looks into its own slabs first.
 *
 * A thread that frees too few of the blocks it allocates finds nothing kept. Then it takes a few slots at once from the shelf: one
 * to hand out, the others KEPT, as if it had freed them.
 *
 * A kept slot is KEPT, so that nobody else hands it out, its page is not purged, and to free it again is a double free.
 *
 * In the child of a fork a slot that another thread was just keeping, taking or giving back may stay KEPT and be in no cache: it
 * is lost, as any block that the thread held. */
#include "cache/cache.h"
#include "slab/shelf.h"

enum { AHEAD_MOST = KEPT_MAX - 1 };

void *keep_take_from_shelf(struct cache *cache, unsigned c, bool is_exact)
{
    if (!cache->is_owned)
        return NULL;
    bool is_zero = false;
    uint8_t own = cache_shelf(cache);
    struct bin *bin = &cache->bins[c];
    struct shelf_ahead ahead = {.slots = bin->kept, .n = &bin->n_kept, .most = AHEAD_MOST};
    void *p = is_exact ? NULL : shelf_take_used(c, own, &ahead);
    if (p == NULL)
        p = shelf_take_slot(c, own, 0, &is_zero);
    if (p != NULL)
        bin->is_zero = is_zero;
    return p;
}

static size_t give(struct slab *s, uintptr_t p)
{
    return shelf_give_slot(s, slot_starting_at(s, p));
}

size_t keep_put_slow(struct cache *cache, struct slab *s, void *p)
{
    if (!cache->is_owned || s->made_for != cache_shelf(cache))
        return give(s, (uintptr_t)p);
    struct bin *bin = &cache->bins[s->class_index];
    uintptr_t oldest = (uintptr_t)bin->kept[0];
    for (unsigned i = 0; i + 1 < KEPT_MAX; i++)
        bin->kept[i] = bin->kept[i + 1];
    bin->kept[KEPT_MAX - 1] = p;
    return give(slab_of(oldest), oldest);
}

static void drop_last(struct bin *bin)
{
    uintptr_t last = (uintptr_t)bin->kept[--bin->n_kept];
    struct slab *s = slab_of(last);
    /* After a fork: the thread that kept it was just handing it out. */
    if (byte_is(&s->states[slot_starting_at(s, last)], SLOT_KEPT))
        give(s, last);
}

void keep_drop(struct cache *cache)
{
    for (unsigned c = WIDE_FIRST; c < CLASS_COUNT; c++) {
        while (cache->bins[c].n_kept > 0)
            drop_last(&cache->bins[c]);
    }
}
