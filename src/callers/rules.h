/* The rules of callers.h: a table from return address to rule, which only grows; no lock.
 *
 * An entry's address is claimed by one atomic step and never changes; its rule is written after it. */
#ifndef RATION_CALLERS_RULES_H
#define RATION_CALLERS_RULES_H

#include "base/compiler.h"

/* One frame of a walk: where it was called from and what its registers held. `sp` is the stack pointer after the call. */
struct frame {
    uintptr_t ip; /* return address into it */
    uintptr_t sp;
    uintptr_t bp; /* 0: unknown */
};

enum rule_kind { RULE_NONE, RULE_ASK, RULE_END, RULE_FRAME, RULE_FIXED };

/* What a rule says about the frame pointer in a fixed one: kept, or stored so many words below the caller's stack pointer,
 * or not to be found. */
enum { BP_KEPT = 0, BP_SLOT_FIRST = 2, BP_SLOT_LAST = 8, BP_LOST = 15 };

/* kind: bits 0 to 3; place of the frame pointer: bits 4 to 7; distance in bytes: from bit 8 on. */
typedef uint64_t rule;

static inline rule rule_make(enum rule_kind kind, unsigned bp_place, uintptr_t distance)
{
    return (rule)kind | (rule)bp_place << 4 | (rule)distance << 8;
}

static ALWAYS_INLINE enum rule_kind rule_kind_of(rule r)
{
    return (enum rule_kind)(r & 15);
}

bool rules_begin(void);

/* RULE_NONE if the address was never seen. */
rule rules_find(uintptr_t ip);

/* What is known of `ip` from now on; nothing if the table is full. */
void rules_set(uintptr_t ip, rule r);

/* Follows a fixed or frame rule from one frame to its caller. False if that would read outside [from->sp, stack_end). */
bool rules_follow(rule r, const struct frame *from, uintptr_t stack_end, struct frame *to);

/* What a walk leaves out. */
struct own_addresses {
    uintptr_t start;
    size_t bytes;
};

/* Walks by rules from `at` on: fills up to max return addresses that are not `own`, and *n. False if a frame has no rule, or
 * one that leads off the stack. */
bool rules_walk(struct frame at, uintptr_t stack_end, const struct own_addresses *own,
                uintptr_t *callers, unsigned max, unsigned *n);

/* Keeps what the unwinder did: it went from one frame to its caller. */
void rules_learn(const struct frame *from, const struct frame *to);

#endif
