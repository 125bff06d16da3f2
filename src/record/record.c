#include "record/record.h"

#include "callers/places.h"
#include "callers/sites.h"
#include "conf/conf.h"
#include "core/events.h"
#include "core/life.h"
#include "record/log.h"
#include "record/rings.h"
#include "report/report.h"

#include <errno.h>

enum { STACKS_FOR_LEAKS = 16 };

bool record_is_on;
static uint64_t began_ms;

static uint32_t now(void)
{
    return (uint32_t)(os->now_ms() - began_ms);
}

uint64_t record_age_ms(uint32_t ms)
{
    return now() - ms;
}

static void keep(const struct event *e, const struct block_event *event, unsigned count,
                 bool is_free)
{
    const struct ring_event kept = {.address = e->address,
                                    .bytes = e->bytes,
                                    .site = event->site,
                                    .thread = event->thread,
                                    .ms = event->ms,
                                    .count = (uint16_t)count,
                                    .is_free = is_free};
    rings_keep(&kept);
}

static void note(const struct event *e)
{
    const struct block_event event = {
        .site = site_of(e->callers, e->n_callers), .thread = e->thread, .ms = now()};
    bool is_free = e->kind == EVENT_FREE || e->kind == EVENT_REALLOC_BEGIN;
    unsigned count = 0;
    if (e->address == 0) {
        blocks_note_kept(e->old_address);
        return;
    }
    if (is_free)
        count = blocks_note_freed(e->address, &event);
    else
        count = blocks_note_made(e->address, e->bytes, &event);
    keep(e, &event, count, is_free);
}

size_t record_requested(uintptr_t address)
{
    struct block_facts facts;
    if (!record_is_on || !blocks_at(address, &facts) || facts.freed.thread != 0)
        return SIZE_MAX;
    return facts.bytes;
}

/* History. */

struct looking {
    const struct block_facts *facts;
    struct ration_history_event *events;
    size_t max;
};

static void fill(struct ration_history_event *to, bool is_free, const struct block_event *event,
                 size_t bytes)
{
    *to = (struct ration_history_event){.kind = is_free ? RATION_HISTORY_FREED
                                                        : RATION_HISTORY_ALLOCATED,
                                        .thread = event->thread,
                                        .age_ms = record_age_ms(event->ms),
                                        .bytes = bytes};
    to->n_callers = site_callers(event->site, &to->callers);
}

/* The latest event has the record's count, the one before it that minus one. */
static void look(const struct ring_event *kept, void *arg)
{
    const struct looking *l = arg;
    size_t back = (l->facts->count - kept->count) % COUNT_LIMIT;
    if (kept->address != l->facts->address || back >= l->max)
        return;
    const struct block_event event = {kept->site, kept->thread, kept->ms};
    struct ration_history_event *to = &l->events[back];
    if (to->thread == 0 || record_age_ms(kept->ms) <= to->age_ms)
        fill(to, kept->is_free, &event, kept->bytes);
}

/* Without gaps: what lies behind a forgotten event is left out. */
EXPORT size_t ration_history(const void *address, struct ration_history_event *events, size_t max)
{
    struct block_facts facts;
    if (!record_is_on || !blocks_find((uintptr_t)address, &facts))
        return 0;
    for (size_t i = 0; i < max; i++)
        events[i] = (struct ration_history_event){.thread = 0};
    struct looking l = {&facts, events, max < COUNT_LIMIT / 2 ? max : COUNT_LIMIT / 2};
    rings_visit(look, &l);
    size_t n = 0;
    if (n < max && facts.freed.thread != 0)
        fill(&events[n++], true, &facts.freed, 0);
    if (n < max)
        fill(&events[n++], false, &facts.made, facts.bytes);
    while (n < l.max && events[n].thread != 0)
        n++;
    return n;
}

/* Reports. */

static void add_age(struct text *t, uint64_t ms)
{
    text_add_unsigned(t, ms / 1000);
    text_add(t, ".");
    for (uint64_t unit = 100; unit > 0; unit /= 10)
        text_add_unsigned(t, ms / unit % 10);
    text_add(t, " s ago");
}

static void add_event(struct text *t, const char *what, const struct ration_history_event *event)
{
    report_make_room(t);
    text_add(t, "  ");
    text_add(t, what);
    text_add(t, " by thread ");
    text_add_unsigned(t, event->thread);
    text_add(t, ", ");
    add_age(t, event->age_ms);
    if (event->kind == RATION_HISTORY_ALLOCATED) {
        text_add(t, ", ");
        text_add_unsigned(t, event->bytes);
        text_add(t, " bytes");
    }
    text_add(t, event->n_callers > 0 ? ", from\n" : "\n");
    places_add(t, event->callers, (unsigned)event->n_callers);
}

static void add_earlier(struct text *t, const struct ration_history_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_event(t,
                  events[i].kind == RATION_HISTORY_FREED ? "before that freed"
                                                         : "before that allocated",
                  &events[i]);
}

static void add_this_call(struct text *t, enum misuse kind)
{
    uintptr_t callers[CALLERS_MAX];
    unsigned n = callers_take(callers, conf.stacks > 0 ? (unsigned)conf.stacks : 1);
    report_make_room(t);
    text_add(t, kind == MISUSE_DOUBLE_FREE ? "  freed again by thread "
                                           : "  this call is made by thread ");
    text_add_unsigned(t, events_thread_id());
    text_add(t, n > 0 ? ", now, from\n" : ", now\n");
    places_add(t, callers, n);
}

/* The stacks of a double free: allocated by, first freed by, freed again by. */
static void describe(struct text *t, uintptr_t address)
{
    enum { EARLIER = 2 };
    struct ration_history_event events[2 + EARLIER];
    enum misuse kind = report_kind(t);
    size_t n = ration_history((const void *)address, events, sizeof events / sizeof *events);
    size_t freed = n > 0 && events[0].kind == RATION_HISTORY_FREED;
    if (n > freed)
        add_event(t, "allocated", &events[freed]);
    if (freed)
        add_event(t, kind == MISUSE_DOUBLE_FREE ? "first freed" : "freed", &events[0]);
    add_this_call(t, kind);
    if (n > freed + 1)
        add_earlier(t, events + freed + 1, n - freed - 1);
}

static void forked(void)
{
    rings_fork_child();
}

static const struct event_listener recorder = {
    .tell = note, .describe = describe, .thread_ends = rings_thread_ends, .forked = forked};

static const char no_unwinder[] = "ration: RATION=stacks records no stacks: the unwinder of the "
                                  "compiler's runtime, libgcc_s.so.1, "
                                  "cannot be loaded (Debian: apt install libgcc-s1)\n";
static const char too_late[] =
    "ration: RATION=stacks and RATION=log stay off: the program had threads before the "
    "library was loaded, or memory is out; preload it instead\n";

bool record_begin(unsigned n_callers)
{
    if (life_cache() == NULL || !blocks_begin() || !sites_begin())
        return false;
    if (n_callers > 0 && !callers_begin())
        os->write_error(no_unwinder, sizeof no_unwinder - 1);
    began_ms = os->now_ms();
    if (!events_listen(&recorder, n_callers))
        return false;
    record_is_on = true;
    return true;
}

/* After core/life.c has read the options: its constructor comes first, as it is linked first. */
__attribute__((constructor)) static void begin(void)
{
    int saved_errno = errno;
    if (conf.stacks < 0)
        conf.stacks = conf.leaks != 0 ? STACKS_FOR_LEAKS : 0;
    if (conf.stacks != 0 || conf.log != 0) {
        if (!record_begin((unsigned)conf.stacks) || (conf.log != 0 && !log_begin()))
            os->write_error(too_late, sizeof too_late - 1);
    }
    errno = saved_errno;
}
