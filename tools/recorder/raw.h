/*
 * The file that the recorder fills while a program runs and `ration trace` turns into a .rep
 * trace afterwards. It is a sparse file, mapped shared by the program: what was written is in it
 * even if the program is killed at any instruction, and nothing has to be flushed.
 *
 * One raw_head, then records in the order in which their places were taken. A record whose kind is
 * RAW_EMPTY was taken and never written: its thread died in between.
 *
 * Order: a free is recorded before it happens and an allocation after it happened, so an address
 * never appears as allocated twice. realloc is two records for the same reason.
 */
#ifndef RATION_RECORDER_RAW_H
#define RATION_RECORDER_RAW_H

#include <stdint.h>

enum raw_kind {
    RAW_EMPTY,
    RAW_MALLOC,       /* address, size */
    RAW_CALLOC,       /* address, size (the product) */
    RAW_ALIGNED,      /* address, size, align_shift */
    RAW_FREE,         /* address; 0 is free(NULL) */
    RAW_RESIZE_BEGIN, /* address: old */
    RAW_RESIZE_END,   /* address: new, 0 when it failed; size */
};

struct raw_record {
    uint8_t kind; /* written last, released */
    uint8_t align_shift;
    uint16_t thread;
    uint32_t reserved;
    uint64_t time; /* nanoseconds since the start */
    uint64_t address;
    uint64_t size;
};

struct raw_head {
    char magic[8];     /* raw_magic */
    uint64_t capacity; /* records that fit */
    uint64_t next;     /* records taken; may be larger than capacity: the rest is lost */
    uint64_t started;  /* nanoseconds of the monotonic clock */
    uint32_t n_threads;
    uint32_t reserved;
    char program[472];
};

_Static_assert(sizeof(struct raw_record) == 32 && sizeof(struct raw_head) == 512, "file layout");

#define raw_magic "RATRACE1"

/* Environment of the recorded program: where to write ("PREFIX", the file is PREFIX.PID), and the
 * only process to record, or "all". */
#define raw_prefix_variable  "RATION_TRACE_RAW"
#define raw_process_variable "RATION_TRACE_PROCESS"

#endif
