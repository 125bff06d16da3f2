/* A line for each call of chosen functions: RATION=log=malloc+free, `ration run --log=malloc,free`.
 *
 *     [4242] malloc(100) = 0x7f31c0de0010 from /usr/bin/prog+0x1234
 *     [4242] free(0x7f31c0de0010) from /usr/bin/prog+0x1250
 *     [4242] realloc(0x7f31c0de0010, 200) = 0x7f31c0de0200
 *
 * [thread], the call, the first caller if RATION=stacks=N records callers. A free is told before it is done, all else after.
 *
 * What is guaranteed: a line has been handed to the kernel, whole, by one write(2), before the call returns to the program
 * (before anything is freed); nothing is kept back in the process, so an abort or SIGKILL loses nothing. Lines of threads and
 * processes do not mix: the log is opened to append. What can lose lines is a full disk (told once), and a program that
 * closes descriptors which it never opened. */
#ifndef RATION_RECORD_LOG_H
#define RATION_RECORD_LOG_H

#include "base/compiler.h"

/* Begins to log what conf.log names to the descriptor conf.log_fd. False if there are too many listeners. */
bool log_begin(void);

#endif
