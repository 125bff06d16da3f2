/* realloc(p + OFFSET) of a live block. */
#include "misuse.h"

int main(int argc, char **argv)
{
    char *p = new_block(argument(argc, argv, 1, 64));
    hide(realloc(crime(p + argument(argc, argv, 2, 16)), 500));
    return go_on();
}
