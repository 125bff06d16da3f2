/* The process's mappings, read piece by piece: no allocation, and a few hundred bytes of stack. */
#define _GNU_SOURCE
#include "os/linux.h"
#include "os/reader.h"

#include <fcntl.h>
#include <string.h>

enum { NAME_FIELD = 5 };

static int digit_of(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uintptr_t read_hex(struct reader *r)
{
    uintptr_t n = 0;
    int digit;
    while ((digit = digit_of(reader_next(r))) >= 0)
        n = n << 4 | (uintptr_t)digit;
    return n;
}

/* Skips the offset, the device, the inode and the blanks behind them. The name's first character. */
static int skip_to_name(struct reader *r)
{
    int c = reader_next(r);
    for (int field = 2; field < NAME_FIELD; field++) {
        while (c == ' ')
            c = reader_next(r);
        while (c != ' ' && c != '\n' && c >= 0)
            c = reader_next(r);
    }
    while (c == ' ')
        c = reader_next(r);
    return c;
}

/* A name that is too long loses its beginning. */
static void read_name(struct reader *r, char *name, int c)
{
    size_t n = 0;
    for (; c != '\n' && c >= 0; c = reader_next(r)) {
        if (n == MAPPING_NAME_CHARS - 1) {
            memmove(name, name + 1, n - 1);
            n--;
        }
        name[n++] = (char)c;
    }
    name[n] = '\0';
}

/* A line is `START-END rwxp OFFSET DEVICE INODE   NAME`. */
static bool read_line(struct reader *r, struct os_mapping *m)
{
    m->start = read_hex(r);
    m->end = read_hex(r);
    for (int i = 0; i < 4; i++)
        m->access[i] = (char)reader_next(r);
    m->access[4] = '\0';
    if (m->end == 0)
        return false;
    read_name(r, m->name, skip_to_name(r));
    return true;
}

bool linux_mapping_find(uintptr_t address, struct os_mapping *found, struct os_mapping *before)
{
    struct reader r;
    before->end = 0;
    long fd =
        syscall6(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (syscall_failed(fd))
        return false;
    reader_begin(&r, (int)fd);
    bool is_found = false;
    while (!is_found && read_line(&r, found) && found->start <= address) {
        is_found = address < found->end;
        if (!is_found)
            *before = *found;
    }
    syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
    return is_found;
}
