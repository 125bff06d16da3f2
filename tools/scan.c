#include "scan.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *behind_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

bool scan_text(const char **at, const char *text)
{
    const char *from = behind_blanks(*at);
    const size_t length = strlen(text);
    if (strncmp(from, text, length) != 0)
        return false;
    *at = from + length;
    return true;
}

bool scan_number(const char **at, int base, unsigned long *number)
{
    const char *from = behind_blanks(*at);
    char *end = NULL;
    if (!isxdigit((unsigned char)*from))
        return false;
    errno = 0;
    const unsigned long value = strtoul(from, &end, base);
    if (errno != 0 || end == from)
        return false;
    *number = value;
    *at = end;
    return true;
}

bool scan_numbers(const char **at, unsigned long *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!scan_number(at, 10, &numbers[i]))
            return false;
    return true;
}
