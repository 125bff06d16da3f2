/* Text without allocation and without stdio: a bounded line that is written with one call.
 * A text that does not fit is cut; nothing is written past the buffer. Not shared between threads. */
#ifndef RATION_BASE_FMT_H
#define RATION_BASE_FMT_H

#include "base/compiler.h"

struct text {
    size_t used;
    char chars[1024];
};

void text_clear(struct text *t);
void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t n);
void text_add_unsigned(struct text *t, uint64_t n);
void text_add_signed(struct text *t, int64_t n);
/* `0x` and lower-case digits, no padding. */
void text_add_hex(struct text *t, uint64_t n);

#endif
