/* Five blocks, each freed twice: how many reports there are depends on RATION=on_error. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    void *blocks[5];
    for (int i = 0; i < 5; i++)
        blocks[i] = new_block(size);
    for (int i = 0; i < 5; i++)
        free(blocks[i]);
    for (int i = 0; i < 5; i++)
        free(crime(blocks[i]));
    return go_on();
}
