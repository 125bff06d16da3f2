/* free of a slot beside a live block that malloc has not handed out: a guess OFFSET bytes away. */
#include "misuse.h"

int main(int argc, char **argv)
{
    char *p = hide(malloc(argument(argc, argv, 1, 48)));
    free(crime(p + argument(argc, argv, 2, 48)));
    return go_on();
}
