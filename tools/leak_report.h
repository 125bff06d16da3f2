/* What processes under RATION=leaks=DESCRIPTOR wrote when they ended (src/inspect/leaks.h), read, named, suppressed, merged
 * and printed. */
#ifndef RATION_TOOLS_LEAK_REPORT_H
#define RATION_TOOLS_LEAK_REPORT_H

#include "suppressions.h"
#include <stdio.h>

enum { leak_most_sizes = 80 };

enum leak_fate { leak_lost, leak_below, leak_reachable };

/* Blocks of one call site and fate. */
struct leak {
    size_t process; /* from 1; 0 after merging */
    unsigned long site, owner;
    enum leak_fate fate;
    size_t blocks, bytes;
    bool is_suppressed;
    struct address *callers;
    size_t n_callers;
};

struct size_lost {
    size_t slot_bytes; /* 0: large blocks */
    size_t blocks, bytes;
};

struct leak_report {
    size_t processes, lost_blocks, lost_bytes, reachable_blocks, reachable_bytes;
    size_t suppressed_blocks, suppressed_bytes; /* not counted as lost */
    struct size_lost sizes[leak_most_sizes];
    int n_sizes;
    struct leak *leaks;
    size_t n_leaks;
    struct address *callers; /* of all leaks, once they are named */
    const char *hint;        /* a sentence on what is missing, or NULL */
};

/* Reads all lines. False if one is of another form: what can be read is read. */
bool leak_report_read(struct leak_report *report, FILE *from);

/* Names callers, passes over what is suppressed, merges what processes have in common, sorts. */
void leak_report_settle(struct leak_report *report, const struct suppressions *suppressions);

void leak_report_print(const struct leak_report *report, bool with_reachable);
void leak_report_print_json(const struct leak_report *report);

#endif
