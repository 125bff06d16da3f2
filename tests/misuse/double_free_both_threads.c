/* Two other threads free the block of a third. */
#include "misuse.h"

int main(int argc, char **argv)
{
    void *p = new_block(argument(argc, argv, 1, 64));
    in_thread(free_body, p);
    in_thread(free_body, crime(p));
    return go_on();
}
