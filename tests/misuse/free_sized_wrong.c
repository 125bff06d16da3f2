/* free_sized(malloc(SIZE), CLAIM). */
#include "misuse.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
    void (*free_sized)(void *, size_t) =
        (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    if (free_sized == NULL)
        return 77;
    void *p = new_block(argument(argc, argv, 1, 64));
    free_sized(crime(p), argument(argc, argv, 2, 500));
    return go_on();
}
