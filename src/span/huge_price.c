#include "span/huge_price.h"

static struct {
    uint32_t left; /* chunks to pass over */
    uint32_t next; /* so many after the next dear one */
} passed_over = {0, HUGE_PASSED_OVER_FIRST};

bool huge_price_affords(size_t chunks)
{
    if (passed_over.left == 0)
        return true;
    passed_over.left -= (uint32_t)min_size(passed_over.left, chunks);
    return false;
}

void huge_price_seen(uint64_t nanoseconds)
{
    if (nanoseconds < HUGE_DEAR_NS) {
        passed_over.next = HUGE_PASSED_OVER_FIRST;
        return;
    }
    passed_over.left = passed_over.next;
    passed_over.next = (uint32_t)min_size((size_t)passed_over.next * 2, HUGE_PASSED_OVER_MOST);
}
