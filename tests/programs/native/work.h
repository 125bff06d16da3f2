/* A workload and a question for the programs that test the ways into a process. */
#ifndef NATIVE_WORK_H
#define NATIVE_WORK_H

#include <stddef.h>

struct functions {
    void *(*allocate)(size_t size);
    void *(*resize)(void *block, size_t size);
    void (*release)(void *block);
};

/* Allocates in this thread and three others with patterns; returns 0, or prints what went wrong. */
int work_run(const struct functions *f);

/* Whether a second free of one block gets libration's report; asked in a child process. */
int work_is_libration(const struct functions *f);

#endif
