/* From what the recorder wrote to a trace. */
#ifndef RATION_RECORDER_CONVERT_H
#define RATION_RECORDER_CONVERT_H

#include "../lab/trace.h"
#include "raw.h"

struct convert_notes {
    uint64_t n_records;
    uint64_t n_lost;          /* records for which the file had no room */
    uint64_t n_unfinished;    /* places taken by a thread that died before writing */
    uint64_t n_failed;        /* requests that the program's malloc refused */
    uint64_t n_unknown_frees; /* of blocks from before the recording */
    uint64_t n_unseen_frees;  /* an address came again without a free in between */
    char program[472];
};

/* Read the raw file. `keeps_times` and `classic` choose what the trace keeps: time stamps; nothing
 * that the classic format lacks. Returns 0, or -1 with a message in trace->error; trace_drop is
 * owed in both cases. */
int convert_raw(const char *path, int keeps_times, int classic, struct trace *trace,
                struct convert_notes *notes);

#endif
