/* A process beside the program that adds functions and lines to reports of misuse: the library writes them to a socket instead
 * of stderr (RATION=reports=DESCRIPTOR), this process to stderr. It is nobody's child, holds nothing open but the socket and
 * stderr, and ends when the program and all that it started have. */
#ifndef RATION_TOOLS_REPORT_NAMES_H
#define RATION_TOOLS_REPORT_NAMES_H

/* Starts it. The descriptor for the program, or -1: then reports go to stderr, without functions. */
int report_names_start(void);

#endif
