/* malloc_usable_size of a freed block. */
#include "misuse.h"

#include <malloc.h>

int main(int argc, char **argv)
{
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    size_t size = malloc_usable_size(crime(p));
    dprintf(STDOUT_FILENO, "size %zu\n", size);
    return go_on();
}
