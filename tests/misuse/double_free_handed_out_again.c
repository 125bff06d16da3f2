/* Between the two frees the program allocates the same size again. If it got the same block, the second free takes it from
   its new owner, and the next allocation gives it to a third: two owners of one block. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    void *p = new_block(size);
    free(p);
    void *second = hide(malloc(size));
    free(crime(p));
    void *third = hide(malloc(size));
    if (second == third)
        lost("two owners of one block");
    return go_on();
}
