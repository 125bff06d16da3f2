/*
 * Who made a memory system call, and what it was about, from what the tracer saw: the file in which
 * the calling instruction lies, and the ranges that were mapped for a thread's stack or from a file.
 */
#ifndef RATION_TOOLS_CALLERS_H
#define RATION_TOOLS_CALLERS_H

#include "tracer.h"

enum caller {
    CALLER_LIBRATION,
    CALLER_LIBC,
    CALLER_LOADER, /* the dynamic linker */
    CALLER_OTHER,  /* the program, and other libraries */
    CALLER_COUNT,
};

enum call_kind {
    KIND_BREAK,   /* brk */
    KIND_MAP,     /* mmap of memory */
    KIND_UNMAP,   /* munmap */
    KIND_MOVE,    /* mremap */
    KIND_ADVISE,  /* madvise, process_madvise */
    KIND_PROTECT, /* mprotect */
    KIND_STACK,   /* all of these for stacks of threads */
    KIND_FILE,    /* all of these for mapped files */
    KIND_COUNT,
};

struct tally {
    uint64_t calls;
    uint64_t bytes; /* of calls that did not fail; a break that moves counts by how far */
};

struct callers; /* what is known of the traced threads */

struct callers *callers_new(void);
void callers_free(struct callers *callers);

/* What the call is counted as; *bytes is what it was about. */
enum caller callers_judge(struct callers *callers, const struct traced_call *call,
                          enum call_kind *kind, uint64_t *bytes);

/* The thread ended or became another program. */
void callers_forget(struct callers *callers, pid_t thread);

#endif
