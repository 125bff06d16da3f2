/* Suppressions of leaks, in LeakSanitizer's format: lines `leak:PATTERN`; `#` begins a comment. A leak is passed over if a
 * function, a source file or a module of one of its callers holds PATTERN, in which `*` stands for any text, `^` at the start
 * and `$` at the end for the ends of the name. */
#ifndef RATION_TOOLS_SUPPRESSIONS_H
#define RATION_TOOLS_SUPPRESSIONS_H

#include "symbols.h"

struct suppressions {
    char **patterns;
    size_t n;
};

/* 0, or -1 if the file cannot be read or kept (errno), or the number of the first line that is no suppression. */
long suppressions_read(struct suppressions *suppressions, const char *path);

bool suppressions_match(const struct suppressions *suppressions, const struct address *callers,
                        size_t n);

#endif
