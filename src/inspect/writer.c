#include "inspect/writer.h"

#include "os/syscall.h"

#include <errno.h>

void writer_begin(struct writer *w, int fd)
{
    w->fd = fd;
    w->failed = false;
    text_clear(&w->text);
}

static void flush(struct writer *w)
{
    const char *chars = w->text.chars;
    size_t left = w->text.used;
    text_clear(&w->text);
    while (left > 0 && !w->failed) {
        long done = syscall6(SYS_write, w->fd, (long)chars, (long)left, 0, 0, 0);
        if (done == -EINTR)
            continue;
        if (done <= 0) {
            w->failed = true;
            return;
        }
        chars += done;
        left -= (size_t)done;
    }
}

void writer_add_bytes(struct writer *w, const char *s, size_t n)
{
    while (n > 0) {
        size_t room = sizeof w->text.chars - w->text.used;
        size_t part = n < room ? n : room;
        text_add_bytes(&w->text, s, part);
        s += part;
        n -= part;
        if (w->text.used == sizeof w->text.chars)
            flush(w);
    }
}

void writer_add(struct writer *w, const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    writer_add_bytes(w, s, n);
}

static void add_digits(struct writer *w, uint64_t n, unsigned base, unsigned width)
{
    char digits[32];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789ABCDEF"[n % base];
        n /= base;
    } while (n != 0);
    while (at > 0 && sizeof digits - at < width)
        digits[--at] = ' ';
    writer_add_bytes(w, digits + at, sizeof digits - at);
}

void writer_add_unsigned(struct writer *w, uint64_t n)
{
    add_digits(w, n, 10, 0);
}

void writer_add_column(struct writer *w, uint64_t n, unsigned width)
{
    add_digits(w, n, 10, width);
}

void writer_add_address(struct writer *w, uintptr_t address)
{
    writer_add(w, "0x");
    add_digits(w, address, 16, 0);
}

void writer_add_byte(struct writer *w, unsigned char byte)
{
    const char digits[2] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    writer_add_bytes(w, digits, sizeof digits);
}

int writer_end(struct writer *w)
{
    flush(w);
    return w->failed ? -1 : 0;
}
