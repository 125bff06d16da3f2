// free of what operator new gave.
#include "misuse.h"

#include <new>

int main(int argc, char **argv)
{
    free(crime(::operator new(argument(argc, argv, 1, 64))));
    return go_on();
}
