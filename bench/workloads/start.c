/* Start-up: what does the allocator cost a program that hardly allocates? */
#include "workloads.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

struct outcome start_run(double scale)
{
    char name[] = "true";
    char *arguments[] = {name, NULL};
    struct outcome outcome = {0};
    unsigned n_starts = scaled(1200, scale);

    for (unsigned i = 0; i < n_starts; i++) {
        pid_t child;
        int status = 0;
        if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) != 0) {
            die("cannot start /bin/true");
        }
        if (waitpid(child, &status, 0) != child || status != 0) {
            die("/bin/true did not end with status 0");
        }
        outcome.tally.operations++;
    }
    return outcome;
}
