#include "callers.h"
#include "scan.h"
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* One list of each sort for all threads; the code of a process is remembered under each of its
 * threads, for no call tells the process. Ranges are not told apart by process: two that map the
 * same addresses for different ends may be confused, which moves a call from one row to another. */
struct code {
    pid_t thread;
    uint64_t start, end;
    enum caller caller;
};

struct range {
    uint64_t start, end;
    enum call_kind kind; /* KIND_STACK or KIND_FILE */
};

enum { most_code = 65536, most_ranges = 65536 };

struct callers {
    struct code code[most_code];
    int n_code;
    struct range ranges[most_ranges];
    int n_ranges;
    uint64_t last_break;
    pid_t last_break_of;
};

struct callers *callers_new(void)
{
    return calloc(1, sizeof(struct callers));
}

void callers_free(struct callers *callers)
{
    free(callers);
}

static enum caller caller_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return CALLER_OTHER;
    if (strncmp(slash, "/libration.so", 13) == 0)
        return CALLER_LIBRATION;
    if (strncmp(slash, "/libc.so", 8) == 0 || strncmp(slash, "/libc-", 6) == 0 ||
        strncmp(slash, "/libc.musl", 10) == 0)
        return CALLER_LIBC;
    if (strncmp(slash, "/ld-linux", 9) == 0 || strncmp(slash, "/ld-", 4) == 0)
        return CALLER_LOADER;
    return CALLER_OTHER;
}

void callers_forget(struct callers *callers, pid_t thread)
{
    int kept = 0;
    for (int i = 0; i < callers->n_code; i++)
        if (callers->code[i].thread != thread)
            callers->code[kept++] = callers->code[i];
    callers->n_code = kept;
}

static void read_code(struct callers *callers, pid_t thread)
{
    char name[64], line[PATH_MAX + 128], permissions[8], path[PATH_MAX];
    callers_forget(callers, thread);
    snprintf(name, sizeof name, "/proc/%d/maps", (int)thread);
    FILE *maps = fopen(name, "re");
    while (maps != NULL && callers->n_code < most_code && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        const char *at = line;
        path[0] = '\0';
        if (!scan_number(&at, 16, &start) || !scan_text(&at, "-") || !scan_number(&at, 16, &end) ||
            sscanf(at, "%7s %*s %*s %*s %4095s", permissions, path) < 1 || permissions[2] != 'x')
            continue;
        callers->code[callers->n_code++] = (struct code){thread, start, end, caller_of_file(path)};
    }
    if (maps != NULL)
        fclose(maps);
}

static const struct code *find_code(const struct callers *callers, const struct traced_call *call)
{
    for (int i = 0; i < callers->n_code; i++) {
        const struct code *c = &callers->code[i];
        if (c->thread == call->thread && call->from >= c->start && call->from <= c->end)
            return c;
    }
    return NULL;
}

static enum caller find_caller(struct callers *callers, const struct traced_call *call)
{
    const struct code *code = find_code(callers, call);
    if (code == NULL) {
        read_code(callers, call->thread);
        code = find_code(callers, call);
    }
    return code != NULL ? code->caller : CALLER_OTHER;
}

static bool has_failed(const struct traced_call *call)
{
    return call->result < 0 && call->result >= -4095;
}

static void remember(struct callers *callers, uint64_t start, uint64_t bytes, enum call_kind kind)
{
    if (callers->n_ranges < most_ranges)
        callers->ranges[callers->n_ranges++] = (struct range){start, start + bytes, kind};
}

/* The kind of the range that holds `start`, or KIND_COUNT. */
static enum call_kind kind_of_range(const struct callers *callers, uint64_t start)
{
    for (int i = callers->n_ranges - 1; i >= 0; i--)
        if (start >= callers->ranges[i].start && start < callers->ranges[i].end)
            return callers->ranges[i].kind;
    return KIND_COUNT;
}

static void forget_range(struct callers *callers, uint64_t start, uint64_t bytes)
{
    int kept = 0;
    for (int i = 0; i < callers->n_ranges; i++)
        if (callers->ranges[i].start < start || callers->ranges[i].end > start + bytes)
            callers->ranges[kept++] = callers->ranges[i];
    callers->n_ranges = kept;
}

static enum call_kind judge_map(struct callers *callers, const struct traced_call *call)
{
    const uint64_t flags = call->arguments[3];
    const enum call_kind kind = (flags & MAP_ANONYMOUS) == 0 ? KIND_FILE
                                : (flags & MAP_STACK) != 0   ? KIND_STACK
                                                             : KIND_MAP;
    if (has_failed(call))
        return kind;
    /* The loader maps memory over the end of a file's range: that belongs to the file. */
    const enum call_kind before = kind_of_range(callers, (uint64_t)call->result);
    if (kind == KIND_MAP && (flags & MAP_FIXED) != 0 && before == KIND_FILE)
        return KIND_FILE;
    if (kind != KIND_MAP)
        remember(callers, (uint64_t)call->result, call->arguments[1], kind);
    return kind;
}

static enum call_kind judge_range(const struct callers *callers, const struct traced_call *call,
                                  enum call_kind otherwise)
{
    const enum call_kind kind = kind_of_range(callers, call->arguments[0]);
    return kind != KIND_COUNT ? kind : otherwise;
}

static uint64_t judge_break(struct callers *callers, const struct traced_call *call)
{
    const uint64_t now = (uint64_t)call->result;
    uint64_t moved = 0;
    if (callers->last_break_of == call->thread && call->arguments[0] != 0)
        moved = now > callers->last_break ? now - callers->last_break : callers->last_break - now;
    callers->last_break = now;
    callers->last_break_of = call->thread;
    return moved;
}

static enum call_kind judge_kind(struct callers *callers, const struct traced_call *call,
                                 uint64_t *bytes)
{
    enum call_kind kind;
    *bytes = has_failed(call) ? 0 : call->arguments[1];
    switch (call->number) {
    case SYS_mmap:
        return judge_map(callers, call);
    case SYS_munmap:
        kind = judge_range(callers, call, KIND_UNMAP);
        forget_range(callers, call->arguments[0], call->arguments[1]);
        return kind;
    case SYS_mremap:
        return KIND_MOVE;
    case SYS_mprotect:
        return judge_range(callers, call, KIND_PROTECT);
    case SYS_madvise:
        return judge_range(callers, call, KIND_ADVISE);
    case SYS_process_madvise:
        *bytes = has_failed(call) ? 0 : (uint64_t)call->result;
        return KIND_ADVISE;
    default:
        *bytes = judge_break(callers, call);
        return KIND_BREAK;
    }
}

enum caller callers_judge(struct callers *callers, const struct traced_call *call,
                          enum call_kind *kind, uint64_t *bytes)
{
    *kind = judge_kind(callers, call, bytes);
    return find_caller(callers, call);
}
