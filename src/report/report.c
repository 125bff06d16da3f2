#include "report/report.h"

#include "conf/conf.h"
#include "os/lock.h"
#include "os/os.h"
#include "os/syscall.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { LINE_ROOM = 384 }; /* the longest line, near enough */

static struct lock report_lock = LOCK_INIT(RANK_REPORT);
static uint32_t reports_made; /* under the lock, as is: */
static bool is_told;          /* the report that is being written */

static const char *const kind_words[] = {
    [MISUSE_DOUBLE_FREE] = "double free",     [MISUSE_INVALID_FREE] = "invalid free",
    [MISUSE_INTERIOR_FREE] = "interior free", [MISUSE_MISALIGNED_FREE] = "misaligned free",
    [MISUSE_SIZE_MISMATCH] = "size mismatch", [MISUSE_USE_AFTER_FREE] = "use after free",
    [MISUSE_OVERFLOW] = "overflow",           [MISUSE_CORRUPT_HEAP] = "corrupt heap",
};

static void begin(struct text *t, enum misuse kind, uintptr_t address)
{
    text_clear(t);
    text_add(t, "ration: ");
    text_add(t, kind_words[kind]);
    text_add(t, " at ");
    text_add_hex(t, address);
}

void report_begin(struct text *t, enum misuse kind, uintptr_t address, const char *function)
{
    begin(t, kind, address);
    text_add(t, " in ");
    text_add(t, function);
    text_add(t, "()\n");
}

void report_begin_access(struct text *t, enum misuse kind, uintptr_t address, const char *word)
{
    begin(t, kind, address);
    text_add(t, " by a ");
    text_add(t, word);
    text_add(t, "\n");
}

static void add_advice(struct text *t)
{
    text_add(t, "  thread ");
    text_add_unsigned(t, os->thread_id());
    if (conf.on_error == ON_ERROR_ABORT)
        text_add(t, "; the program ends here (RATION=on_error=report goes on instead)");
    else
        text_add(t, "; the call is ignored (RATION=on_error)");
    if (conf.harden != HARDEN_FULL)
        text_add(t, "; RATION=harden=full detects more, and earlier");
    text_add(t, "\n");
}

enum misuse report_kind(const struct text *t)
{
    enum { BEHIND_PREFIX = sizeof "ration: " - 1 };
    enum misuse kind = MISUSE_CORRUPT_HEAP;
    while (kind > 0 &&
           memcmp(t->chars + BEHIND_PREFIX, kind_words[kind], strlen(kind_words[kind])) != 0)
        kind--;
    return kind;
}

/* To a command's socket, without a signal if that command is gone: then to stderr. */
static void write_out(const char *chars, size_t n)
{
    size_t done = 0;
    while (conf.reports > 2 && done < n) {
        long sent = syscall6(SYS_sendto, conf.reports, (long)(chars + done), (long)(n - done),
                             MSG_NOSIGNAL, 0, 0);
        if (sent == -EINTR)
            continue;
        if (sent < 0)
            break;
        done += (size_t)sent;
    }
    if (done < n)
        os->write_error(chars + done, n - done);
}

/* The lock is held from the first piece to the last, so that reports of two threads do not mix. */
static void write_piece(struct text *t)
{
    if (!lock_is_mine(&report_lock)) {
        lock_take(&report_lock);
        is_told = reports_made++ == 0 || conf.on_error != ON_ERROR_IGNORE;
    }
    if (is_told)
        write_out(t->chars, t->used);
    text_clear(t);
}

void report_make_room(struct text *t)
{
    if (t->used > sizeof t->chars - LINE_ROOM)
        write_piece(t);
}

/* The command answers a report with a byte once it has printed it, so that it stands before what follows. */
static void wait_until_shown(void)
{
    struct pollfd poll = {.fd = conf.reports, .events = POLLIN};
    struct timespec limit = {.tv_sec = 10};
    char byte;
    if (conf.reports > 2 && syscall6(SYS_ppoll, (long)&poll, 1, (long)&limit, 0, 0, 0) == 1)
        syscall6(SYS_recvfrom, conf.reports, (long)&byte, 1, MSG_DONTWAIT, 0, 0);
}

static void write_last(struct text *t)
{
    write_piece(t);
    if (is_told)
        wait_until_shown();
    lock_drop(&report_lock);
}

void report_end_access(struct text *t)
{
    report_make_room(t);
    text_add(t, "  thread ");
    text_add_unsigned(t, os->thread_id());
    text_add(t, "; the fault takes its course now: the program's own handler, or its end\n");
    write_last(t);
}

void report_end(struct text *t)
{
    report_make_room(t);
    add_advice(t);
    write_last(t);
    if (conf.on_error == ON_ERROR_ABORT)
        os->abort();
}

void report_fork_child(void)
{
    lock_init(&report_lock, RANK_REPORT);
}
