/*
 * Lines of /proc, and of reports and arguments that this command writes itself, read piece by piece. Each function passes over
 * blanks, takes what it is asked for and moves *at behind it; if something else stands there, *at stays and it returns false.
 */
#ifndef RATION_TOOLS_SCAN_H
#define RATION_TOOLS_SCAN_H

#include <stdbool.h>
#include <stddef.h>

bool scan_text(const char **at, const char *text);

/* Without a sign. A number that does not fit is none, where sscanf would make one up. */
bool scan_number(const char **at, int base, unsigned long *number);

/* n decimal numbers; of fewer, those that are there are taken. */
bool scan_numbers(const char **at, unsigned long *numbers, size_t n);

#endif
