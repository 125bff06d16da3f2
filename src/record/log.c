#define _GNU_SOURCE
#include "record/log.h"

#include "callers/places.h"
#include "conf/conf.h"
#include "core/events.h"
#include "os/os.h"
#include "os/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

/* In the order of the option's words. */
enum { LOG_MALLOC = 1, LOG_CALLOC = 2, LOG_REALLOC = 4, LOG_ALIGNED = 8, LOG_FREE = 16 };

static int log_fd = 2;
static bool has_failed;

/* Out of the way of the program, which may close what it does not know. */
static int own_descriptor(int fd)
{
    enum { OUT_OF_THE_WAY = 200 };
    long own = syscall6(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY, 0, 0, 0);
    return own >= 0 ? (int)own : fd;
}

static void complain(void)
{
    static const char lost[] =
        "ration: RATION=log: a line could not be written; the log ends here\n";
    if (!has_failed)
        os->write_error(lost, sizeof lost - 1);
    has_failed = true;
}

/* A descriptor that does not wait belongs to somebody else: wait for it. */
static bool wait_until_writable(void)
{
    struct pollfd poll = {.fd = log_fd, .events = POLLOUT};
    long n = syscall6(SYS_ppoll, (long)&poll, 1, 0, 0, 0, 0);
    return n > 0 || n == -EINTR;
}

static void write_line(const struct text *t)
{
    for (size_t done = 0; done < t->used && !has_failed;) {
        long n =
            syscall6(SYS_write, log_fd, (long)(t->chars + done), (long)(t->used - done), 0, 0, 0);
        if (n >= 0)
            done += (size_t)n;
        else if (n != -EINTR && !(n == -EAGAIN && wait_until_writable()))
            complain();
    }
}

static int bit_of(const struct event *e)
{
    switch (e->kind) {
    case EVENT_FREE:
        return LOG_FREE;
    case EVENT_REALLOC_BEGIN:
        return 0; /* its end tells both */
    case EVENT_REALLOC_END:
        return LOG_REALLOC;
    case EVENT_MALLOC:
        break;
    }
    return e->function[0] == 'c' ? LOG_CALLOC : e->function[0] == 'a' ? LOG_ALIGNED : LOG_MALLOC;
}

static void add_call(struct text *t, const struct event *e)
{
    uintptr_t first = e->kind == EVENT_REALLOC_END ? e->old_address : e->address;
    text_add(t, e->function);
    text_add(t, "(");
    if (e->kind != EVENT_MALLOC)
        text_add_hex(t, first);
    if (e->kind == EVENT_REALLOC_END)
        text_add(t, ", ");
    if (e->kind != EVENT_FREE) {
        text_add_unsigned(t, e->bytes);
        text_add(t, ") = ");
        text_add_hex(t, e->address);
    } else {
        text_add(t, ")");
    }
}

static void tell(const struct event *e)
{
    struct text t;
    if ((conf.log & bit_of(e)) == 0 || has_failed)
        return;
    text_clear(&t);
    text_add(&t, "[");
    text_add_unsigned(&t, e->thread);
    text_add(&t, "] ");
    add_call(&t, e);
    if (e->n_callers > 0) {
        text_add(&t, " from ");
        place_add(&t, e->callers[0]);
    }
    text_add(&t, "\n");
    write_line(&t);
}

static const struct event_listener logger = {.tell = tell};

bool log_begin(void)
{
    log_fd = own_descriptor(conf.log_fd);
    return events_listen(&logger, 0);
}
