#include "callers/rules.h"

#include "area/records.h"
#include "base/atomics.h"
#include "os/frame.h"

enum {
    TABLE_BITS = 16,
    TABLE_ENTRIES = 1 << TABLE_BITS,
    TABLE_FULL = TABLE_ENTRIES / 8 * 7,
};

struct entry {
    uintptr_t ip;
    rule rule;
};

static struct entry *table;
static uint32_t n_entries;

bool rules_begin(void)
{
    if (table == NULL)
        table = records_take(TABLE_ENTRIES * sizeof *table);
    return table != NULL;
}

static ALWAYS_INLINE size_t place_of(uintptr_t ip)
{
    return (size_t)(ip * 0x9e3779b97f4a7c15U >> (64 - TABLE_BITS));
}

static ALWAYS_INLINE rule find(uintptr_t ip)
{
    for (size_t i = place_of(ip);; i = (i + 1) & (TABLE_ENTRIES - 1)) {
        uintptr_t there = atomic_load_relaxed(&table[i].ip);
        if (LIKELY(there == ip))
            return atomic_load_acquire(&table[i].rule); /* pairs with rules_set */
        if (there == 0)
            return RULE_NONE;
    }
}

rule rules_find(uintptr_t ip)
{
    return find(ip);
}

void rules_set(uintptr_t ip, rule r)
{
    for (size_t i = place_of(ip);; i = (i + 1) & (TABLE_ENTRIES - 1)) {
        uintptr_t there = atomic_load_relaxed(&table[i].ip);
        if (there == 0) {
            if (atomic_load_relaxed(&n_entries) >= TABLE_FULL)
                return;
            if (atomic_cas_acquire(&table[i].ip, (uintptr_t)0, ip))
                atomic_add_relaxed(&n_entries, 1);
            there = atomic_load_relaxed(&table[i].ip);
        }
        if (there == ip) {
            atomic_store_release(&table[i].rule, r);
            return;
        }
    }
}

static uintptr_t word_at(uintptr_t address)
{
    return *(const uintptr_t *)address;
}

static uintptr_t ip_at(uintptr_t address)
{
    return frame_return_address(word_at(address));
}

/* Whether [address, address + words) lies in the stack above `from`. */
static ALWAYS_INLINE bool is_on_stack(uintptr_t address, size_t words, uintptr_t from,
                                      uintptr_t end)
{
    return address >= from && address % sizeof(uintptr_t) == 0 && address < end &&
           end - address >= words * sizeof(uintptr_t);
}

static bool follow_frame(const struct frame *from, uintptr_t end, struct frame *to)
{
    if (!is_on_stack(from->bp, 2, from->sp, end))
        return false;
    *to = (struct frame){.ip = ip_at(from->bp + sizeof(uintptr_t)),
                         .sp = from->bp + 2 * sizeof(uintptr_t),
                         .bp = word_at(from->bp)};
    return true;
}

static ALWAYS_INLINE bool follow(rule r, const struct frame *from, uintptr_t end, struct frame *to)
{
    if (rule_kind_of(r) == RULE_FRAME)
        return follow_frame(from, end, to);
    uintptr_t sp = from->sp + (uintptr_t)(r >> 8);
    unsigned place = r >> 4 & 15;
    if (!is_on_stack(sp - sizeof(uintptr_t), 1, from->sp, end))
        return false;
    uintptr_t bp = from->bp;
    if (place != BP_KEPT)
        bp = place == BP_LOST ? 0 : word_at(sp - place * sizeof(uintptr_t));
    *to = (struct frame){.ip = ip_at(sp - sizeof(uintptr_t)), .sp = sp, .bp = bp};
    return true;
}

bool rules_follow(rule r, const struct frame *from, uintptr_t stack_end, struct frame *to)
{
    return follow(r, from, stack_end, to);
}

bool rules_walk(struct frame at, uintptr_t stack_end, const struct own_addresses *own,
                uintptr_t *callers, unsigned max, unsigned *n)
{
    unsigned found = 0;
    for (;;) {
        rule r = find(at.ip);
        if (UNLIKELY(rule_kind_of(r) <= RULE_ASK))
            return false;
        if (at.ip - own->start >= own->bytes)
            callers[found++] = at.ip;
        if (found == max || rule_kind_of(r) == RULE_END)
            break;
        if (UNLIKELY(!follow(r, &at, stack_end, &at)))
            return false;
    }
    *n = found;
    return true;
}

/* A frame pointer points just below the caller's stack pointer where a call pushes the return address. */
static bool is_frame(const struct frame *from, const struct frame *to)
{
    if (FRAME_RETURN_IS_PUSHED && from->bp + 2 * sizeof(uintptr_t) != to->sp)
        return false;
    return is_on_stack(from->bp, 2, from->sp, to->sp) &&
           ip_at(from->bp + sizeof(uintptr_t)) == to->ip && word_at(from->bp) == to->bp;
}

/* Where a function without a frame pointer keeps its caller's. A place that holds it is preferred to the guess that the
 * register was never touched: until the function writes the register, both look the same. */
static unsigned find_bp(const struct frame *from, const struct frame *to)
{
    unsigned found = BP_LOST;
    for (unsigned place = BP_SLOT_FIRST; place <= BP_SLOT_LAST; place++) {
        uintptr_t at = to->sp - place * sizeof(uintptr_t);
        if (at < from->sp || word_at(at) != to->bp)
            continue;
        if (found != BP_LOST)
            return BP_LOST;
        found = place;
    }
    return found == BP_LOST && from->bp == to->bp ? BP_KEPT : found;
}

static rule judge(const struct frame *from, const struct frame *to)
{
    if (is_frame(from, to))
        return rule_make(RULE_FRAME, 0, 0);
    if (!FRAME_RETURN_IS_PUSHED || to->sp < from->sp + sizeof(uintptr_t) ||
        ip_at(to->sp - sizeof(uintptr_t)) != to->ip)
        return RULE_ASK;
    return rule_make(RULE_FIXED, find_bp(from, to), to->sp - from->sp);
}

void rules_learn(const struct frame *from, const struct frame *to)
{
    struct frame led;
    rule known = rules_find(from->ip);
    rule now = judge(from, to);
    if (known == RULE_NONE) {
        rules_set(from->ip, now);
        return;
    }
    if (known == RULE_ASK || known == now)
        return;
    bool leads = rule_kind_of(known) >= RULE_FRAME && rules_follow(known, from, to->sp, &led) &&
                 led.ip == to->ip && led.sp == to->sp;
    if (!leads)
        rules_set(from->ip, RULE_ASK);
    else if (led.bp != to->bp && led.bp != 0)
        rules_set(from->ip, rule_kind_of(known) == RULE_FIXED
                                ? rule_make(RULE_FIXED, BP_LOST, known >> 8)
                                : (rule)RULE_ASK);
}
