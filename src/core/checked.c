#include "core/checked.h"

#include "report/report.h"
#include "span/kept.h"
#include "span/span.h"

static void complain(const char *what, char letter, int number, const void *at,
                     const char *function)
{
    struct text t;
    report_begin(&t, MISUSE_CORRUPT_HEAP, (uintptr_t)at, function);
    text_add(&t, "  invariant ");
    text_add_bytes(&t, &letter, 1);
    text_add_unsigned(&t, (uint64_t)number);
    text_add(&t, " of ");
    text_add(&t, what);
    text_add(&t, " does not hold: libration is at fault, or its tables were overwritten\n");
    report_end(&t);
}

void checked_cache_slow(const struct cache *cache, const char *function)
{
    int broken = cache_check(cache);
    if (broken != 0)
        complain("a thread's cache", 'C', broken, cache, function);
}

void checked_runs_slow(const char *function)
{
    static uint32_t calls;
    if (atomic_add_relaxed(&calls, 1) % CHECKED_EACH != 0)
        return;
    int broken = span_check();
    if (broken != 0)
        complain("the runs", 'S', broken, (const void *)window.base, function);
    broken = kept_check();
    if (broken != 0)
        complain("the kept runs", 'K', broken, (const void *)window.base, function);
}
