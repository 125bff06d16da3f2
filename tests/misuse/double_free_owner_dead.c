/* The thread that allocated has ended; two frees here. */
#include "misuse.h"

static void *allocate(void *place)
{
    *(void **)place = new_block(*(size_t *)place);
    return NULL;
}

int main(int argc, char **argv)
{
    union {
        size_t size;
        void *block;
    } place = {.size = argument(argc, argv, 1, 64)};
    in_thread(allocate, &place);
    free(place.block);
    free(crime(place.block));
    return go_on();
}
