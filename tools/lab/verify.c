#include "verify.h"
#include "memory.h"
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { whole_bytes = 64 * 1024, edge_bytes = 4096 };

/* Ranges compare equal when they overlap, so the tree finds overlaps by itself. */
struct range {
    const char *start;
    const char *end;
};

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left, *b = right;
    if (a->end <= b->start)
        return -1;
    return a->start >= b->end ? 1 : 0;
}

void verifier_open(struct verifier *verifier, struct lab_heap *lab, char *text, size_t text_bytes)
{
    *verifier = (struct verifier){.lab = lab, .text = text, .text_bytes = text_bytes};
}

void verifier_close(struct verifier *verifier)
{
    tdestroy(verifier->ranges, free);
}

static int find(struct verifier *verifier, const struct trace_op *op, const char *what,
                const void *address)
{
    if (verifier->text[0] == '\0') {
        if (op->line > 0)
            snprintf(verifier->text, verifier->text_bytes,
                     "line %" PRIu32 ", id %" PRIu32 ", %" PRIu64 " bytes at %p: %s", op->line,
                     op->id, op->size, address, what);
        else
            snprintf(verifier->text, verifier->text_bytes,
                     "id %" PRIu32 ", %" PRIu64 " bytes at %p: %s", op->id, op->size, address,
                     what);
    }
    return -1;
}

static uint64_t pattern_word(uint32_t tag, uint64_t index)
{
    return (index + tag) * UINT64_C(0x9e3779b97f4a7c15) ^ tag;
}

static void fill_part(char *payload, uint64_t from, uint64_t to, uint32_t tag)
{
    for (uint64_t at = from; at < to; at += 8) {
        const uint64_t word = pattern_word(tag, at / 8);
        memcpy(payload + at, &word, to - at < 8 ? to - at : 8);
    }
}

static bool is_part_intact(const char *payload, uint64_t from, uint64_t to, uint32_t tag)
{
    for (uint64_t at = from; at < to; at += 8) {
        const uint64_t word = pattern_word(tag, at / 8);
        if (memcmp(payload + at, &word, to - at < 8 ? to - at : 8) != 0)
            return false;
    }
    return true;
}

/* Large payloads are filled at both ends only: traces ask for gigabytes that nobody touches. */
static uint64_t tail_start(uint64_t size)
{
    return (size - edge_bytes) & ~UINT64_C(7);
}

static void fill(char *payload, uint64_t size, uint32_t tag)
{
    if (size <= whole_bytes) {
        fill_part(payload, 0, size, tag);
        return;
    }
    fill_part(payload, 0, edge_bytes, tag);
    fill_part(payload, tail_start(size), size, tag);
}

static bool is_intact(const char *payload, uint64_t size, uint32_t tag)
{
    if (size <= whole_bytes)
        return is_part_intact(payload, 0, size, tag);
    return is_part_intact(payload, 0, edge_bytes, tag) &&
           is_part_intact(payload, tail_start(size), size, tag);
}

static struct range range_of(const struct held *held)
{
    return (struct range){held->payload, held->payload + (held->size > 0 ? held->size : 1)};
}

int verifier_enter(struct verifier *verifier, struct held *held, size_t alignment,
                   const struct trace_op *op)
{
    if (((uintptr_t)held->payload & (alignment - 1)) != 0)
        return find(verifier, op, "the address is not aligned as it must be", held->payload);
    if (held->usable < held->size)
        return find(verifier, op, "the usable size is below the size asked for", held->payload);
    if (verifier->lab != NULL && !space_holds(&verifier->lab->space, held->payload, held->size))
        return find(verifier, op, "the block reaches out of the heap", held->payload);
    struct range *range = lab_allocate(1, sizeof *range);
    *range = range_of(held);
    void *node = tsearch(range, &verifier->ranges, compare_ranges);
    if (node == NULL || *(struct range **)node != range) {
        free(range);
        return find(verifier, op, "the block overlaps one that is live", held->payload);
    }
    held->tag = ++verifier->next_tag;
    fill(held->payload, held->size, held->tag);
    return 0;
}

int verifier_leave(struct verifier *verifier, struct held *held, const struct trace_op *op)
{
    const struct range key = range_of(held);
    void *node = tfind(&key, &verifier->ranges, compare_ranges);
    struct range *range = node != NULL ? *(struct range **)node : NULL;
    tdelete(&key, &verifier->ranges, compare_ranges);
    free(range);
    if (!is_intact(held->payload, held->size, held->tag))
        return find(verifier, op, "the contents changed while the block was live", held->payload);
    return 0;
}

int verifier_compare(struct verifier *verifier, const struct held *old, const char *payload,
                     uint64_t kept, const struct trace_op *op)
{
    /* Only what was filled is known: the front of a large payload, all of a small one. */
    const uint64_t known = old->size <= whole_bytes ? old->size : edge_bytes;
    if (!is_part_intact(payload, 0, kept < known ? kept : known, old->tag))
        return find(verifier, op, "realloc did not keep the contents", payload);
    return 0;
}

int verifier_zero(struct verifier *verifier, const char *payload, uint64_t bytes,
                  const struct trace_op *op)
{
    const uint64_t checked = bytes <= whole_bytes ? bytes : edge_bytes;
    for (uint64_t i = 0; i < checked; i++)
        if (payload[i] != 0)
            return find(verifier, op, "calloc gave memory that is not zero", payload);
    return 0;
}
