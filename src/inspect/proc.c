#define _GNU_SOURCE
#include "inspect/proc.h"

#include "base/chars.h"
#include "base/fmt.h"
#include "os/pagemap.h"
#include "os/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

/* Set by the linker: the first byte of this library, or of the program it is linked into. */
extern const char __ehdr_start[] HIDDEN;

static long open_process_file(int pid, const char *name)
{
    struct text path;
    text_clear(&path);
    text_add(&path, "/proc/");
    if (pid == 0)
        text_add(&path, "self");
    else
        text_add_unsigned(&path, (uint64_t)pid);
    text_add(&path, "/");
    text_add(&path, name);
    text_add_bytes(&path, "", 1);
    return syscall6(SYS_openat, AT_FDCWD, (long)path.chars, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

int proc_open(int pid, const char *name)
{
    long fd = open_process_file(pid, name);
    return fd < 0 ? -1 : (int)fd;
}

void proc_close(int fd)
{
    syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
}

/* A file line by line; what is longer than the buffer is cut. */
struct lines {
    struct reader reader;
    char line[256]; /* terminated */
};

static bool next_line(struct lines *l)
{
    size_t n = 0;
    int c = reader_next(&l->reader);
    if (c < 0)
        return false;
    for (; c >= 0 && c != '\n'; c = reader_next(&l->reader)) {
        if (n < sizeof l->line - 1)
            l->line[n++] = (char)c;
    }
    l->line[n] = '\0';
    return true;
}

static bool lines_open(struct lines *l, int pid, const char *name)
{
    reader_begin(&l->reader, proc_open(pid, name));
    return l->reader.fd >= 0;
}

/* Reads a number in a base up to 16 and what separates it from the next. */
static uint64_t read_number(const char **s, unsigned base)
{
    uint64_t n = 0;
    while (**s == ' ' || **s == '\t')
        ++*s;
    for (;; ++*s) {
        char c = **s;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit >= base)
            return n;
        n = n * base + digit;
    }
}

size_t proc_field_bytes(int pid, const char *file, const char *key)
{
    struct lines l;
    size_t bytes = 0;
    if (!lines_open(&l, pid, file))
        return 0;
    while (bytes == 0 && next_line(&l)) {
        const char *value = chars_behind(l.line, key);
        if (value != NULL)
            bytes = (size_t)read_number(&value, 10) << 10;
    }
    proc_close(l.reader.fd);
    return bytes;
}

size_t proc_statm_bytes(int pid, unsigned shift)
{
    struct lines l;
    size_t bytes = 0;
    if (!lines_open(&l, pid, "statm"))
        return 0;
    if (next_line(&l)) {
        const char *s = l.line;
        read_number(&s, 10);
        bytes = (size_t)read_number(&s, 10) << shift;
    }
    proc_close(l.reader.fd);
    return bytes;
}

bool proc_read_memory(int pid, void *to, uintptr_t from, size_t bytes)
{
    struct iovec here = {to, bytes};
    struct iovec there = {(void *)from, bytes};
    long n = syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0);
    return n == (long)bytes;
}

/* Bit 0 of each byte is the answer; the others are reserved. */
bool proc_own_resident(uintptr_t start, size_t pages, unsigned shift, unsigned char *present)
{
    long r = syscall6(SYS_mincore, (long)start, (long)(pages << shift), (long)present, 0, 0, 0);
    for (size_t i = 0; r == 0 && i < pages; i++)
        present[i] &= 1;
    return r == 0;
}

/* As linux/fs.h has them since Linux 6.7. */
struct scan_region {
    uint64_t start, end, categories;
};
struct scan_request {
    uint64_t bytes, flags, start, end, walk_end, regions, region_count, max_pages;
    uint64_t inverted, wanted, wanted_any, told;
};
#define SCAN_PAGES   0xc0606610UL /* _IOWR('f', 16, struct scan_request) */
#define SCAN_PRESENT (1U << 3)
#define SCAN_ZERO    (1U << 5)

/* Present, and not the kernel's page of zeros, which no RSS counts. */
bool proc_scan_resident(int pagemap_fd, uintptr_t start, size_t pages, unsigned shift,
                        unsigned char *present)
{
    enum { REGIONS = 32 };
    struct scan_region regions[REGIONS];
    uintptr_t end = start + (pages << shift);
    _Static_assert(sizeof(struct scan_request) == 0x60, "the size is part of the number");
    memset(present, 0, pages);
    for (uintptr_t from = start; from < end;) {
        struct scan_request request = {
            .bytes = sizeof request,
            .start = from,
            .end = end,
            .regions = (uintptr_t)regions,
            .region_count = REGIONS,
            .inverted = SCAN_ZERO,
            .wanted = SCAN_PRESENT | SCAN_ZERO,
            .told = SCAN_PRESENT,
        };
        long n = syscall6(SYS_ioctl, pagemap_fd, (long)SCAN_PAGES, (long)&request, 0, 0, 0);
        if (n < 0 || request.walk_end <= from)
            return false;
        for (long i = 0; i < n; i++)
            memset(present + ((regions[i].start - start) >> shift), 1,
                   (regions[i].end - regions[i].start) >> shift);
        from = request.walk_end;
    }
    return true;
}

bool proc_other_resident(int pagemap_fd, uintptr_t start, size_t pages, unsigned shift,
                         unsigned char *present)
{
    enum { ENTRIES = 64 };
    uint64_t entries[ENTRIES] = {0};
    for (size_t i = 0; i < pages; i += ENTRIES) {
        size_t n = pages - i < ENTRIES ? pages - i : ENTRIES;
        if (!pagemap_read(pagemap_fd, (start >> shift) + i, n, entries))
            return false;
        for (size_t k = 0; k < n; k++)
            present[i + k] = (unsigned char)(entries[k] >> PAGEMAP_PRESENT_BIT);
    }
    return true;
}

/* One line of /proc/PID/maps. */
struct mapping {
    uintptr_t start, end;
    bool is_writable; /* and readable */
    uint64_t offset;
    uint64_t device; /* major and minor */
    uint64_t inode;
};

static struct mapping parse_mapping(const char *s)
{
    struct mapping m;
    m.start = read_number(&s, 16);
    s++; /* the dash */
    m.end = read_number(&s, 16);
    m.is_writable = chars_behind(s, " rw") != NULL;
    s = chars_until(s + 1, ' '); /* the permissions */
    m.offset = read_number(&s, 16);
    m.device = read_number(&s, 16) << 32;
    s++; /* the colon */
    m.device |= read_number(&s, 16);
    m.inode = read_number(&s, 10);
    return m;
}

static bool find_own(struct mapping *own)
{
    struct lines l;
    bool found = false;
    if (!lines_open(&l, 0, "maps"))
        return false;
    while (!found && next_line(&l)) {
        *own = parse_mapping(l.line);
        found = own->start == (uintptr_t)__ehdr_start;
    }
    proc_close(l.reader.fd);
    return found;
}

enum view_status proc_find_library(int pid, intptr_t *shift)
{
    struct mapping own;
    struct lines l;
    long fd = open_process_file(pid, "maps");
    if (fd < 0)
        return fd == -EACCES || fd == -EPERM ? VIEW_DENIED : VIEW_NO_PROCESS;
    reader_begin(&l.reader, (int)fd);
    enum view_status status = VIEW_NOT_LOADED;
    bool known = find_own(&own);
    while (known && status == VIEW_NOT_LOADED && next_line(&l)) {
        struct mapping m = parse_mapping(l.line);
        if (m.device == own.device && m.inode == own.inode && m.offset == 0) {
            *shift = (intptr_t)(m.start - own.start);
            status = VIEW_OK;
        }
    }
    proc_close(l.reader.fd);
    return status;
}

bool proc_visit_writable(void (*visit)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    struct lines l;
    if (!lines_open(&l, 0, "maps"))
        return false;
    while (next_line(&l)) {
        struct mapping m = parse_mapping(l.line);
        if (m.is_writable)
            visit(m.start, m.end, arg);
    }
    proc_close(l.reader.fd);
    return true;
}
