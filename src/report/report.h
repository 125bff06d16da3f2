/* Reports of misuse: one block of text on stderr, written without allocating, with one call or, if it is long, with
 * several; then what `on_error` says.
 *
 * The first line is `ration: KIND at 0xADDRESS in FUNCTION`, the next ones begin with two spaces. Thread-safe: reports of
 * two threads do not mix. */
#ifndef RATION_REPORT_REPORT_H
#define RATION_REPORT_REPORT_H

#include "base/fmt.h"

enum misuse {
    MISUSE_DOUBLE_FREE,
    MISUSE_INVALID_FREE,
    MISUSE_INTERIOR_FREE,
    MISUSE_MISALIGNED_FREE,
    MISUSE_SIZE_MISMATCH,
    MISUSE_USE_AFTER_FREE,
    MISUSE_OVERFLOW,
    MISUSE_CORRUPT_HEAP,
};

/* Begins a report in *t: its first line. `function` is the call that the program made. */
void report_begin(struct text *t, enum misuse kind, uintptr_t address, const char *function);

/* The same for an access that faulted: `ration: KIND at 0xADDRESS by a WORD`. */
void report_begin_access(struct text *t, enum misuse kind, uintptr_t address, const char *word);

/* Writes such a report, and returns: what follows is up to the program. */
void report_end_access(struct text *t);

/* The kind that a report was begun with. */
enum misuse report_kind(const struct text *t);

/* Makes room for some more lines: if there is little left, what is there is written already. */
void report_make_room(struct text *t);

/* Adds the line of advice, writes the report, and ends the program if on_error says so. Returns otherwise. */
void report_end(struct text *t);

void report_fork_child(void);

#endif
