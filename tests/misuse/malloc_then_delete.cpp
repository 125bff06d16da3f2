// operator delete of what malloc gave.
#include "misuse.h"

#include <new>

int main(int argc, char **argv)
{
    ::operator delete(crime(new_block(argument(argc, argv, 1, 64))));
    return go_on();
}
