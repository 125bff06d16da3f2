/* Counts the instructions between two SIGUSR1 of a program, by stepping it one at a time.

     stepcount PROGRAM ARGUMENTS...        prints the count

   Works in one thread of the traced program: the one that main runs in. A repeated string
   instruction counts once per repetition. Exit status 0, or 1 with the reason on stderr. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void give_up(const char *what)
{
    fprintf(stderr, "stepcount: %s\n", what);
    if (child > 0)
        kill(child, SIGKILL);
    exit(1);
}

static int wait_for_stop(void)
{
    int status = 0;
    if (waitpid(child, &status, 0) < 0)
        give_up(strerror(errno));
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
        child = 0;
        give_up("the program ended before its second mark; run it alone to see why");
    }
    return WSTOPSIG(status);
}

/* Lets the program run until its next mark; other signals are passed on. */
static void run_to_mark(void)
{
    int signal_to_pass = 0;
    do {
        if (ptrace(PTRACE_CONT, child, NULL, (void *)(long)signal_to_pass) < 0)
            give_up(strerror(errno));
        int stop = wait_for_stop();
        signal_to_pass = stop == SIGTRAP ? 0 : stop;
    } while (signal_to_pass != SIGUSR1);
}

static unsigned long count_to_mark(void)
{
    unsigned long n_steps = 0;
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0)
            give_up(strerror(errno));
        int stop = wait_for_stop();
        if (stop == SIGUSR1)
            return n_steps;
        if (stop != SIGTRAP)
            give_up("the program got a signal between its marks");
        n_steps++;
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: stepcount PROGRAM ARGUMENTS...\n");
        return 2;
    }
    child = fork();
    if (child < 0)
        give_up(strerror(errno));
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        const char *library = getenv("STEPCOUNT_PRELOAD");
        if (library != NULL)
            setenv("LD_PRELOAD", library, 1);
        execv(argv[1], argv + 1);
        fprintf(stderr, "stepcount: cannot run %s: %s\n", argv[1], strerror(errno));
        _exit(127);
    }
    wait_for_stop();
    run_to_mark();
    printf("%lu\n", count_to_mark());
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
