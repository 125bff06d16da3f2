#include "leak_report.h"
#include "json.h"
#include "launch.h"
#include "scan.h"
#include <stdlib.h>
#include <string.h>

static const char *const fates[] = {"lost", "below", "reachable"};

static void *grown(void *array, size_t n, size_t size)
{
    void *more = (n & (n - 1)) == 0 ? realloc(array, (n == 0 ? 1 : 2 * n) * size) : array;
    if (more == NULL) {
        fputs("ration leaks: out of memory\n", stderr);
        exit(2);
    }
    return more;
}

static void add_size(struct leak_report *report, const struct size_lost *lost)
{
    int i = 0;
    while (i < report->n_sizes && report->sizes[i].slot_bytes != lost->slot_bytes)
        i++;
    if (i == leak_most_sizes)
        return;
    if (i == report->n_sizes) {
        report->n_sizes++;
        report->sizes[i] = (struct size_lost){.slot_bytes = lost->slot_bytes};
    }
    report->sizes[i].blocks += lost->blocks;
    report->sizes[i].bytes += lost->bytes;
}

static bool read_fate(const char **at, enum leak_fate *fate)
{
    for (*fate = leak_lost; *fate <= leak_reachable; ++*fate)
        if (scan_text(at, fates[*fate]))
            return true;
    return false;
}

static bool read_site(struct leak_report *report, const char *at)
{
    enum { BLOCKS, BYTES, OWNER, NUMBERS };
    unsigned long n[NUMBERS];
    struct leak leak = {.process = report->processes};
    if (!scan_text(&at, "site") || !scan_number(&at, 10, &leak.site) ||
        !read_fate(&at, &leak.fate) || !scan_numbers(&at, n, NUMBERS))
        return false;
    leak.blocks = n[BLOCKS];
    leak.bytes = n[BYTES];
    leak.owner = n[OWNER];
    report->leaks = grown(report->leaks, report->n_leaks, sizeof *report->leaks);
    report->leaks[report->n_leaks++] = leak;
    return true;
}

/* The callers belong to each leak of this process and site, which may be none. */
static bool give_callers(struct leak_report *report, unsigned long site, struct address *callers,
                         size_t n)
{
    bool is_taken = false;
    for (size_t i = report->n_leaks; i-- > 0 && report->leaks[i].process == report->processes;) {
        struct leak *leak = &report->leaks[i];
        if (leak->site == site && leak->callers == NULL) {
            leak->callers = callers;
            leak->n_callers = n;
            is_taken = true;
        }
    }
    return is_taken;
}

static bool read_caller(struct address *caller, const char *at)
{
    unsigned long offset;
    if (!scan_text(&at, "at") || !scan_number(&at, 10, &offset) || !scan_text(&at, ""))
        return false;
    *caller = (struct address){.module = strndup(at, strcspn(at, "\n")), .offset = offset};
    return caller->module != NULL;
}

static bool read_callers(struct leak_report *report, unsigned long site, size_t n, FILE *from)
{
    char *line = NULL;
    size_t room = 0, got = 0;
    struct address *callers = calloc(n + 1, sizeof *callers);
    while (callers != NULL && got < n && getline(&line, &room, from) > 0 &&
           read_caller(&callers[got], line))
        got++;
    free(line);
    const bool fine = callers != NULL && got == n;
    if (!fine || !give_callers(report, site, callers, n)) {
        while (got > 0)
            free(callers[--got].module);
        free(callers);
    }
    return fine;
}

static bool read_process(struct leak_report *report, const char *at)
{
    enum { PID, LOST_BLOCKS, LOST_BYTES, REACHABLE_BLOCKS, REACHABLE_BYTES, NUMBERS };
    unsigned long n[NUMBERS];
    if (!scan_numbers(&at, n, NUMBERS))
        return false;
    report->processes++;
    report->lost_blocks += n[LOST_BLOCKS];
    report->lost_bytes += n[LOST_BYTES];
    report->reachable_blocks += n[REACHABLE_BLOCKS];
    report->reachable_bytes += n[REACHABLE_BYTES];
    return true;
}

static bool read_size(struct leak_report *report, const char *at)
{
    enum { SLOT_BYTES, BLOCKS, BYTES, NUMBERS };
    unsigned long n[NUMBERS];
    if (!scan_numbers(&at, n, NUMBERS))
        return false;
    add_size(report, &(struct size_lost){n[SLOT_BYTES], n[BLOCKS], n[BYTES]});
    return true;
}

static bool read_line(struct leak_report *report, const char *line, FILE *from)
{
    enum { SITE, CALLERS, NUMBERS, most_callers = 64 };
    unsigned long n[NUMBERS];
    const char *at = line;
    if (scan_text(&at, "process"))
        return read_process(report, at);
    if (scan_text(&at, "lost"))
        return read_size(report, at);
    if (scan_text(&at, "callers"))
        return scan_numbers(&at, n, NUMBERS) && n[CALLERS] <= most_callers &&
               read_callers(report, n[SITE], n[CALLERS], from);
    return read_site(report, at);
}

bool leak_report_read(struct leak_report *report, FILE *from)
{
    char *line = NULL;
    size_t room = 0;
    bool fine = true;
    while (getline(&line, &room, from) > 0)
        fine &= read_line(report, line, from);
    free(line);
    return fine;
}

/* Copies all callers into one array, so that each module is asked about once. */
static void name_callers(struct leak_report *report)
{
    size_t n = 0;
    for (size_t i = 0; i < report->n_leaks; i++)
        n += report->leaks[i].n_callers;
    report->callers = calloc(n + 1, sizeof *report->callers);
    if (n == 0 || report->callers == NULL)
        return;
    struct address *callers = report->callers;
    for (size_t i = 0; i < report->n_leaks; i++) {
        struct leak *leak = &report->leaks[i];
        if (leak->n_callers > 0)
            leak->callers = memcpy(callers, leak->callers, leak->n_callers * sizeof *leak->callers);
        callers += leak->n_callers;
    }
    report->hint = symbols_find(report->callers, n);
}

static const struct leak *find_owner(const struct leak_report *report, const struct leak *below)
{
    for (size_t i = 0; i < report->n_leaks; i++) {
        const struct leak *leak = &report->leaks[i];
        if (leak->process == below->process && leak->site == below->owner &&
            leak->fate == leak_lost)
            return leak;
    }
    return NULL;
}

/* What only a suppressed leak leads to is suppressed with it. */
static void suppress(struct leak_report *report, const struct suppressions *suppressions)
{
    for (size_t i = 0; i < report->n_leaks; i++) {
        struct leak *leak = &report->leaks[i];
        leak->is_suppressed = suppressions_match(suppressions, leak->callers, leak->n_callers);
    }
    for (size_t i = 0; i < report->n_leaks; i++) {
        struct leak *leak = &report->leaks[i];
        const struct leak *owner = leak->fate == leak_below ? find_owner(report, leak) : NULL;
        leak->is_suppressed |= owner != NULL && owner->is_suppressed;
        if (!leak->is_suppressed || leak->fate == leak_reachable)
            continue;
        report->lost_blocks -= leak->blocks;
        report->lost_bytes -= leak->bytes;
        report->suppressed_blocks += leak->blocks;
        report->suppressed_bytes += leak->bytes;
    }
}

static int compare_callers(const struct leak *x, const struct leak *y)
{
    if (x->fate != y->fate || x->is_suppressed != y->is_suppressed)
        return (int)x->fate * 2 + x->is_suppressed - (int)y->fate * 2 - y->is_suppressed;
    for (size_t i = 0; i < x->n_callers && i < y->n_callers; i++) {
        const struct address *a = &x->callers[i], *b = &y->callers[i];
        const int modules = a->offset != b->offset
                                ? (a->offset > b->offset) - (a->offset < b->offset)
                                : strcmp(a->module, b->module);
        if (modules != 0)
            return modules;
    }
    return (x->n_callers > y->n_callers) - (x->n_callers < y->n_callers);
}

static int compare_sites(const void *a, const void *b)
{
    return compare_callers(a, b);
}

static int compare_weight(const void *a, const void *b)
{
    const struct leak *x = a, *y = b;
    if (x->fate != y->fate)
        return (int)x->fate - (int)y->fate;
    return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes)
                                : compare_callers(x, y);
}

static int compare_sizes(const void *a, const void *b)
{
    const struct size_lost *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void merge(struct leak_report *report)
{
    size_t n = 0;
    if (report->n_leaks == 0)
        return;
    qsort(report->leaks, report->n_leaks, sizeof *report->leaks, compare_sites);
    for (size_t i = 0; i < report->n_leaks; i++) {
        struct leak *last = &report->leaks[n > 0 ? n - 1 : 0];
        const struct leak *leak = &report->leaks[i];
        if (n > 0 && compare_callers(last, leak) == 0) {
            last->blocks += leak->blocks;
            last->bytes += leak->bytes;
        } else {
            report->leaks[n++] = *leak;
        }
    }
    report->n_leaks = n;
    qsort(report->leaks, n, sizeof *report->leaks, compare_weight);
}

void leak_report_settle(struct leak_report *report, const struct suppressions *suppressions)
{
    name_callers(report);
    suppress(report, suppressions);
    merge(report);
    qsort(report->sizes, (size_t)report->n_sizes, sizeof *report->sizes, compare_sizes);
}

static void print_leak(const struct leak *leak)
{
    static const char *const words[] = {"lost", "below lost ones", "still reachable"};
    printf("%zu bytes in %zu block%s %s, from\n", leak->bytes, leak->blocks,
           leak->blocks == 1 ? "" : "s", words[leak->fate]);
    for (size_t i = 0; i < leak->n_callers; i++)
        symbols_print(stdout, "    ", (unsigned)i, &leak->callers[i]);
    if (leak->n_callers == 0)
        puts("    (before recording began, or not recorded)");
}

static void print_sizes(const struct leak_report *report)
{
    for (int i = 0; i < report->n_sizes; i++) {
        const struct size_lost *size = &report->sizes[i];
        printf("%12zu bytes in %8zu blocks ", size->bytes, size->blocks);
        if (size->slot_bytes == 0)
            puts("above 16384 bytes");
        else
            printf("of %zu bytes\n", size->slot_bytes);
    }
}

void leak_report_print(const struct leak_report *report, bool with_reachable)
{
    const struct colours colours = colours_for_stdout();
    printf("%s%zu blocks with %zu bytes are lost%s in %zu process%s; still reachable: %zu blocks, "
           "%zu bytes\n",
           report->lost_blocks > 0 ? colours.bad : colours.good, report->lost_blocks,
           report->lost_bytes, colours.plain, report->processes, report->processes == 1 ? "" : "es",
           report->reachable_blocks, report->reachable_bytes);
    if (report->suppressed_blocks > 0)
        printf("suppressed: %zu blocks, %zu bytes\n", report->suppressed_blocks,
               report->suppressed_bytes);
    for (size_t i = 0; i < report->n_leaks; i++)
        if (!report->leaks[i].is_suppressed &&
            (with_reachable || report->leaks[i].fate != leak_reachable))
            print_leak(&report->leaks[i]);
    if (report->n_leaks == 0)
        print_sizes(report);
    if (report->hint != NULL && report->n_leaks > 0)
        printf("(%s)\n", report->hint);
}

static void print_json_caller(struct json *json, const struct address *caller)
{
    const struct symbol unknown = {.function = NULL};
    const size_t n = caller->n_symbols > 0 ? caller->n_symbols : 1;
    for (size_t i = 0; i < n; i++) {
        const struct symbol *symbol = caller->n_symbols > 0 ? &caller->symbols[i] : &unknown;
        json_open_object(json, NULL);
        json_string(json, "module", caller->module);
        json_size(json, "offset", caller->offset);
        if (symbol->function != NULL)
            json_string(json, "function", symbol->function);
        if (symbol->file != NULL && symbol->line != 0) {
            json_string(json, "file", symbol->file);
            json_size(json, "line", symbol->line);
        }
        json_bool(json, "inlined", i + 1 < n);
        json_close_object(json);
    }
}

static void print_json_leaks(struct json *json, const struct leak_report *report)
{
    json_open_array(json, "sites");
    for (size_t i = 0; i < report->n_leaks; i++) {
        const struct leak *leak = &report->leaks[i];
        json_open_object(json, NULL);
        json_string(json, "kind", fates[leak->fate]);
        json_size(json, "blocks", leak->blocks);
        json_size(json, "bytes", leak->bytes);
        json_bool(json, "suppressed", leak->is_suppressed);
        json_open_array(json, "callers");
        for (size_t k = 0; k < leak->n_callers; k++)
            print_json_caller(json, &leak->callers[k]);
        json_close_array(json);
        json_close_object(json);
    }
    json_close_array(json);
}

void leak_report_print_json(const struct leak_report *report)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_size(&json, "processes", report->processes);
    json_size(&json, "lost_blocks", report->lost_blocks);
    json_size(&json, "lost_bytes", report->lost_bytes);
    json_size(&json, "suppressed_blocks", report->suppressed_blocks);
    json_size(&json, "suppressed_bytes", report->suppressed_bytes);
    json_size(&json, "reachable_blocks", report->reachable_blocks);
    json_size(&json, "reachable_bytes", report->reachable_bytes);
    json_open_array(&json, "sizes");
    for (int i = 0; i < report->n_sizes; i++) {
        json_open_object(&json, NULL);
        json_size(&json, "slot_bytes", report->sizes[i].slot_bytes);
        json_size(&json, "blocks", report->sizes[i].blocks);
        json_size(&json, "bytes", report->sizes[i].bytes);
        json_close_object(&json);
    }
    json_close_array(&json);
    print_json_leaks(&json, report);
    json_close_object(&json);
    json_end(&json);
}
