/* Text that ends with a zero byte: the few questions that the core asks of it. The C library has functions for them, but
 * each name is looked up whenever a program starts (decision 0010), and these are asked seldom and of short texts. */
#ifndef RATION_BASE_CHARS_H
#define RATION_BASE_CHARS_H

#include "base/compiler.h"

/* Behind `with`, if text begins with it; else null. */
static inline const char *chars_behind(const char *text, const char *with)
{
    for (; *with != '\0'; text++, with++) {
        if (*text != *with)
            return NULL;
    }
    return text;
}

static inline bool chars_are(const char *text, const char *what)
{
    const char *behind = chars_behind(text, what);
    return behind != NULL && *behind == '\0';
}

static inline bool chars_have(const char *text, const char *part)
{
    for (; *text != '\0'; text++) {
        if (chars_behind(text, part) != NULL)
            return true;
    }
    return *part == '\0';
}

/* The first `mark` in text, or its end. */
static inline const char *chars_until(const char *text, char mark)
{
    while (*text != '\0' && *text != mark)
        text++;
    return text;
}

#endif
