/* The second free comes from another thread. */
#include "misuse.h"

int main(int argc, char **argv)
{
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    in_thread(free_body, crime(p));
    return go_on();
}
