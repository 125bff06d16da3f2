#include "trace.h"
#include "memory.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { max_fields = 4, max_header = 4, max_ids = 1 << 30, damaged = 3, unreadable = 2 };
enum { ids_unused = 1 << 16 }; /* more may be announced than there are operations */

/* No request is larger than the address space, so that sums of sizes stay within 64 bits. */
#define MAX_SIZE (UINT64_C(1) << 47)

/* A line cut into fields. The bytes stay where they are in the file's text. */
struct fields {
    size_t count; /* may be max_fields + 1: too many */
    struct {
        const char *text;
        size_t length;
    } at[max_fields + 1];
};

struct reader {
    struct trace *trace;
    const char *path;
    const char *next; /* rest of the text */
    const char *end;
    uint32_t line;
    struct fields fields;
    uint64_t header[max_header];
    size_t n_header;
    uint64_t previous_size;
    uint64_t now;
    uint16_t thread;
    bool *is_live; /* by id */
};

/* ---- building -------------------------------------------------------------------------- */

void trace_start(struct trace *trace, const char *name)
{
    *trace = (struct trace){.name = lab_copy_text(name), .weight = 1, .n_threads = 1};
}

void trace_add(struct trace *trace, enum trace_kind kind, uint32_t id, uint64_t size)
{
    if (trace->n_ops == trace->capacity) {
        trace->capacity = trace->capacity > 0 ? 2 * trace->capacity : 1024;
        trace->ops = lab_resize(trace->ops, trace->capacity, sizeof *trace->ops);
    }
    trace->ops[trace->n_ops++] = (struct trace_op){.kind = (uint8_t)kind, .id = id, .size = size};
    if (id >= trace->n_ids)
        trace->n_ids = (size_t)id + 1;
}

struct trace_op *trace_last(struct trace *trace)
{
    return &trace->ops[trace->n_ops - 1];
}

void trace_finish(struct trace *trace)
{
    uint64_t *size_of = lab_allocate(trace->n_ids, sizeof *size_of);
    bool *is_live = lab_allocate(trace->n_ids, sizeof *is_live);
    uint64_t payload = 0;
    size_t live = 0;
    for (size_t i = 0; i < trace->n_ops; i++) {
        const struct trace_op *op = &trace->ops[i];
        if (op->kind == TRACE_FREE_NULL)
            continue;
        if (is_live[op->id]) {
            payload -= size_of[op->id];
            live--;
        }
        is_live[op->id] = op->kind != TRACE_FREE;
        size_of[op->id] = op->kind == TRACE_FREE ? 0 : op->size;
        payload += size_of[op->id];
        live += is_live[op->id];
        if (payload > trace->peak_payload) {
            trace->peak_payload = payload;
            trace->peak_op = i;
        }
        if (live > trace->peak_live)
            trace->peak_live = live;
    }
    free(size_of);
    free(is_live);
}

void trace_drop(struct trace *trace)
{
    free(trace->name);
    free(trace->ops);
    trace->name = NULL;
    trace->ops = NULL;
    trace->n_ops = 0;
}

/* ---- reading --------------------------------------------------------------------------- */

static int complain(struct reader *reader, const char *expected)
{
    char found[60] = "the end of the file";
    if (reader->fields.count > 0) {
        const char *from = reader->fields.at[0].text;
        int length = 0;
        while (from + length < reader->end && from[length] != '\n' && length < 48)
            length++;
        snprintf(found, sizeof found, "'%.*s'", length, from);
        for (char *c = found; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
    }
    snprintf(reader->trace->error, sizeof reader->trace->error,
             "%s:%" PRIu32 ": expected %s, found %s", reader->path, reader->line, expected, found);
    return damaged;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cut the next line that is neither empty nor a comment. False at the end of the text. */
static bool next_line(struct reader *reader)
{
    for (;;) {
        reader->fields.count = 0;
        if (reader->next >= reader->end) {
            reader->line++;
            return false;
        }
        reader->line++;
        const char *line = reader->next;
        const char *stop = memchr(line, '\n', (size_t)(reader->end - line));
        if (stop == NULL)
            stop = reader->end;
        reader->next = stop < reader->end ? stop + 1 : reader->end;
        if (stop > line && stop[-1] == '\r')
            reader->trace->notes.n_carriage_returns++;
        const char *c = line;
        while (c < stop && reader->fields.count <= max_fields) {
            while (c < stop && is_blank(*c))
                c++;
            const char *from = c;
            while (c < stop && !is_blank(*c))
                c++;
            if (c > from) {
                reader->fields.at[reader->fields.count].text = from;
                reader->fields.at[reader->fields.count++].length = (size_t)(c - from);
            }
        }
        if (reader->fields.count > 0 && reader->fields.at[0].text[0] != '#')
            return true;
    }
}

/* A decimal number without sign that fits 64 bits. */
static bool parse_number(const struct reader *reader, size_t field, uint64_t *value)
{
    const char *text = reader->fields.at[field].text;
    const size_t length = reader->fields.at[field].length;
    uint64_t total = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        if (__builtin_mul_overflow(total, 10, &total) ||
            __builtin_add_overflow(total, (uint64_t)(text[i] - '0'), &total))
            return false;
    }
    *value = total;
    return length > 0;
}

static bool parse_size(const struct reader *reader, size_t field, uint64_t *size)
{
    return parse_number(reader, field, size) && *size <= MAX_SIZE;
}

static int read_header(struct reader *reader)
{
    while (reader->n_header < max_header) {
        if (!next_line(reader))
            return complain(reader, "four integers at the start: size or weight, number of ids, "
                                    "number of operations, weight or peak");
        for (size_t i = 0; i < reader->fields.count; i++)
            if (reader->n_header == max_header ||
                !parse_number(reader, i, &reader->header[reader->n_header++]))
                return complain(reader, "four integers at the start: size or weight, number of "
                                        "ids, number of operations, weight or peak");
        if (reader->n_header >= 2 && reader->header[1] > max_ids)
            return complain(reader, "at most 1073741824 ids in the header");
    }
    /* Each id is allocated once at least. Room is made for all of them before the first operation is read. */
    if (reader->header[1] > reader->header[2] &&
        reader->header[1] - reader->header[2] > ids_unused) {
        char expected[128];
        snprintf(expected, sizeof expected,
                 "no more ids than operations (the header has %" PRIu64 " and %" PRIu64 ")",
                 reader->header[1], reader->header[2]);
        return complain(reader, expected);
    }
    const bool is_classic = reader->header[0] > 3;
    const uint64_t weight = reader->header[is_classic ? 3 : 0];
    reader->trace->weight = weight <= 3 ? (int)weight : 1;
    reader->trace->n_ids = reader->header[1];
    reader->is_live = lab_allocate(reader->trace->n_ids, sizeof *reader->is_live);
    return 0;
}

/* False after a complaint. */
static bool read_id(struct reader *reader, uint64_t *id)
{
    char expected[80] = "no operation on an id: the header announces 0 ids";
    if (reader->fields.count >= 2 && parse_number(reader, 1, id) && *id < reader->trace->n_ids)
        return true;
    if (reader->trace->n_ids > 0)
        snprintf(expected, sizeof expected,
                 "an id from 0 to %zu (the header's number of ids less 1)",
                 reader->trace->n_ids - 1);
    complain(reader, expected);
    return false;
}

static void add_op(struct reader *reader, enum trace_kind kind, uint64_t id, uint64_t size)
{
    trace_add(reader->trace, kind, (uint32_t)id, size);
    struct trace_op *op = trace_last(reader->trace);
    op->line = reader->line;
    op->thread = reader->thread;
    op->time = reader->now;
}

static int read_free(struct reader *reader)
{
    uint64_t id;
    if (reader->fields.count == 2 && reader->fields.at[1].length == 2 &&
        memcmp(reader->fields.at[1].text, "-1", 2) == 0) {
        add_op(reader, TRACE_FREE_NULL, 0, 0);
        return 0;
    }
    if (!read_id(reader, &id))
        return damaged;
    if (reader->fields.count > 2)
        return complain(reader, "`f ID` and nothing after it");
    if (!reader->is_live[id])
        return complain(reader, "a free of an id that is live (this one was never allocated, or "
                                "was freed before)");
    reader->is_live[id] = false;
    add_op(reader, TRACE_FREE, id, 0);
    return 0;
}

static int read_malloc(struct reader *reader)
{
    uint64_t id, size = reader->previous_size;
    if (!read_id(reader, &id))
        return damaged;
    if (reader->fields.count > 3)
        return complain(reader, "`a ID SIZE` and nothing after it");
    if (reader->fields.count == 2)
        reader->trace->notes.n_missing_sizes++;
    else if (!parse_size(reader, 2, &size))
        return complain(reader, "a size in bytes from 0 to 140737488355328 in `a ID SIZE`");
    if (reader->is_live[id])
        return complain(reader, "an allocation of an id that is not live (free it first, or use "
                                "`r` for a realloc)");
    reader->is_live[id] = true;
    reader->previous_size = size;
    add_op(reader, TRACE_MALLOC, id, size);
    return 0;
}

static int read_realloc(struct reader *reader)
{
    uint64_t id, size;
    if (!read_id(reader, &id))
        return damaged;
    if (reader->fields.count != 3 || !parse_size(reader, 2, &size))
        return complain(reader, "`r ID SIZE` with a size in bytes from 0 to 140737488355328");
    reader->is_live[id] = true;
    reader->previous_size = size;
    add_op(reader, TRACE_REALLOC, id, size);
    return 0;
}

static int read_calloc(struct reader *reader)
{
    uint64_t id, count, size;
    if (!read_id(reader, &id))
        return damaged;
    if (reader->fields.count != 4 || !parse_number(reader, 2, &count) ||
        !parse_number(reader, 3, &size) || __builtin_mul_overflow(count, size, &size) ||
        size > MAX_SIZE)
        return complain(reader, "`c ID COUNT SIZE` with a product up to 140737488355328");
    if (reader->is_live[id])
        return complain(reader, "an allocation of an id that is not live (free it first)");
    reader->is_live[id] = true;
    add_op(reader, TRACE_CALLOC, id, size);
    return 0;
}

static int read_aligned(struct reader *reader)
{
    uint64_t id, size, alignment;
    if (!read_id(reader, &id))
        return damaged;
    if (reader->fields.count != 4 || !parse_size(reader, 2, &size) ||
        !parse_number(reader, 3, &alignment) || alignment == 0 ||
        (alignment & (alignment - 1)) != 0 || alignment > (1U << 30))
        return complain(reader, "`m ID SIZE ALIGNMENT` with an alignment that is a power of two "
                                "up to 1073741824");
    if (reader->is_live[id])
        return complain(reader, "an allocation of an id that is not live (free it first)");
    reader->is_live[id] = true;
    add_op(reader, TRACE_ALIGNED, id, size);
    trace_last(reader->trace)->align_shift = (uint8_t)__builtin_ctzll(alignment);
    return 0;
}

static int read_thread(struct reader *reader)
{
    uint64_t thread;
    if (reader->fields.count != 2 || !parse_number(reader, 1, &thread) || thread > UINT16_MAX)
        return complain(reader, "`t THREAD` with a number from 0 to 65535");
    reader->thread = (uint16_t)thread;
    if (thread >= reader->trace->n_threads)
        reader->trace->n_threads = (unsigned)thread + 1;
    return 0;
}

static int read_time(struct reader *reader)
{
    uint64_t now;
    if (reader->fields.count != 2 || !parse_number(reader, 1, &now))
        return complain(reader, "`@ NANOSECONDS`");
    reader->now = now;
    return 0;
}

static int read_operation(struct reader *reader)
{
    static const struct {
        char letter;
        int (*read)(struct reader *reader);
    } forms[] = {
        {'a', read_malloc},  {'f', read_free},   {'r', read_realloc}, {'c', read_calloc},
        {'m', read_aligned}, {'t', read_thread}, {'@', read_time},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (reader->fields.at[0].length == 1 && reader->fields.at[0].text[0] == forms[i].letter)
            return forms[i].read(reader);
    return complain(reader, "an operation: a, r, f, c, m, t or @");
}

static int read_all(struct reader *reader)
{
    int status = read_header(reader);
    if (status != 0)
        return status;
    while (next_line(reader)) {
        status = read_operation(reader);
        if (status != 0)
            return status;
    }
    const uint64_t announced = reader->header[2];
    reader->trace->notes.n_ops_off = (long)reader->trace->n_ops - (long)announced;
    if (reader->trace->n_ops + 1 < announced) {
        char expected[80];
        snprintf(expected, sizeof expected, "%" PRIu64 " operations (the header's number) but %zu",
                 announced, reader->trace->n_ops);
        return complain(reader, expected);
    }
    return 0;
}

/* The whole text of a file, however long it turns out to be (pipes have no size). What holds a zero byte is no text: it is not
 * read on, as a device may have no end. */
static char *read_text(FILE *in, size_t *bytes)
{
    size_t capacity = 1 << 16;
    char *text = lab_allocate(capacity, 1);
    *bytes = 0;
    for (;;) {
        const size_t got = fread(text + *bytes, 1, capacity - *bytes, in);
        *bytes += got;
        if (got == 0 || memchr(text + *bytes - got, '\0', got) != NULL)
            return text;
        if (*bytes == capacity) {
            capacity *= 2;
            text = lab_resize(text, capacity, 1);
        }
    }
}

int trace_read(struct trace *trace, const char *path)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    trace_start(trace, is_stdin ? "standard input" : path);
    FILE *in = is_stdin ? stdin : fopen(path, "r");
    size_t bytes;
    char *text = in != NULL ? read_text(in, &bytes) : NULL;
    if (in == NULL || ferror(in)) {
        snprintf(trace->error, sizeof trace->error, "'%s' cannot be read: %s", path,
                 strerror(errno));
        if (in != NULL && !is_stdin)
            fclose(in);
        free(text);
        return unreadable;
    }
    if (!is_stdin)
        fclose(in);
    struct reader reader = {.trace = trace, .path = trace->name, .next = text, .end = text + bytes};
    const int status = read_all(&reader);
    trace_finish(trace);
    free(reader.is_live);
    free(text);
    return status;
}

/* ---- writing --------------------------------------------------------------------------- */

static void write_operation(const struct trace_op *op, FILE *out)
{
    switch ((enum trace_kind)op->kind) {
    case TRACE_MALLOC:
        fprintf(out, "a %" PRIu32 " %" PRIu64 "\n", op->id, op->size);
        break;
    case TRACE_CALLOC:
        fprintf(out, "c %" PRIu32 " 1 %" PRIu64 "\n", op->id, op->size);
        break;
    case TRACE_ALIGNED:
        fprintf(out, "m %" PRIu32 " %" PRIu64 " %" PRIu64 "\n", op->id, op->size,
                UINT64_C(1) << op->align_shift);
        break;
    case TRACE_REALLOC:
        fprintf(out, "r %" PRIu32 " %" PRIu64 "\n", op->id, op->size);
        break;
    case TRACE_FREE:
        fprintf(out, "f %" PRIu32 "\n", op->id);
        break;
    case TRACE_FREE_NULL:
        fputs("f -1\n", out);
        break;
    }
}

void trace_write(const struct trace *trace, FILE *out)
{
    uint16_t thread = 0;
    uint64_t now = 0;
    fprintf(out, "%" PRIu64 "\n%zu\n%zu\n%d\n", trace->peak_payload < 4 ? 4 : trace->peak_payload,
            trace->n_ids, trace->n_ops, trace->weight);
    for (size_t i = 0; i < trace->n_ops; i++) {
        const struct trace_op *op = &trace->ops[i];
        if (op->thread != thread)
            fprintf(out, "t %u\n", thread = op->thread);
        if (op->time != now)
            fprintf(out, "@ %" PRIu64 "\n", now = op->time);
        write_operation(op, out);
    }
}
