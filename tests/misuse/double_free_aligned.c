/* A block of aligned_alloc, freed twice. */
#include "misuse.h"

int main(int argc, char **argv)
{
    void *p = hide(aligned_alloc(argument(argc, argv, 2, 4096), argument(argc, argv, 1, 64)));
    free(p);
    free(crime(p));
    return go_on();
}
