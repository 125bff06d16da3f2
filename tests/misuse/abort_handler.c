/* A handler of SIGABRT that itself uses the heap must not hang: no lock is held at the report. */
#include "misuse.h"

#include <signal.h>

static void on_abort(int signal)
{
    (void)signal;
    for (size_t size = 1; size < 1000000; size *= 2)
        free(hide(malloc(size)));
    in_thread(free_body, malloc(1000));
    _exit(3);
}

int main(int argc, char **argv)
{
    signal(SIGABRT, on_abort);
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    free(crime(p));
    return go_on();
}
