/*
 * Replaying a trace with a real malloc: the C library's, or libration by LD_PRELOAD. The command
 * starts itself again for each of three passes (verified, measured, timed), so that nothing but
 * the trace uses the heap that is measured. The trace and the result travel in shared memory.
 */
#ifndef RATION_LAB_PROCESS_H
#define RATION_LAB_PROCESS_H

#include "replay.h"

/* Fills `result`, whose strategy is set. */
void process_replay(struct lab_result *result, const struct trace *trace,
                    const struct lab_limits *limits);

/* The other side: `ration sim --replay-process=MODE,FD,SECONDS`. Returns the exit status. */
int process_main(const char *argument);

/* Anonymous bytes of this process that are resident now, by a walk of the page tables: the counters
 * of statm lag behind by up to 64 pages a thread. Read without stdio, which would allocate. */
uint64_t process_anonymous_bytes(void);

#endif
