/* A file of /proc, character by character, from a small buffer: no allocation, no errno. */
#ifndef RATION_OS_READER_H
#define RATION_OS_READER_H

#include "os/syscall.h"

struct reader {
    int fd; /* its owner opens and closes it */
    size_t at, end;
    char chars[512];
};

static inline void reader_begin(struct reader *r, int fd)
{
    *r = (struct reader){.fd = fd};
}

/* The next character, or -1 at the end. */
static inline int reader_next(struct reader *r)
{
    if (r->at == r->end) {
        long got = syscall6(SYS_read, r->fd, (long)r->chars, (long)sizeof r->chars, 0, 0, 0);
        r->at = 0;
        r->end = got > 0 ? (size_t)got : 0;
        if (got <= 0)
            return -1;
    }
    return (unsigned char)r->chars[r->at++];
}

#endif
