/* The process's mappings, read piece by piece: no allocation, and a few hundred bytes of stack. */
#define _GNU_SOURCE
#include "os/linux.h"
#include "os/syscall.h"

#include <fcntl.h>
#include <string.h>

enum { PIECE_BYTES = 512, NAME_FIELD = 5 };

struct reader {
    long fd;
    size_t used, have;
    char piece[PIECE_BYTES];
};

/* The next character, or -1 at the end. */
static int next_char(struct reader *r)
{
    if (r->used == r->have) {
        long got = syscall6(SYS_read, r->fd, (long)r->piece, PIECE_BYTES, 0, 0, 0);
        if (syscall_failed(got) || got == 0)
            return -1;
        r->have = (size_t)got;
        r->used = 0;
    }
    return (unsigned char)r->piece[r->used++];
}

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
    while ((digit = digit_of(next_char(r))) >= 0)
        n = n << 4 | (uintptr_t)digit;
    return n;
}

/* Skips the offset, the device, the inode and the blanks behind them. The name's first character. */
static int skip_to_name(struct reader *r)
{
    int c = next_char(r);
    for (int field = 2; field < NAME_FIELD; field++) {
        while (c == ' ')
            c = next_char(r);
        while (c != ' ' && c != '\n' && c >= 0)
            c = next_char(r);
    }
    while (c == ' ')
        c = next_char(r);
    return c;
}

/* A name that is too long loses its beginning. */
static void read_name(struct reader *r, char *name, int c)
{
    size_t n = 0;
    for (; c != '\n' && c >= 0; c = next_char(r)) {
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
        m->access[i] = (char)next_char(r);
    m->access[4] = '\0';
    if (m->end == 0)
        return false;
    read_name(r, m->name, skip_to_name(r));
    return true;
}

bool linux_mapping_find(uintptr_t address, struct os_mapping *found, struct os_mapping *before)
{
    struct reader r = {.used = 0, .have = 0};
    before->end = 0;
    r.fd = syscall6(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (syscall_failed(r.fd))
        return false;
    bool is_found = false;
    while (!is_found && read_line(&r, found) && found->start <= address) {
        is_found = address < found->end;
        if (!is_found)
            *before = *found;
    }
    syscall6(SYS_close, r.fd, 0, 0, 0, 0, 0);
    return is_found;
}
