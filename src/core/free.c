/* The slow paths of free, sized free, usable size. */
#include "core/checked.h"
#include "core/core.h"
#include "core/events.h"
#include "core/fast_path.h"
#include "core/fence.h"
#include "core/harden.h"
#include "core/large.h"
#include "core/life.h"
#include "core/misuse.h"
#include "core/purge.h"
#include "os/threads.h"
#include "slab/shelf.h"

static void note_free(size_t free_bytes)
{
    checked_runs("free");
    if (free_bytes > 0)
        purge_note(free_bytes);
}

NOINLINE void free_event(void *p)
{
    note_free(shelf_event((uintptr_t)p));
}

/* Whether a live block starts at p. *bytes: what the program may use of it. */
static bool is_live(const void *p, size_t *bytes)
{
    struct slab *s = slab_of((uintptr_t)p);
    if (UNLIKELY(slab_is_guarded(s)))
        return harden_is_live(s, p, bytes);
    if (s == &no_slab)
        return large_is_live(p, bytes);
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    if (slot >= SLOTS_MAX)
        return false;
    *bytes = size_classes[s->class_index].size;
    return byte_is(&s->states[slot], SLOT_LIVE);
}

bool core_is_live(const void *p, size_t *bytes, const char *function)
{
    bool found = is_live(p, bytes);
    if (!found)
        misuse_report((uintptr_t)p, function);
    return found;
}

void free_wide_slot(struct slab *s, size_t slot)
{
    note_free(shelf_give_slot(s, slot));
}

/* LIVE becomes KEPT. As two caches shall not keep the slot, by compare-and-swap if there are other threads. */
static ALWAYS_INLINE bool claim_live(uint8_t *state)
{
    if (!thread_is_alone())
        return atomic_cas_acquire(state, SLOT_LIVE, SLOT_KEPT);
    bool is_live = byte_is(state, SLOT_LIVE);
    if (LIKELY(is_live))
        atomic_store_relaxed(state, SLOT_KEPT);
    return is_live;
}

static NOINLINE void free_wide(struct slab *s, void *p, const char *function)
{
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    if (slot >= SLOTS_MAX || !claim_live(&s->states[slot])) {
        misuse_report((uintptr_t)p, function);
        return;
    }
    note_free(keep_put(my_cache, s, p));
}

/* A slab is guarded without hardening when somebody listens to events. */
static void free_while_told(struct slab *s, void *p, const char *function)
{
    uint8_t *state = &s->states[slot_around(s, (uintptr_t)p)];
    if (!atomic_cas_acquire(state, SLOT_LIVE, SLOT_FREE))
        misuse_report((uintptr_t)p, function);
    else if (hint_take_one_is_negative(&s->till))
        free_event(p);
}

void free_quietly(void *p, const char *function)
{
    struct slab *s = slab_of((uintptr_t)p);
    if (slab_is_guarded(s) && harden_level != HARDEN_OFF)
        harden_free(s, p, function);
    else if (slab_is_wide(s))
        free_wide(s, p, function);
    else if (slab_is_guarded(s))
        free_while_told(s, p, function);
    else if (slot_of(s, (uintptr_t)p) < SLOTS_MAX)
        free_fast(p);
    else if (!large_free(p, function))
        misuse_report((uintptr_t)p, function);
}

static NOINLINE void free_rest(void *p, const char *function)
{
    if (p == NULL)
        return;
    size_t bytes;
    if (LIKELY(!fast_paths_are_closed) && large_free(p, function))
        return;
    if (!fast_paths_are_closed || !is_live(p, &bytes)) {
        misuse_report((uintptr_t)p, function);
        return;
    }
    if (events_are_on)
        events_tell_free(p, function);
    free_quietly(p, function);
}

/* Calls nothing but in its last step, so that it saves no registers. */
NOINLINE void free_slow(void *p, const char *function)
{
    struct slab *s = slab_of((uintptr_t)p);
    if (LIKELY(slab_is_wide(s) && !fast_paths_are_closed))
        free_wide(s, p, function);
    else if (s != &no_slab || !large_put(p))
        free_rest(p, function);
}

size_t core_usable(const void *p, const char *function)
{
    size_t bytes;
    return p != NULL && core_is_live(p, &bytes, function) ? bytes : 0;
}

/* Blocks whose usable bytes are those asked for, whatever their class. */
static COLD bool is_exact(const void *p, size_t has, size_t n)
{
    size_t bytes;
    if (slab_is_guarded(slab_of((uintptr_t)p)))
        return harden_level == HARDEN_FULL;
    /* A sample stands for a slot: its size may be that of the class. */
    return fence_is_live(p, &bytes) && (n == has || has > SMALL_MAX) && harden_level != HARDEN_FAST;
}

/* Whether the block at p, asked for like this, might have got the bytes that it has. */
static COLD bool may_have(const void *p, size_t has, size_t n, size_t align)
{
    if (UNLIKELY(fences_are_on) && is_exact(p, has, n))
        return has == n;
    unsigned c = align > GRAIN    ? class_of_aligned(n, align)
                 : n <= SMALL_MAX ? class_of(n)
                                  : CLASS_COUNT;
    if (c == CLASS_COUNT)
        return has == align_up(max_size(n, 1), os->page_bytes());
    return slot_may_hold(has, c);
}

void core_free_sized(void *p, size_t n, size_t align, const char *function)
{
    if (p == NULL)
        return;
    struct slab *s = slab_of((uintptr_t)p);
    if (LIKELY(!fast_paths_are_closed && align <= GRAIN && n <= SMALL_MAX &&
               class_may_hold(s->class_index, class_of(n)))) {
        if (slab_is_wide(s)) {
            free_wide(s, p, function);
            return;
        }
        if (s->start_limit != 0) { /* a narrow stand-in */
            free_fast(p);
            return;
        }
    }
    size_t bytes;
    if (!core_is_live(p, &bytes, function))
        return;
    if (n > PTRDIFF_MAX || !may_have(p, bytes, n, align))
        misuse_report_size((uintptr_t)p, bytes, n, function);
    else if (UNLIKELY(fast_paths_are_closed))
        free_slow(p, function);
    else
        free_quietly(p, function);
}

bool core_trim(void)
{
    struct cache *cache = my_cache != &no_cache ? life_cache() : NULL;
    if (cache != NULL) {
        harden_drain(cache);
        cache_return_leases(cache);
    }
    return purge_all() > 0;
}
