/* malloc_usable_size of a global. */
#include "misuse.h"

#include <malloc.h>

static _Alignas(64) char global[256];

int main(void)
{
    new_block(64);
    size_t size = malloc_usable_size(crime(global + 64));
    dprintf(STDOUT_FILENO, "size %zu\n", size);
    return go_on();
}
