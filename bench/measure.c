/* measure REPORT SECONDS PRELOAD PROGRAM [ARGUMENT...]
 *
 * Runs PROGRAM with LD_PRELOAD=PRELOAD ("" for none) and writes one line of figures to REPORT.
 * It exists because the peak resident memory that wait4() reports starts from that of the process
 * which called exec: under a Python interpreter every small program would seem to need 10 MiB.
 * This launcher forks while it is itself a few hundred KiB, so the floor is below /bin/true.
 * (vfork() would be no better: the child would then inherit the launcher's own peak.)
 *
 * The figures cover PROGRAM and every descendant that was waited for: times and faults are sums,
 * the peak is that of the largest process. After SECONDS everything in PROGRAM's process group is
 * killed and the line says "timeout=1". */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t child_group;
static volatile sig_atomic_t timed_out;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    timed_out = 1;
    kill(-(pid_t)child_group, SIGKILL);
}

static void on_stop(int signal_number)
{
    kill(-(pid_t)child_group, SIGKILL);
    _exit(128 + signal_number);
}

static int fail(const char *what, const char *name)
{
    fprintf(stderr, "measure: cannot %s %s: %s\n", what, name, strerror(errno));
    return 125;
}

static long long microseconds(struct timeval time)
{
    return time.tv_sec * 1000000LL + time.tv_usec;
}

static long long now_microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void become_program(const char *preload, char **command)
{
    setpgid(0, 0);
    if (*preload) {
        setenv("LD_PRELOAD", preload, 1);
    } else {
        unsetenv("LD_PRELOAD");
    }
    execvp(command[0], command);
    _exit(fail("run", command[0]));
}

static int write_report(const char *path, int status, long long wall_us, const struct rusage *used)
{
    FILE *report = fopen(path, "w");

    if (!report) {
        return fail("write", path);
    }
    fprintf(report,
            "exit=%d signal=%d timeout=%d wall_us=%lld user_us=%lld sys_us=%lld peak_kib=%ld "
            "minor_faults=%ld major_faults=%ld waits=%ld preempted=%ld\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0, (int)timed_out, wall_us,
            microseconds(used->ru_utime), microseconds(used->ru_stime), used->ru_maxrss,
            used->ru_minflt, used->ru_majflt, used->ru_nvcsw, used->ru_nivcsw);
    return fclose(report) == 0 ? 0 : fail("write", path);
}

int main(int argc, char **argv)
{
    struct rusage used;
    int status = 0;

    if (argc < 5 || atoi(argv[2]) <= 0) {
        fprintf(stderr, "usage: measure REPORT SECONDS PRELOAD PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    long long start_us = now_microseconds();
    pid_t child = fork();
    if (child < 0) {
        return fail("fork for", argv[4]);
    }
    if (child == 0) {
        become_program(argv[3], argv + 4);
    }
    child_group = child;
    setpgid(child, child);
    signal(SIGALRM, on_alarm);
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* whoever wants the figures is gone: stop, too */
    alarm((unsigned)atoi(argv[2]));
    while (wait4(child, &status, 0, &used) < 0) {
        if (errno != EINTR) {
            return fail("wait for", argv[4]);
        }
    }
    return write_report(argv[1], status, now_microseconds() - start_us, &used);
}
