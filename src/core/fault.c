#include "core/fault.h"

#include "base/atomics.h"
#include "callers/places.h"
#include "callers/sites.h"
#include "core/events.h"
#include "core/fence.h"
#include "core/harden.h"
#include "core/sample.h"
#include "report/report.h"
#include "span/span.h"

static uint32_t is_watching;

void fault_watch(void)
{
    if (LIKELY(atomic_load_relaxed(&is_watching)) ||
        (harden_level != HARDEN_FULL && sample_every == 0))
        return;
    if (atomic_cas_acquire(&is_watching, 0U, 1U))
        os->faults_watch(fault_explain);
}

static const char *word_for(enum os_access access)
{
    return access == OS_ACCESS_READ ? "read" : access == OS_ACCESS_WRITE ? "write" : "access";
}

static void add_count_of(struct text *t, size_t n, const char *what)
{
    text_add_unsigned(t, n);
    text_add(t, n == 1 ? " byte" : " bytes");
    text_add(t, what);
}

static void add_place(struct text *t, const struct fence *f, uintptr_t address)
{
    uintptr_t end = f->start + f->bytes;
    if (address < f->start)
        add_count_of(t, f->start - address, " before the block, which has ");
    else if (address >= end)
        add_count_of(t, address - end, " behind the end of the block, which has ");
    else
        add_count_of(t, address - f->start, " into the block, which has ");
    add_count_of(t, f->bytes, "\n");
}

static void add_event(struct text *t, const char *what, uint64_t ms, uint32_t thread)
{
    text_add(t, what);
    text_add(t, " by thread ");
    text_add_unsigned(t, thread);
    text_add(t, ", ");
    text_add_unsigned(t, os->now_ms() - ms);
    text_add(t, " ms ago");
}

static void add_site(struct text *t, const char *heading, uint32_t site)
{
    const uintptr_t *callers;
    unsigned n = site_callers(site, &callers);
    if (n == 0)
        return;
    report_make_room(t);
    text_add(t, heading);
    places_add(t, callers, n);
}

static void add_stacks(struct text *t, const struct fence *f, bool is_freed)
{
    uintptr_t callers[FENCE_CALLERS];
    if (f->taken_site == SITE_NONE)
        return;
    add_site(t, "  allocated from\n", f->taken_site);
    if (is_freed)
        add_site(t, "  freed from\n", f->freed_site);
    unsigned n = callers_take(callers, FENCE_CALLERS);
    if (n == 0)
        return;
    report_make_room(t);
    text_add(t, "  now used from\n");
    places_add(t, callers, n);
}

void fault_add_history(struct text *t, const struct fence *f, bool is_freed)
{
    add_event(t, is_freed ? "  the block was allocated" : "  the block is live; allocated",
              f->taken_ms, f->taken_by);
    if (is_freed)
        add_event(t, "; freed", f->freed_ms, f->freed_by);
    text_add(t, "\n");
    add_stacks(t, f, is_freed);
}

void fault_add_fence(struct text *t, const struct fence *f, uintptr_t address)
{
    text_add(t, "  the address is ");
    text_add_hex(t, address);
    text_add(t, ": ");
    add_place(t, f, address);
    fault_add_history(t, f, f->state == FENCE_FREED);
}

static void explain_fence(const struct fence *f, uintptr_t address, enum os_access access)
{
    struct text t;
    bool is_freed = f->state == FENCE_FREED;
    report_begin_access(&t, is_freed ? MISUSE_USE_AFTER_FREE : MISUSE_OVERFLOW, f->start,
                        word_for(access));
    fault_add_fence(&t, f, address);
    events_describe(&t, f->start);
    report_end_access(&t);
}

static void explain_run(const struct span_place *place, uintptr_t address, enum os_access access)
{
    struct text t;
    report_begin_access(&t, MISUSE_USE_AFTER_FREE, address, word_for(access));
    text_add(&t, "  blocks that lay there were freed, and the memory went back to the system: a "
                 "free run of ");
    text_add_unsigned(&t, place->bytes);
    text_add(&t, " bytes at ");
    text_add_hex(&t, place->start);
    text_add(&t, "\n");
    report_end_access(&t);
}

void fault_explain(uintptr_t address, enum os_access access)
{
    const struct fence *f = fence_find(address);
    if (f != NULL)
        explain_fence(f, address, access);
    if (f != NULL || span_lock_is_mine())
        return;
    struct span_place place = span_find(address);
    if (place.kind == RUN_VOID)
        explain_run(&place, address, access);
}
