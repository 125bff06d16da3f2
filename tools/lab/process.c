#include "process.h"
#include "../command.h"
#include "../scan.h"
#include "memory.h"
#include "verify.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A larger block stays untouched, as in the traces of such requests. */
enum { most_touched = 256 << 20 };

/* What both sides see: this, then the operations, then a table of held blocks for the child. */
struct shared {
    uint64_t n_ops;
    uint64_t n_ids;
    uint64_t peak_op;
    uint64_t bytes;          /* of the whole */
    char provider[PATH_MAX]; /* file that malloc came from */
    struct lab_result result;
};

static struct trace_op *ops_of(struct shared *shared)
{
    return (struct trace_op *)(shared + 1);
}

static struct held *held_of(struct shared *shared)
{
    return (struct held *)(ops_of(shared) + shared->n_ops);
}

/* ---- the child --------------------------------------------------------------------------- */

struct child {
    struct shared *shared;
    struct lab_result *result;
    struct held *held;
    struct verifier verifier;
    bool verifies;
    bool touches;
    uint64_t baseline; /* anonymous bytes before the first operation */
    uint64_t payload;
};

uint64_t process_anonymous_bytes(void)
{
    char text[4096];
    unsigned long kilobytes = 0;
    const int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    const char *at = strstr(text, "\nAnonymous:");
    if (at == NULL || !scan_text(&at, "\nAnonymous:") || !scan_number(&at, 10, &kilobytes))
        return 0;
    return (uint64_t)kilobytes * 1024;
}

static size_t alignment_for(const struct trace_op *op)
{
    const size_t asked = (size_t)1 << op->align_shift;
    return asked > 16 ? asked : 16;
}

static void *allocate(const struct trace_op *op)
{
    if (op->kind == TRACE_CALLOC)
        return calloc(1, op->size);
    if (op->kind == TRACE_ALIGNED) {
        void *block = NULL;
        return posix_memalign(&block, alignment_for(op), op->size) == 0 ? block : NULL;
    }
    return malloc(op->size);
}

/* One write a page, so that the resident size is that of a program that uses what it asked for. */
static void touch(const struct child *child, char *payload, uint64_t size)
{
    if (!child->touches || size > most_touched)
        return;
    for (uint64_t at = 0; at < size; at += 4096)
        payload[at] = 1;
}

static int keep(struct child *child, const struct trace_op *op, char *payload)
{
    struct held *held = &child->held[op->id];
    if (payload == NULL) {
        child->result->n_failures++;
        return 0;
    }
    *held = (struct held){.payload = payload, .size = op->size, .usable = op->size};
    child->payload += op->size;
    if (child->verifies) {
        held->usable = malloc_usable_size(payload);
        return verifier_enter(&child->verifier, held, alignment_for(op), op);
    }
    touch(child, payload, op->size);
    return 0;
}

static int change(struct child *child, const struct trace_op *op)
{
    struct held *held = &child->held[op->id];
    const struct held old = *held;
    if (child->verifies && verifier_leave(&child->verifier, held, op) != 0)
        return -1;
    char *payload = realloc(held->payload, op->size);
    if (payload == NULL && op->size > 0) {
        child->result->n_failures++;
        return child->verifies ? verifier_enter(&child->verifier, held, 1, op) : 0;
    }
    child->payload -= old.size;
    held->payload = payload;
    if (payload == NULL)
        return 0;
    const uint64_t kept = old.size < op->size ? old.size : op->size;
    if (child->verifies && verifier_compare(&child->verifier, &old, payload, kept, op) != 0)
        return -1;
    return keep(child, op, payload);
}

static int do_operation(struct child *child, const struct trace_op *op)
{
    struct held *held = &child->held[op->id];
    if (op->kind == TRACE_FREE_NULL) {
        free(NULL);
        return 0;
    }
    if (op->kind == TRACE_FREE) {
        if (held->payload == NULL)
            return 0;
        child->payload -= held->size;
        if (child->verifies && verifier_leave(&child->verifier, held, op) != 0)
            return -1;
        free(held->payload);
        held->payload = NULL;
        return 0;
    }
    if (op->kind == TRACE_REALLOC && held->payload != NULL)
        return change(child, op);
    held->payload = allocate(op);
    if (held->payload != NULL && op->kind == TRACE_CALLOC && child->verifies &&
        verifier_zero(&child->verifier, held->payload, op->size, op) != 0)
        return -1;
    return keep(child, op, held->payload);
}

static void note_sizes(struct child *child, size_t index, bool samples)
{
    struct lab_result *result = child->result;
    if (child->payload > result->peak_payload)
        result->peak_payload = child->payload;
    if (!samples || result->n_samples == most_samples)
        return;
    const uint64_t now = process_anonymous_bytes();
    const uint64_t heap = now > child->baseline ? now - child->baseline : 0;
    if (heap > result->peak_heap)
        result->peak_heap = heap;
    result->samples[result->n_samples++] =
        (struct lab_sample){.op = index + 1, .payload = child->payload, .heap = heap};
}

static void run_sized(struct child *child, double deadline)
{
    struct lab_result *result = child->result;
    const size_t n = child->shared->n_ops;
    const size_t step = n / (most_samples - 4) + 1;
    for (size_t i = 0; i < n; i++) {
        if (do_operation(child, &ops_of(child->shared)[i]) != 0) {
            result->outcome = LAB_WRONG;
            return;
        }
        result->n_ops++;
        if (!child->verifies)
            note_sizes(child, i, i % step == 0 || i == child->shared->peak_op || i + 1 == n);
        if (i % 256 == 0 && lab_now() > deadline) {
            result->outcome = LAB_SLOW;
            snprintf(result->text, sizeof result->text,
                     "stopped at the time limit after %zu of %zu operations (--seconds)", i + 1, n);
            return;
        }
    }
}

static double mean_of_samples(const struct lab_result *result)
{
    double payload = 0, heap = 0;
    for (size_t i = 0; i < result->n_samples; i++) {
        payload += (double)result->samples[i].payload;
        heap += (double)result->samples[i].heap;
    }
    return heap > 0 ? payload / heap : 0;
}

/* Every block that the trace leaves is freed between rounds, outside of nothing: it is part of
 * the rounds' time, and small beside it. */
static void run_timed(struct child *child, double deadline)
{
    struct lab_result *result = child->result;
    const size_t n = child->shared->n_ops;
    const double started = lab_now();
    uint64_t done = 0;
    do {
        for (size_t i = 0; i < n; i++)
            do_operation(child, &ops_of(child->shared)[i]);
        for (size_t id = 0; id < child->shared->n_ids; id++) {
            free(child->held[id].payload);
            child->held[id].payload = NULL;
        }
        done += n;
    } while (lab_now() - started < 0.02 && lab_now() < deadline);
    result->ns_per_op = 1e9 * (lab_now() - started) / (double)done;
}

static void name_provider(struct shared *shared)
{
    Dl_info info = {0};
    void *of_malloc = dlsym(RTLD_DEFAULT, "malloc");
    if (of_malloc != NULL && dladdr(of_malloc, &info) != 0 && info.dli_fname != NULL)
        snprintf(shared->provider, sizeof shared->provider, "%s", info.dli_fname);
}

int process_main(const char *argument)
{
    const char mode = argument[0];
    const char *at = argument + (mode != '\0');
    unsigned long fd, milliseconds;
    struct shared head;
    if (!scan_text(&at, ",") || !scan_number(&at, 10, &fd) || fd > INT_MAX ||
        !scan_text(&at, ",") || !scan_number(&at, 10, &milliseconds) ||
        pread((int)fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
        return command_fail("sim", EXIT_USAGE, "--replay-process is for the command itself");
    struct shared *shared = mmap(NULL, head.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    const double seconds = 1e-3 * (double)milliseconds;
    if (shared == MAP_FAILED)
        return command_fail("sim", EXIT_USAGE, "cannot map the trace: %s", strerror(errno));
    struct child child = {.shared = shared,
                          .result = &shared->result,
                          .held = held_of(shared),
                          .verifies = mode == 'v',
                          .touches = mode == 'm'};
    alarm((unsigned)(4 * seconds) + 10);
    name_provider(shared);
    verifier_open(&child.verifier, NULL, child.result->text, sizeof child.result->text);
    child.baseline = process_anonymous_bytes();
    if (mode == 't')
        run_timed(&child, lab_now() + seconds);
    else
        run_sized(&child, lab_now() + seconds);
    child.result->mean_utilisation = mean_of_samples(child.result);
    return EXIT_FINE;
}

/* ---- the parent -------------------------------------------------------------------------- */

static struct shared *share_trace(const struct trace *trace, int fd)
{
    const size_t bytes = sizeof(struct shared) + trace->n_ops * sizeof *trace->ops +
                         trace->n_ids * sizeof(struct held);
    if (ftruncate(fd, (off_t)bytes) != 0)
        return NULL;
    struct shared *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        return NULL;
    shared->n_ops = trace->n_ops;
    shared->n_ids = trace->n_ids;
    shared->peak_op = trace->peak_op;
    shared->bytes = bytes;
    memcpy(ops_of(shared), trace->ops, trace->n_ops * sizeof *trace->ops);
    return shared;
}

static int run_child(char mode, int fd, double seconds, const char *library)
{
    char argument[80];
    char option[] = "--replay-process", program[] = "ration", command[] = "sim";
    snprintf(argument, sizeof argument, "%c,%d,%.0f", mode, fd, 1e3 * seconds);
    char *const arguments[] = {program, command, option, argument, NULL};
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (library != NULL)
            setenv("LD_PRELOAD", library, 1);
        else
            unsetenv("LD_PRELOAD");
        execv("/proc/self/exe", arguments);
        _exit(126);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 ? status : -1;
}

static void run_modes(struct lab_result *result, struct shared *shared, int fd, const char *library,
                      const struct lab_limits *limits)
{
    static const char modes[] = "mvt";
    const struct lab_strategy *strategy = result->strategy;
    for (const char *mode = modes; *mode != '\0' && result->outcome == LAB_DONE; mode++) {
        if (*mode == 't' && (!limits->times || shared->n_ops < lab_least_timed_ops))
            break;
        shared->result = (struct lab_result){0};
        memset(held_of(shared), 0, shared->n_ids * sizeof(struct held));
        const int status = run_child(*mode, fd, limits->seconds, library);
        if (status != 0) {
            result->outcome = LAB_WRONG;
            snprintf(result->text, sizeof result->text, "the process %s %d (pass %c)",
                     WIFSIGNALED(status) ? "was ended by signal" : "ended with status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), *mode);
        } else if (*mode == 'm') {
            *result = shared->result;
            result->strategy = strategy;
        } else if (*mode == 'v') {
            result->outcome = shared->result.outcome;
            memcpy(result->text, shared->result.text, sizeof result->text);
        } else {
            result->ns_per_op = shared->result.ns_per_op;
        }
    }
}

/* Blocks that nobody touched are not resident: then resident pages say nothing about the heap. */
static void forget_untouched(struct lab_result *result, struct shared *shared)
{
    for (uint64_t i = 0; i < shared->n_ops && result->peak_heap > 0; i++)
        if (ops_of(shared)[i].size > most_touched)
            result->peak_heap = 0;
    if (result->peak_heap == 0)
        result->mean_utilisation = 0;
}

void process_replay(struct lab_result *result, const struct trace *trace,
                    const struct lab_limits *limits)
{
    char library[PATH_MAX];
    const bool is_ours = strcmp(result->strategy->name, "ration") == 0;
    if (limits->library != NULL)
        snprintf(library, sizeof library, "%s", limits->library);
    else if (is_ours && command_find_library("libration.so", library, sizeof library) != 0) {
        result->outcome = LAB_SKIPPED;
        snprintf(result->text, sizeof result->text, "no %.200s; build it or give --library",
                 library);
        return;
    }
    const int fd = memfd_create("ration-sim", 0);
    struct shared *shared = fd >= 0 ? share_trace(trace, fd) : NULL;
    if (shared == NULL) {
        result->outcome = LAB_SKIPPED;
        snprintf(result->text, sizeof result->text, "no shared memory for the trace: %s",
                 strerror(errno));
    } else {
        run_modes(result, shared, fd, is_ours ? library : NULL, limits);
        result->accounting = "resident pages of a process of its own, less those at its start";
        forget_untouched(result, shared);
        if (is_ours && result->outcome == LAB_DONE && strstr(shared->provider, "ration") == NULL) {
            result->outcome = LAB_SKIPPED;
            snprintf(result->text, sizeof result->text,
                     "%.180s was not loaded: malloc came from %.80s", library, shared->provider);
        }
        munmap(shared, shared->bytes);
    }
    if (fd >= 0)
        close(fd);
}
