#include "core/events.h"

#include "callers/callers.h"
#include "core/life.h"
#include "slab/shelf.h"

enum { LISTENERS_MAX = 4 };

bool fast_paths_are_closed;
bool events_are_on;
static const struct event_listener *listeners[LISTENERS_MAX];
static unsigned n_listeners;
static unsigned callers_wanted;
static THREAD_LOCAL uint32_t thread_id;

static void note_in_use(struct cache *cache, void *count)
{
    *(unsigned *)count += cache->in_use;
}

bool events_close_fast_paths(void)
{
    unsigned in_use = 0;
    if (fast_paths_are_closed)
        return true;
    cache_visit(note_in_use, &in_use);
    bool mine = my_cache->is_owned;
    if (in_use > mine)
        return false;
    if (mine)
        cache_return_leases(my_cache);
    cache_end_rests(os->now_ms(), 0);
    shelf_set_aside();
    slabs_are_guarded = true;
    fast_paths_are_closed = true;
    life_hide_cache();
    return true;
}

bool events_listen(const struct event_listener *listener, unsigned n_callers)
{
    if (n_listeners == LISTENERS_MAX || !events_close_fast_paths())
        return false;
    listeners[n_listeners++] = listener;
    if (n_callers > callers_wanted)
        callers_wanted = n_callers < CALLERS_MAX ? n_callers : CALLERS_MAX;
    events_are_on = true;
    return true;
}

uint32_t events_thread_id(void)
{
    if (UNLIKELY(thread_id == 0))
        thread_id = os->thread_id();
    return thread_id;
}

static NOINLINE void tell(struct event event)
{
    uintptr_t callers[CALLERS_MAX];
    event.thread = events_thread_id();
    event.callers = callers;
    if (callers_wanted > 0)
        event.n_callers = callers_take(callers, callers_wanted);
    for (unsigned i = 0; i < n_listeners; i++)
        listeners[i]->tell(&event);
}

void events_tell_malloc(void *p, size_t n, const char *function)
{
    struct event event = {
        .kind = EVENT_MALLOC, .address = (uintptr_t)p, .bytes = n, .function = function};
    tell(event);
}

void events_tell_free(void *p, const char *function)
{
    struct event event = {.kind = EVENT_FREE, .address = (uintptr_t)p, .function = function};
    tell(event);
}

void events_tell_realloc(void *p, const char *function)
{
    struct event event = {
        .kind = EVENT_REALLOC_BEGIN, .address = (uintptr_t)p, .function = function};
    tell(event);
}

void events_tell_realloc_end(void *old, void *p, size_t n, const char *function)
{
    struct event event = {.kind = EVENT_REALLOC_END,
                          .address = (uintptr_t)p,
                          .old_address = (uintptr_t)old,
                          .bytes = n,
                          .function = function};
    tell(event);
}

void events_describe(struct text *t, uintptr_t address)
{
    for (unsigned i = 0; i < n_listeners; i++) {
        if (listeners[i]->describe != NULL)
            listeners[i]->describe(t, address);
    }
}

void events_thread_ends(void)
{
    for (unsigned i = 0; i < n_listeners; i++) {
        if (listeners[i]->thread_ends != NULL)
            listeners[i]->thread_ends();
    }
}

void events_fork_child(void)
{
    thread_id = 0;
    for (unsigned i = 0; i < n_listeners; i++) {
        if (listeners[i]->forked != NULL)
            listeners[i]->forked();
    }
}
