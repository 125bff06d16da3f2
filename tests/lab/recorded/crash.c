/* 1000 blocks, then a last one of 7777 bytes, then the end that the first argument names. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *keep[1001];

static void end(const char *how)
{
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0)
        raise(SIGSEGV);
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(how, "quick") == 0)
        _exit(3);
    if (strcmp(how, "fork") == 0) {
        const pid_t child = fork();
        if (child == 0) { /* its blocks are not the parent's */
            for (int i = 0; i < 50; i++)
                keep[i] = malloc(5555);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    if (strcmp(how, "exec") == 0)
        execl("/bin/true", "true", (char *)NULL);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    for (int i = 0; i < 1000; i++)
        keep[i] = malloc(4000);
    keep[1000] = malloc(7777);
    end(argv[1]);
    return 0;
}
