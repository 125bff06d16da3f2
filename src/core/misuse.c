#include "core/misuse.h"

#include "base/chars.h"
#include "core/events.h"
#include "core/fault.h"
#include "core/fence.h"
#include "core/foreign.h"
#include "report/report.h"
#include "slab/slab.h"
#include "span/span.h"

/* realloc and the questions about size use the block; only free frees it. */
static enum misuse kind_for_freed(const char *function)
{
    bool frees = chars_have(function, "free") || chars_have(function, "delete") ||
                 chars_are(function, "sdallocx");
    return frees ? MISUSE_DOUBLE_FREE : MISUSE_USE_AFTER_FREE;
}

static bool is_misaligned(uintptr_t address)
{
    return address % GRAIN != 0;
}

static void add_slot(struct text *t, const struct slab *s, size_t slot)
{
    text_add(t, "slot ");
    text_add_unsigned(t, slot);
    text_add(t, " of ");
    text_add_unsigned(t, s->slots);
    text_add(t, " in the slab at ");
    text_add_hex(t, s->base);
    text_add(t, " (size class of ");
    text_add_unsigned(t, size_classes[s->class_index].size);
    text_add(t, " bytes)\n");
}

static const char *state_word(const struct slab *s, size_t slot)
{
    uint8_t state = atomic_load_relaxed(&s->states[slot]);
    return state == SLOT_LIVE ? "live" : state == SLOT_HELD_BACK ? "held back" : "free";
}

static void add_neighbour(struct text *t, const char *where, const struct slab *s, size_t slot)
{
    text_add(t, where);
    text_add(t, state_word(s, slot));
}

static void add_neighbours(struct text *t, const struct slab *s, size_t slot)
{
    if (slot == 0)
        text_add(t, "  it is the slab's first slot");
    else
        add_neighbour(t, "  the slot before it is ", s, slot - 1);
    if (slot + 1 == s->slots)
        text_add(t, ", it is the slab's last slot");
    else
        add_neighbour(t, ", the one behind it is ", s, slot + 1);
    text_add(t, slab_is_wide(s)           ? "; any thread may allocate from this slab\n"
                : s->place == SLAB_LEASED ? "; a thread allocates from this slab now\n"
                                          : "; no thread allocates from this slab now\n");
}

static void add_inside(struct text *t, uintptr_t address, uintptr_t start, size_t bytes)
{
    text_add(t, "  it points ");
    text_add_unsigned(t, address - start);
    text_add(t, " bytes into the live block at ");
    text_add_hex(t, start);
    text_add(t, ", which has ");
    text_add_unsigned(t, bytes);
    text_add(t, " usable bytes; free takes the address that malloc returned\n");
}

static void describe_slot(struct text *t, const struct slab *s, uintptr_t address,
                          const char *function)
{
    uint32_t size = size_classes[s->class_index].size;
    size_t slot = slot_around(s, address);
    uintptr_t start = s->base + slot * size;
    bool in_slot = slot < s->slots;
    bool is_live = in_slot && s->states[slot] == SLOT_LIVE;
    if (!in_slot) {
        report_begin(t, MISUSE_INVALID_FREE, address, function);
        text_add(t, "  no block was ever there: it is the unused end of the slab at ");
        text_add_hex(t, s->base);
        text_add(t, "\n");
    } else if (is_live) {
        report_begin(t, is_misaligned(address) ? MISUSE_MISALIGNED_FREE : MISUSE_INTERIOR_FREE,
                     address, function);
        add_inside(t, address, start, size);
        text_add(t, "  the block is ");
        add_slot(t, s, slot);
        add_neighbours(t, s, slot);
    } else if (slot >= s->opened) {
        report_begin(t, MISUSE_INVALID_FREE, address, function);
        text_add(t, "  no block was ever handed out there: ");
        add_slot(t, s, slot);
    } else {
        report_begin(t, address == start ? kind_for_freed(function) : MISUSE_INVALID_FREE, address,
                     function);
        text_add(t, address == start ? "  the block was freed before and not handed out since: "
                                     : "  it points into a block that was freed before: ");
        add_slot(t, s, slot);
        add_neighbours(t, s, slot);
    }
}

static void describe_run(struct text *t, const struct span_place *place, uintptr_t address,
                         const char *function)
{
    if (place->kind == RUN_LARGE) {
        report_begin(t, is_misaligned(address) ? MISUSE_MISALIGNED_FREE : MISUSE_INTERIOR_FREE,
                     address, function);
        add_inside(t, address, place->start, place->bytes);
        return;
    }
    report_begin(t, is_misaligned(address) ? MISUSE_MISALIGNED_FREE : kind_for_freed(function),
                 address, function);
    text_add(t, "  the memory there was freed before: it is part of a free run of ");
    text_add_unsigned(t, place->bytes);
    text_add(t, " bytes at ");
    text_add_hex(t, place->start);
    text_add(t, "\n");
}

static void describe_foreign(struct text *t, uintptr_t address, const char *function)
{
    report_begin(t, MISUSE_INVALID_FREE, address, function);
    text_add(t, "  ration never handed out memory there\n");
    foreign_describe(t, address);
}

/* A block on pages of its own, or beside it, within its guards. */
static void describe_fence(struct text *t, const struct fence *f, uintptr_t address,
                           const char *function)
{
    enum misuse kind = is_misaligned(address) ? MISUSE_MISALIGNED_FREE : MISUSE_INTERIOR_FREE;
    if (f->state == FENCE_FREED)
        kind = address == f->start ? kind_for_freed(function) : MISUSE_INVALID_FREE;
    report_begin(t, kind, address, function);
    fault_add_fence(t, f, address);
}

void misuse_report(uintptr_t address, const char *function)
{
    struct text t;
    const struct fence *f = fences_are_on ? fence_find(address) : NULL;
    const struct slab *s = slab_of(address);
    if (f != NULL) {
        describe_fence(&t, f, address, function);
    } else if (s != &no_slab) {
        describe_slot(&t, s, address, function);
    } else {
        struct span_place place = span_find(address);
        if (place.kind == RUN_NONE)
            describe_foreign(&t, address, function);
        else
            describe_run(&t, &place, address, function);
    }
    events_describe(&t, address);
    report_end(&t);
}

void misuse_report_size(uintptr_t address, size_t has, size_t said, const char *function)
{
    struct text t;
    report_begin(&t, MISUSE_SIZE_MISMATCH, address, function);
    text_add(&t, "  the call says the block has ");
    text_add_unsigned(&t, said);
    text_add(&t, " bytes, but such a block would be of another size: this one has ");
    text_add_unsigned(&t, has);
    text_add(&t, " usable bytes; a sized free takes the size that was asked for\n");
    events_describe(&t, address);
    report_end(&t);
}

/* The block at `address`, live until this call, and what lies beside it. */
static void add_block(struct text *t, uintptr_t address)
{
    const struct slab *s = slab_of(address);
    const struct fence *f = fences_are_on ? fence_find(address) : NULL;
    if (f != NULL)
        fault_add_history(t, f, false);
    if (s == &no_slab)
        return;
    size_t slot = slot_around(s, address);
    text_add(t, "  the block is ");
    add_slot(t, s, slot);
    add_neighbours(t, s, slot);
}

void misuse_report_overflow(uintptr_t address, size_t n, size_t offset, const char *function)
{
    struct text t;
    report_begin(&t, MISUSE_OVERFLOW, address, function);
    text_add(&t, "  the program asked for ");
    text_add_unsigned(&t, n);
    text_add(&t, " bytes and wrote behind them: the first damage is at offset ");
    text_add_unsigned(&t, offset);
    text_add(&t, "\n");
    add_block(&t, address);
    events_describe(&t, address);
    report_end(&t);
}

void misuse_report_underflow(uintptr_t address, size_t distance, const char *function)
{
    struct text t;
    report_begin(&t, MISUSE_OVERFLOW, address, function);
    text_add(&t, "  the program wrote before this block: the nearest damage is ");
    text_add_unsigned(&t, distance);
    text_add(&t, distance == 1 ? " byte before it\n" : " bytes before it\n");
    add_block(&t, address);
    events_describe(&t, address);
    report_end(&t);
}

void misuse_report_written(uintptr_t address, size_t size, size_t offset, const char *function)
{
    struct text t;
    report_begin(&t, MISUSE_USE_AFTER_FREE, address, function);
    text_add(&t, "  this freed block of ");
    text_add_unsigned(&t, size);
    text_add(&t, " bytes was written to after it was freed, at offset ");
    text_add_unsigned(&t, offset);
    text_add(&t, "; found when it was to be used again\n");
    add_block(&t, address);
    events_describe(&t, address);
    report_end(&t);
}
