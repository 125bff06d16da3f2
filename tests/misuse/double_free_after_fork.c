/* The parent frees, then the child frees its copy again; the parent reports how the child ended. */
#include "misuse.h"

#include <signal.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    void *p = new_block(argument(argc, argv, 1, 64));
    free(p);
    pid_t child = fork();
    if (child == 0) {
        free(crime(p));
        _exit(go_on());
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        kill(getpid(), WTERMSIG(status));
    return WEXITSTATUS(status);
}
