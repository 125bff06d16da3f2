#include "base/fmt.h"

void text_clear(struct text *t)
{
    t->used = 0;
}

void text_add_bytes(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n && t->used < sizeof t->chars; i++)
        t->chars[t->used++] = s[i];
}

void text_add(struct text *t, const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    text_add_bytes(t, s, n);
}

static void add_number(struct text *t, uint64_t n, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);
    text_add_bytes(t, digits + at, sizeof digits - at);
}

void text_add_unsigned(struct text *t, uint64_t n)
{
    add_number(t, n, 10);
}

void text_add_signed(struct text *t, int64_t n)
{
    if (n < 0)
        text_add_bytes(t, "-", 1);
    add_number(t, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
}

void text_add_hex(struct text *t, uint64_t n)
{
    text_add(t, "0x");
    add_number(t, n, 16);
}
