/* The verifier: what a correct heap owes its user, checked from outside on every operation. */
#ifndef RATION_LAB_VERIFY_H
#define RATION_LAB_VERIFY_H

#include "strategy.h"
#include "trace.h"

/* A block as the program sees it. */
struct held {
    char *payload; /* NULL: not live */
    uint64_t size; /* asked for */
    uint64_t usable;
    uint32_t tag; /* seed of its pattern */
};

struct verifier {
    struct lab_heap *lab; /* NULL: the process's malloc, whose memory has no bounds to check */
    void *ranges;         /* tree of live ranges (search.h) */
    uint32_t next_tag;
    char *text; /* where the first finding is written; empty while all is well */
    size_t text_bytes;
};

void verifier_open(struct verifier *verifier, struct lab_heap *lab, char *text, size_t text_bytes);
void verifier_close(struct verifier *verifier);

/* After an allocation: alignment, bounds, overlap; fills the pattern. `alignment` is what this
 * request must have. Returns 0, or -1 with a finding. */
int verifier_enter(struct verifier *verifier, struct held *held, size_t alignment,
                   const struct trace_op *op);
/* Before a free or a realloc: the pattern is intact. Takes the range out. */
int verifier_leave(struct verifier *verifier, struct held *held, const struct trace_op *op);
/* After a realloc, before verifier_enter: the first `kept` bytes at `payload` are the pattern. */
int verifier_compare(struct verifier *verifier, const struct held *old, const char *payload,
                     uint64_t kept, const struct trace_op *op);
/* After a calloc, before verifier_enter. */
int verifier_zero(struct verifier *verifier, const char *payload, uint64_t bytes,
                  const struct trace_op *op);

#endif
