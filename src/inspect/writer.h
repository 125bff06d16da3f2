/* Text to a file descriptor, without allocation and without stdio. A writer is on its user's stack;
 * after a failure it swallows the rest. */
#ifndef RATION_INSPECT_WRITER_H
#define RATION_INSPECT_WRITER_H

#include "base/fmt.h"

struct writer {
    int fd;
    bool failed;
    struct text text; /* not written yet */
};

void writer_begin(struct writer *w, int fd);
void writer_add(struct writer *w, const char *s);
void writer_add_bytes(struct writer *w, const char *s, size_t n);
void writer_add_unsigned(struct writer *w, uint64_t n);
/* Right-aligned in `width` columns. */
void writer_add_column(struct writer *w, uint64_t n, unsigned width);
/* `0x` and upper-case digits, no padding. */
void writer_add_address(struct writer *w, uintptr_t address);
/* Two lower-case hexadecimal digits. */
void writer_add_byte(struct writer *w, unsigned char byte);

/* Writes what is left. 0, or -1 if something could not be written. */
int writer_end(struct writer *w);

#endif
