/* The address space of the heap, run by run (ration/stats.h: ration_runs_visit). */
#include "inspect/ledger.h"
#include "inspect/proc.h"

#include <string.h>

static enum ration_run_kind kind_of(enum run_kind kind)
{
    switch (kind) {
    case RUN_SLAB:
        return RATION_RUN_SLAB;
    case RUN_LARGE:
        return RATION_RUN_LARGE;
    case RUN_RELEASED:
    case RUN_DIRTY:
        return RATION_RUN_DIRTY;
    case RUN_CLEAN:
        return RATION_RUN_CLEAN;
    case RUN_VOID:
        return RATION_RUN_VOID;
    case RUN_HELD:
    case RUN_NONE:
    case RUN_KIND_COUNT:
        break;
    }
    return RATION_RUN_OTHER;
}

static size_t count_resident(const struct view *v, uintptr_t start, size_t bytes)
{
    enum { PAGES_AT_ONCE = 1024 };
    unsigned char present[PAGES_AT_ONCE];
    size_t pages = bytes >> v->page_shift;
    size_t resident = 0;
    for (size_t i = 0; i < pages; i += PAGES_AT_ONCE) {
        size_t n = min_size(pages - i, PAGES_AT_ONCE);
        if (!view_resident(v, start + (i << v->page_shift), n, present))
            continue;
        for (size_t k = 0; k < n; k++)
            resident += present[k];
    }
    return resident << v->page_shift;
}

static void describe_slab(const struct view *v, const struct view_run *run, struct ration_run *out)
{
    union slab_copy copy;
    if (!view_slab(v, run->first, &copy))
        return;
    out->slot_bytes = size_classes[copy.slab.class_index].size;
    out->slots = copy.slab.slots;
    for (unsigned i = 0; i < copy.slab.slots; i++)
        out->live += copy.slab.states[i] == SLOT_LIVE;
}

static int visit_runs(const struct view *v, ration_run_fn *visit, void *context)
{
    struct view_cursor cursor;
    struct view_run run;
    int result = 0;
    view_begin(&cursor, v, 0);
    while (result == 0 && view_next(&cursor, &run)) {
        struct ration_run out = {
            .kind = kind_of(run.kind),
            .start = view_address(v, run.first),
            .bytes = run.pages << v->page_shift,
        };
        if (run.kind == RUN_SLAB)
            describe_slab(v, &run, &out);
        if (out.kind != RATION_RUN_VOID && out.kind != RATION_RUN_OTHER)
            out.resident_bytes = count_resident(v, out.start, out.bytes);
        result = visit(&out, context);
    }
    return result;
}

EXPORT enum ration_status ration_runs_visit(int pid, ration_run_fn *visit, void *context)
{
    struct view v;
    enum view_status status = pid >= 0 ? view_open(&v, pid) : VIEW_NO_PROCESS;
    if (pid == 0 && status == VIEW_OK)
        v.pagemap_fd = proc_open(0, "pagemap");
    if (status == VIEW_OK && v.base != 0)
        visit_runs(&v, visit, context);
    if (pid >= 0)
        view_close(&v);
    return (enum ration_status)status;
}

static const char *const run_words[] = {
    [RATION_RUN_SLAB] = "slab",   [RATION_RUN_LARGE] = "large", [RATION_RUN_DIRTY] = "dirty",
    [RATION_RUN_CLEAN] = "clean", [RATION_RUN_VOID] = "void",   [RATION_RUN_OTHER] = "other",
};

EXPORT const char *ration_run_name(enum ration_run_kind kind)
{
    return (unsigned)kind <= RATION_RUN_OTHER ? run_words[kind] : "?";
}
