/* The second free comes from another thread. */
#include "misuse.h"

int main(int argc, char **argv)
{
    /* A first thread: the second's own memory must not come from the freed block. */
    in_thread(free_body, NULL);
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    in_thread(free_body, crime(p));
    return go_on();
}
