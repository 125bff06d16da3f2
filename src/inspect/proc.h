/* What the system knows about a process: /proc, residency, memory of another process. By system
 * calls alone: no allocation, no errno. */
#ifndef RATION_INSPECT_PROC_H
#define RATION_INSPECT_PROC_H

#include "inspect/view.h"

/* Opens /proc/PID/NAME, or /proc/self/NAME if pid is 0, for reading. -1: it cannot be. */
int proc_open(int pid, const char *name);
void proc_close(int fd);

/* The bytes behind `key` ("Rss:") in a file of /proc that counts in kB. 0: not there. */
size_t proc_field_bytes(int pid, const char *file, const char *key);

/* Resident pages as statm says, in bytes. 0: unknown. */
size_t proc_statm_bytes(int pid, unsigned shift);

/* Calls visit for each mapping of this process that may be read and written. False: not listed. */
bool proc_visit_writable(void (*visit)(uintptr_t start, uintptr_t end, void *arg), void *arg);

bool proc_read_memory(int pid, void *to, uintptr_t from, size_t bytes);

bool proc_own_resident(uintptr_t start, size_t pages, unsigned shift, unsigned char *present);
/* The same of the process whose pagemap is open, better: without the kernel's page of zeros. False before Linux 6.7. */
bool proc_scan_resident(int pagemap_fd, uintptr_t start, size_t pages, unsigned shift,
                        unsigned char *present);
bool proc_other_resident(int pagemap_fd, uintptr_t start, size_t pages, unsigned shift,
                         unsigned char *present);

/* Where the other process has loaded the file that this code comes from: *shift is how far its
 * variables lie behind ours. */
enum view_status proc_find_library(int pid, intptr_t *shift);

#endif
