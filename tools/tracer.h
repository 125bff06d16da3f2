/*
 * The memory system calls of a program and of all that it starts, one by one, by ptrace. A filter
 * (seccomp) stops the program at these calls only, so that it runs nearly as fast as alone.
 *
 * The filter needs "no new privileges", so programs that the traced one starts get no raised ones.
 */
#ifndef RATION_TOOLS_TRACER_H
#define RATION_TOOLS_TRACER_H

#include <stdint.h>
#include <sys/types.h>

struct traced_call {
    pid_t thread;
    long number;
    uint64_t arguments[6];
    int64_t result; /* -4095 to -1: an error */
    uint64_t from;  /* address of the instruction behind the call */
};

struct tracing {
    const char *path;
    char **program;
    void (*prepare)(void *context); /* in the new process, before the program */
    void (*visit)(const struct traced_call *call, void *context);
    void (*forget)(pid_t thread, void *context); /* it ended, or became another program */
    void *context;
};

/* Returns 0 with the program's wait status in *status, or -1 with errno: EPERM where the system does
 * not allow it. */
int tracer_run(const struct tracing *tracing, int *status);

#endif
