/* The second free comes after frees of other blocks of the same size. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    void *others[20];
    for (int i = 0; i < 20; i++)
        others[i] = new_block(size);
    void *p = new_block(size);
    free(p);
    for (int i = 0; i < 20; i++)
        free(others[i]);
    free(crime(p));
    return go_on();
}
