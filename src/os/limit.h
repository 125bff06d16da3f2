/* The memory limit of the control group that the process is in: containers, systemd units.
 *
 * Looked for: with cgroup v2, memory.high or memory.max of the group or of the nearest group above it that has one; with
 * v1, memory.limit_in_bytes. What counts against it here is anonymous memory alone: files that the kernel has cached can
 * be dropped, and say nothing of the heap. Limits may change while the process runs; the group may not.
 *
 * cpu.max is of no matter to libration: what is sized by the count of processors goes by where threads may run. */
#ifndef RATION_OS_LIMIT_H
#define RATION_OS_LIMIT_H

#include "base/compiler.h"

/* Whether the group's anonymous memory is above seven eighths of its limit. False if there is no limit, or nobody can
 * tell. Reads two or three small files; any thread, the helper's too. */
bool limit_is_near(void);

/* For tests: looks for the group again. */
void limit_forget(void);

#endif
