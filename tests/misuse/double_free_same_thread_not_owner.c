/* One other thread frees a block twice. */
#include "misuse.h"

static void *free_twice(void *p)
{
    free(p);
    free(crime(p));
    return NULL;
}

int main(int argc, char **argv)
{
    in_thread(free_twice, new_block(argument(argc, argv, 1, 64)));
    return go_on();
}
