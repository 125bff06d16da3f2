/* /proc/PID/pagemap: one word for each page of a process's addresses. */
#ifndef RATION_OS_PAGEMAP_H
#define RATION_OS_PAGEMAP_H

#include "os/syscall.h"

/* The two highest bits of a word. */
enum { PAGEMAP_PRESENT_BIT = 63, PAGEMAP_SWAPPED_BIT = 62 };

/* The words of n pages from page number `first` on. False if the file does not tell all of them. */
static inline bool pagemap_read(int fd, uintptr_t first, size_t n, uint64_t *words)
{
    long bytes = (long)(n * sizeof *words);
    return syscall6(SYS_pread64, fd, (long)words, bytes, (long)(first * sizeof *words), 0, 0) ==
           bytes;
}

#endif
