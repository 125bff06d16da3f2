#include "report/report.h"

#include "base/atomics.h"
#include "conf/conf.h"
#include "os/lock.h"
#include "os/os.h"

static struct lock report_lock = LOCK_INIT(RANK_REPORT);
static uint32_t reports_made;

static const char *const kind_words[] = {
    [MISUSE_DOUBLE_FREE] = "double free",     [MISUSE_INVALID_FREE] = "invalid free",
    [MISUSE_INTERIOR_FREE] = "interior free", [MISUSE_MISALIGNED_FREE] = "misaligned free",
    [MISUSE_SIZE_MISMATCH] = "size mismatch", [MISUSE_USE_AFTER_FREE] = "use after free",
    [MISUSE_OVERFLOW] = "overflow",           [MISUSE_CORRUPT_HEAP] = "corrupt heap",
};

void report_begin(struct text *t, enum misuse kind, uintptr_t address, const char *function)
{
    text_clear(t);
    text_add(t, "ration: ");
    text_add(t, kind_words[kind]);
    text_add(t, " at ");
    text_add_hex(t, address);
    text_add(t, " in ");
    text_add(t, function);
    text_add(t, "()\n");
}

static void add_advice(struct text *t)
{
    text_add(t, "  thread ");
    text_add_unsigned(t, os->thread_id());
    if (conf.on_error == ON_ERROR_ABORT)
        text_add(t, "; the program ends here (RATION=on_error=report goes on instead)");
    else
        text_add(t, "; the call is ignored (RATION=on_error)");
    if (conf.harden != HARDEN_FULL)
        text_add(t, "; RATION=harden=full detects more, and earlier");
    text_add(t, "\n");
}

void report_end(struct text *t)
{
    bool first = atomic_add_relaxed(&reports_made, 1) == 0;
    if (conf.on_error != ON_ERROR_IGNORE || first) {
        add_advice(t);
        lock_take(&report_lock);
        os->write_error(t->chars, t->used);
        lock_drop(&report_lock);
    }
    if (conf.on_error == ON_ERROR_ABORT)
        os->abort();
}

void report_fork_child(void)
{
    lock_init(&report_lock, RANK_REPORT);
}
