/* The whole heap under every checker, for white-box tests. Nobody else uses the heap meanwhile. */
#ifndef RATION_TESTS_HEAP_H
#define RATION_TESTS_HEAP_H

#include "support/fake_os.h"
#include "support/unit.h"

/* The first broken invariant by its number ("L4 of a slab of class 12"), or null. Static text. */
const char *heap_broken(void);

#define REQUIRE_SOUND()                                                                            \
    do {                                                                                           \
        const char *broken_ = heap_broken();                                                       \
        if (broken_ != NULL)                                                                       \
            require_failed(broken_, __FILE__, __LINE__);                                           \
    } while (0)

/* A pattern that depends on the block, so that blocks handed out twice are seen. */
void pattern_write(void *p, size_t n, uint64_t key);
bool pattern_is(const void *p, size_t n, uint64_t key);

/* Live small and large blocks as the records know them. */
size_t heap_live_blocks(void);

/* Gives back pages of ready slabs of class c, as a pass of any age does; of at most 16 slabs. */
void heap_purge_class(unsigned c);

/* Misuse is reported into fake.message and the program goes on. */
void heap_go_on_after_misuse(void);

#endif
