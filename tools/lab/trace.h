/*
 * Allocation traces in the `.rep` text format.
 *
 * Four integers, then one operation a line. Three headers are in use and all are read:
 *   classic  suggested_heap_size  n_ids  n_ops  weight
 *   mid      weight               n_ids  n_ops  ignore_ranges (0 or 1)
 *   late     weight               n_ids  n_ops  peak_payload
 * Operations: `a ID SIZE` malloc, `r ID SIZE` realloc, `f ID` free, `f -1` free(NULL). `r` on an
 * id that is not live is realloc(NULL, SIZE); an id may be used again after its free.
 * The extended form adds `c ID COUNT SIZE` calloc, `m ID SIZE ALIGNMENT` aligned allocation,
 * `t THREAD` (who does what follows) and `@ NANOSECONDS` (when, since the start). The last two
 * are no operations and are not counted in n_ops. `#` starts a comment line.
 *
 * Old collections hold defects that every replayer met and that are tolerated here, counted in
 * `notes`: an `a` without a size (the previous size is used again), a number of operations that
 * differs by one from the header, more operations than the header says, CR line ends.
 */
#ifndef RATION_LAB_TRACE_H
#define RATION_LAB_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum trace_kind {
    TRACE_MALLOC,
    TRACE_CALLOC,
    TRACE_ALIGNED,
    TRACE_REALLOC,
    TRACE_FREE,
    TRACE_FREE_NULL,
};

struct trace_op {
    uint8_t kind;        /* enum trace_kind */
    uint8_t align_shift; /* alignment is 1 << align_shift; 0 when the trace asks for none */
    uint16_t thread;
    uint32_t id;   /* below n_ids; 0 for TRACE_FREE_NULL */
    uint32_t line; /* in the file, from 1 */
    uint32_t reserved;
    uint64_t size; /* bytes; COUNT * SIZE for calloc */
    uint64_t time; /* nanoseconds since the start; 0 when the trace has none */
};

struct trace_notes {
    size_t n_missing_sizes;
    size_t n_carriage_returns;
    long n_ops_off; /* operations found minus operations announced */
};

struct trace {
    char *name; /* file name, or generator's name */
    struct trace_op *ops;
    size_t n_ops;
    size_t n_ids;
    size_t capacity;
    int weight;            /* 0 not scored, 1 both, 2 utilisation only, 3 throughput only */
    unsigned n_threads;    /* 1 when the trace names none */
    uint64_t peak_payload; /* recounted: most bytes live at once */
    size_t peak_op;        /* the operation after which they were */
    size_t peak_live;      /* most blocks live at once */
    struct trace_notes notes;
    char error[400]; /* FILE:LINE: what was expected, when trace_read failed */
};

/*
 * Read the trace in `path` ("-" is standard input). Returns 0; 2 when the file cannot be read;
 * 3 when it is damaged. In the last two cases `error` says why; after damage the trace holds what
 * was read up to there. trace_drop is owed in every case.
 */
int trace_read(struct trace *trace, const char *path);
void trace_drop(struct trace *trace);

/* Building one: trace_start, trace_add for each operation, trace_finish (recounts the peak). */
void trace_start(struct trace *trace, const char *name);
void trace_add(struct trace *trace, enum trace_kind kind, uint32_t id, uint64_t size);
struct trace_op *trace_last(struct trace *trace);
void trace_finish(struct trace *trace);

/* Write the classic form; the extended lines appear only where the trace needs them. */
void trace_write(const struct trace *trace, FILE *out);

#endif
