/* No misuse, but what attacks build upon: the block just freed is the next one that malloc gives. */
#include "misuse.h"

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 64);
    crime(NULL);
    for (int i = 0; i < 10; i++) {
        void *p = hide(malloc(size));
        free(p);
        void *q = hide(malloc(size));
        if (p == q)
            lost("the block just freed was handed out at once");
    }
    return go_on();
}
