// operator delete(p, CLAIM) of a block of operator new(SIZE).
#include "misuse.h"

#include <new>

int main(int argc, char **argv)
{
    void *p = hide(::operator new(argument(argc, argv, 1, 64)));
    ::operator delete(crime(p), argument(argc, argv, 2, 500));
    return go_on();
}
