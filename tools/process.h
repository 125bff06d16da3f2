/*
 * Reading a process that runs under libration: which library it uses, and its ledger. The library's
 * own file reads it, so the layout is always the right one.
 */
#ifndef RATION_TOOLS_PROCESS_H
#define RATION_TOOLS_PROCESS_H

#include "launch.h"
#include <argp.h>

/* The last case of a parser whose one plain argument is the number of a process. */
error_t process_parse_pid(int key, char *argument, struct argp_state *state, int *pid);

/* Opens the very file of libration that the process uses. The process must be of this user. Both return
 * EXIT_FINE, or the status to exit with after a message in the name of `command`. */
int process_open(struct library *library, int pid, const char *command);
/* EXIT_FINE, or what `status` means, said in the name of `command`, and the status to exit with. */
int process_explain(enum ration_status status, int pid, const char *command);
int process_read(const struct library *library, int pid, struct ration_stats *stats,
                 const char *command);

#endif
