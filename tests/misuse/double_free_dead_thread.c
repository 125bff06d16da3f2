/* Allocated and freed by a thread that has ended, then freed again here. */
#include "misuse.h"

static void *allocate_and_free(void *place)
{
    size_t size = *(size_t *)place;
    void *p = new_block(size);
    *(void **)place = p;
    free(p);
    return NULL;
}

int main(int argc, char **argv)
{
    union {
        size_t size;
        void *block;
    } place = {.size = argument(argc, argv, 1, 64)};
    in_thread(allocate_and_free, &place);
    free(crime(place.block));
    return go_on();
}
