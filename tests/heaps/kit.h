/* What every test of heaps shares: one list of all kinds and policies, each started in the same
 * way, and the last misuse that was reported. */
#ifndef RATION_TESTS_HEAPS_KIT_H
#define RATION_TESTS_HEAPS_KIT_H

#include "support/unit.h"
#include <ration.h>

enum trait {
    FIXED_SIZE = 1,     /* every block has the same size */
    REUSES = 2,         /* memory of any freed block serves again without a reset */
    GROWS = 4,          /* exhaustion comes from the system, not from the heap */
    SHARED = 8,         /* any number of threads at once */
    THROUGH = 16,       /* blocks come from plain malloc: misuse is another tool's to report */
    HAS_TAGS = 32,      /* words in front of blocks that an overflow destroys */
    MOVES_NEVER = 64,   /* a resize stays in place or fails */
    ALIGNS_PAGES = 128, /* blocks are aligned to at least a page by themselves */
};

/* One started heap. The struct of each kind begins with its handle. */
struct subject {
    union {
        struct ration_heap heap;
        struct ration_fit fit;
        struct ration_buddy buddy;
        struct ration_tlsf tlsf;
        struct ration_pool pool;
        struct ration_arena arena;
        struct ration_private own;
        struct ration_stacks stacks;
    };
    char *buffer;
    size_t buffer_bytes;
    char *brk; /* end of what a simulated sbrk has given out, in the buffer */
    size_t n_source_takes, n_source_gives, source_bytes;
    struct ration_source source; /* malloc, counted */
};

struct variant {
    char name[96];
    unsigned traits;
    size_t most_bytes;     /* the largest request of the tests; of FIXED_SIZE the size of all */
    size_t most_alignment; /* served for sure */
    struct ration_heap *(*start)(struct subject *subject, const struct variant *variant);
    union {
        struct ration_fit_options fit;
        struct ration_buddy_options buddy;
        struct ration_tlsf_options tlsf;
        struct ration_pool_options pool;
        struct ration_arena_options arena;
        struct ration_private_options own;
        struct ration_stacks_options stacks;
    } options;
    size_t buffer_bytes; /* 0: the kind takes its memory elsewhere */
};

/* All variants; made once. */
const struct variant *variants_all(size_t *n);

/* Starts and ends a heap; end checks that all memory went back. */
struct ration_heap *subject_start(struct subject *subject, const struct variant *variant);
void subject_end(struct subject *subject);

/* The misuses reported since misuse_forget(); reports are kept, not printed. */
extern struct ration_misuse last_misuse;
extern unsigned n_misuses;
void misuse_forget(void);

/* Fails with the heap's name and the finding's text. */
void require_sound(struct ration_heap *heap, const char *when);
void require_misuse(const struct variant *variant, enum ration_misuse_kind kind, const char *what);

/* Fails a test with the variant's name. */
#define CHECK(variant, condition)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s: not true: %s\n", (variant)->name, #condition);                        \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* Runs test(state) for each variant whose traits have all of `with` and none of `without`; a test
 * gets the variant as *state. Returns the number of failed ones. */
struct variant_test {
    const char *name;
    CMUnitTestFunction test;
    unsigned with, without;
};
int run_for_variants(const char *group, const struct variant_test *tests, size_t n_tests);

#endif
