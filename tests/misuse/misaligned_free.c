/* free(p + OFFSET) where no block can start: not a multiple of 16. */
#include "misuse.h"

int main(int argc, char **argv)
{
    char *p = new_block(argument(argc, argv, 1, 64));
    free(crime(p + argument(argc, argv, 2, 1)));
    return go_on();
}
