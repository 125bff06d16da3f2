/* The second free comes after unrelated use of the heap. */
#include "misuse.h"

int main(int argc, char **argv)
{
    traffic();
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    for (int i = 0; i < 50; i++)
        traffic();
    free(crime(p));
    return go_on();
}
