/* The side of a demo that plays: figures go to a file whose descriptor the parent passed. */
#include "../command.h"
#include "../lab/process.h"
#include "../lab/replay.h"
#include "../scan.h"
#include "demo.h"
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>
#include <unistd.h>

enum { most_seconds = 120 };

static int out = -1;
static bool is_counted;

/* One write a line, through a buffer on the stack: the heap is what is being measured. */
static void write_line(const char *line, int length)
{
    if (length > 0 && write(out, line, (size_t)length) != length)
        _exit(EXIT_USAGE);
}

void demo_figure(const char *name, const char *unit, double value)
{
    char line[160];
    write_line(line, snprintf(line, sizeof line, "figure\t%s\t%s\t%.9g\n", name, unit, value));
}

void demo_note(const char *format, ...)
{
    char text[1000], line[1010];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    write_line(line, snprintf(line, sizeof line, "note\t%s\n", text));
}

void demo_count_begin(void)
{
    is_counted = ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
    if (is_counted)
        raise(SIGSTOP);
    else
        demo_note("system calls could not be counted: tracing is not permitted here");
}

void demo_count_end(void)
{
    if (is_counted)
        raise(SIGUSR2); /* never delivered: it tells the parent to stop counting */
    is_counted = false;
}

double demo_resident(void)
{
    return (double)process_anonymous_bytes();
}

void demo_idle(double seconds)
{
    const double end = lab_now() + seconds;
    while (lab_now() < end) {
        const struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
}

void *demo_take(size_t size)
{
    char *block = malloc(size);
    if (block == NULL) {
        demo_note("malloc(%zu) returned NULL: the scenario ends here", size);
        _exit(EXIT_FINDING);
    }
    for (size_t at = 0; at < size; at += 4096)
        block[at] = (char)size;
    return block;
}

uint64_t demo_random(uint64_t *state)
{
    uint64_t x = *state; /* xorshift64* (Vigna 2014) */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

int demo_child_main(const struct demo_scenario *scenario, const char *argument)
{
    unsigned long fd, own_way;
    if (!scan_number(&argument, 10, &fd) || fd > INT_MAX || !scan_text(&argument, ",") ||
        !scan_number(&argument, 10, &own_way))
        return command_fail("demo", EXIT_USAGE, "--child is for the command itself");
    out = (int)fd;
    alarm(most_seconds);
    scenario->run(own_way != 0);
    return EXIT_FINE;
}
