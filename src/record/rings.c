#include "record/rings.h"

#include "area/records.h"

struct ring {
    struct ring *next; /* in the list of all, which only grows */
    uint32_t in_use;   /* by a thread */
    uint32_t n;        /* events so far; the next goes to n % RING_EVENTS */
    struct ring_event events[RING_EVENTS];
};

static struct ring *all_rings;
static THREAD_LOCAL struct ring *my_ring;
static THREAD_LOCAL bool is_over; /* the thread is past its end */

static struct ring *take_waiting(void)
{
    for (struct ring *r = atomic_load_acquire(&all_rings); r != NULL; r = r->next) {
        if (atomic_load_relaxed(&r->in_use) == 0 && atomic_cas_acquire(&r->in_use, 0U, 1U))
            return r;
    }
    return NULL;
}

static COLD struct ring *take_ring(void)
{
    struct ring *ring = take_waiting();
    if (ring != NULL || (ring = records_take(sizeof *ring)) == NULL)
        return ring;
    ring->in_use = 1;
    struct ring *first;
    do {
        first = atomic_load_relaxed(&all_rings);
        ring->next = first;
    } while (!atomic_cas_acquire(&all_rings, first, ring));
    return ring;
}

void rings_keep(const struct ring_event *event)
{
    if (UNLIKELY(my_ring == NULL)) {
        if (is_over || (my_ring = take_ring()) == NULL)
            return;
    }
    uint32_t at = atomic_load_relaxed(&my_ring->n);
    atomic_store_relaxed(&my_ring->n, at + 1);
    my_ring->events[at % RING_EVENTS] = *event;
}

void rings_visit(void (*visit)(const struct ring_event *event, void *arg), void *arg)
{
    for (struct ring *r = atomic_load_acquire(&all_rings); r != NULL; r = r->next) {
        uint32_t n = atomic_load_relaxed(&r->n);
        for (uint32_t i = n > RING_EVENTS ? n - RING_EVENTS : 0; i < n; i++)
            visit(&r->events[i % RING_EVENTS], arg);
    }
}

void rings_thread_ends(void)
{
    is_over = true;
    if (my_ring != NULL)
        atomic_store_release(&my_ring->in_use, 0U);
    my_ring = NULL;
}

void rings_fork_child(void)
{
    for (struct ring *r = all_rings; r != NULL; r = r->next)
        r->in_use = r == my_ring;
}
