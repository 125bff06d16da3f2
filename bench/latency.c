/* latency [REQUESTS [WHY_TICKS]]: how long single calls of malloc and free take under the load of a
 * server, as one line of JSON.
 *
 * Threads serve requests of sessions. A request takes a few scratch blocks, which go at once, and
 * keeps one with its session; now and then it needs a buffer above 16 KiB. The sessions open and close
 * in waves, so that the heap grows, is given back and grows again; every eighth session is closed by
 * another thread than opened it.
 *
 * Each call is timed alone by the processor's time stamp counter, and the timer's own cost, the
 * least of many empty measurements, is taken off. The block is touched after the clock has
 * stopped: the page faults of a program's own data are the program's, those of the allocator's tables
 * are timed. Beside each pair of calls an empty one is timed: what that shows (interrupts, a
 * hypervisor that takes the CPU away) is the machine's, and no allocator's.
 *
 * Was the thread taken off its CPU during a call, that call is counted apart: "preempted" when it
 * was only somebody else's turn, "waited" when the call itself slept in the kernel, as on a lock
 * or in a fault. Percentiles are over all calls but preempted ones ("own"), and over all.
 *
 * WHY_TICKS: each thread also asks the kernel around every call (which makes the run slower); calls of
 * more than so many ticks, but for preempted ones, are then counted by what happened in them, on stderr. */
#include "switched.h"
#include "workloads/common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    THREADS = 4,
    SESSIONS = 1500, /* of a thread, at the height of a wave */
    SESSION_BLOCKS = 24,
    SCRATCH = 5,
    WAVES = 3,
    MAILBOXES = 64,
    BUFFER_EVERY = 64, /* requests */
    REQUESTS_DEFAULT = 200000,
    TIMER_TRIALS = 20000,
    STALL_US = 200,
};

/* Counts of times in ticks: 32 steps a doubling, 3 %. */
enum { STEP_BITS = 5, STEPS = 1 << STEP_BITS, BUCKETS = 48 * STEPS };

enum call { CALL_MALLOC, CALL_FREE, CALL_NOTHING, CALLS };
static const char *const call_names[CALLS] = {"malloc", "free", "control"};

struct meter {
    uint64_t own[BUCKETS];       /* calls that were not preempted */
    uint64_t preempted[BUCKETS]; /* the others */
    uint64_t worst_own, worst_all;
    uint64_t n_waited;
    uint64_t n_stalls; /* own ones above STALL_US */
};

/* What the slow calls met, of a run with WHY_TICKS: by call, large block, fault, waiting. */
struct reason {
    uint64_t count, ticks, worst;
};

struct session {
    struct block *blocks[SESSION_BLOCKS];
    unsigned n_blocks, kind;
};

struct server {
    struct session *sessions[SESSIONS];
    _Atomic(struct session *) mail[MAILBOXES];
    struct server *neighbour;
    struct random random;
    struct tally tally;
    unsigned n_sessions;
    long n_waits; /* of this thread so far */
    long n_requests;
    struct meter meters[CALLS];
    struct reason reasons[CALLS][2][2][2];
};

static struct server servers[THREADS];
static pthread_barrier_t all_ready;
static bool switches_known;
static uint64_t timer_ticks, stall_ticks, why_ticks;
static double ns_per_tick;

static const struct {
    size_t lowest, highest;
} kinds[4] = {{16, 128}, {64, 512}, {200, 2000}, {2048, 16000}};

/* Nothing before it is still under way, and nothing behind it has begun. */
static inline uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks)::"memory");
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

static unsigned bucket_of(uint64_t ticks)
{
    if (ticks < STEPS) {
        return (unsigned)ticks;
    }
    unsigned doublings = 63u - (unsigned)__builtin_clzll(ticks) - STEP_BITS;
    unsigned bucket = (doublings + 1) * STEPS + (unsigned)((ticks >> doublings) & (STEPS - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The least time that falls into a bucket. */
static uint64_t bucket_start(unsigned bucket)
{
    unsigned doublings = bucket / STEPS;
    uint64_t step = bucket % STEPS;
    return doublings == 0 ? step : (STEPS + step) << (doublings - 1);
}

static void look_at_kernel(long *waits, long *faults)
{
    struct rusage used;
    getrusage(RUSAGE_THREAD, &used);
    *waits = used.ru_nvcsw;
    *faults = used.ru_minflt + used.ru_majflt;
}

static void count_reason(struct server *server, enum call call, bool is_large, uint64_t ticks,
                         long waits, long faults)
{
    struct reason *reason = &server->reasons[call][is_large][faults != 0][waits != 0];

    reason->count++;
    reason->ticks += ticks;
    reason->worst = ticks > reason->worst ? ticks : reason->worst;
}

/* A call that took `ticks`, during which the thread was (or was not) taken off its CPU. False if it was preempted. */
static bool record(struct server *server, enum call call, uint64_t ticks, bool switched)
{
    struct meter *meter = &server->meters[call];
    bool waited = false;

    ticks = ticks > timer_ticks ? ticks - timer_ticks : 0;
    if (switched) {
        long waits, faults;
        look_at_kernel(&waits, &faults);
        waited = waits != server->n_waits;
        server->n_waits = waits;
        meter->n_waited += waited;
    }
    meter->worst_all = ticks > meter->worst_all ? ticks : meter->worst_all;
    if (switched && !waited) {
        meter->preempted[bucket_of(ticks)]++;
        return false;
    }
    meter->own[bucket_of(ticks)]++;
    meter->worst_own = ticks > meter->worst_own ? ticks : meter->worst_own;
    meter->n_stalls += ticks > stall_ticks;
    return true;
}

/* Before each timed call: waits outside of calls are not counted to them. */
static inline void begin(struct server *server, long *waits, long *faults)
{
    if (why_ticks != 0) {
        look_at_kernel(waits, faults);
    }
    if (switch_happened(switches_known)) {
        long ignored;
        look_at_kernel(&server->n_waits, &ignored);
    }
    switch_watch(switches_known);
}

static inline void end(struct server *server, enum call call, uint64_t ticks, bool is_large,
                       long waits, long faults)
{
    bool is_own = record(server, call, ticks, switch_happened(switches_known));
    if (is_own && why_ticks != 0 && ticks > why_ticks) {
        long waits_now, faults_now;
        look_at_kernel(&waits_now, &faults_now);
        count_reason(server, call, is_large, ticks, waits_now - waits, faults_now - faults);
    }
    switch_watch(switches_known);
}

static void time_nothing(struct server *server)
{
    long waits = 0, faults = 0;

    begin(server, &waits, &faults);
    uint64_t start = ticks_now();
    uint64_t ticks = ticks_now() - start;
    end(server, CALL_NOTHING, ticks, false, waits, faults);
}

static void *timed_malloc(struct server *server, size_t size)
{
    long waits = 0, faults = 0;

    begin(server, &waits, &faults);
    uint64_t start = ticks_now();
    void *memory = malloc(size);
    uint64_t ticks = ticks_now() - start;
    end(server, CALL_MALLOC, ticks, size > 16384, waits, faults);
    if (!memory) {
        die("malloc returned null");
    }
    return memory;
}

static void timed_free(struct server *server, void *memory, size_t size)
{
    long waits = 0, faults = 0;

    begin(server, &waits, &faults);
    uint64_t start = ticks_now();
    free(memory);
    uint64_t ticks = ticks_now() - start;
    end(server, CALL_FREE, ticks, size > 16384, waits, faults);
}

static struct block *take(struct server *server, size_t size)
{
    struct block *block = timed_malloc(server, size);

    block->tag = random_next(&server->random);
    block->size = size;
    for (size_t at = sizeof *block; at < size; at += 1024) {
        ((char *)block)[at] = 1;
    }
    server->tally.operations++;
    server->tally.born += block->tag;
    time_nothing(server);
    return block;
}

static void give(struct server *server, struct block *block)
{
    if (block) {
        server->tally.operations++;
        server->tally.died += block->tag;
        timed_free(server, block, block->size);
    }
}

static size_t draw_size(struct server *server, unsigned kind)
{
    return pick_size(random_next(&server->random), kinds[kind].lowest, kinds[kind].highest);
}

static struct session *session_open(struct server *server, unsigned wave)
{
    struct session *session = timed_malloc(server, sizeof *session);
    uint64_t drawn = random_next(&server->random);

    memset(session, 0, sizeof *session);
    session->kind = (drawn & 15) == 0 ? 3 : (wave + (drawn >> 4) % 2) % 3;
    server->n_sessions++;
    return session;
}

static void session_drop(struct server *server, struct session *session)
{
    for (unsigned i = 0; session && i < SESSION_BLOCKS; i++) {
        give(server, session->blocks[i]);
    }
    if (session) {
        timed_free(server, session, sizeof *session);
    }
}

/* Closes a session here, or mails it to the neighbour, who closes it in time. */
static void session_close(struct server *server, struct session *session, uint64_t drawn)
{
    server->n_sessions--;
    if ((drawn & 7) == 0) {
        session = atomic_exchange(&server->neighbour->mail[(drawn >> 3) % MAILBOXES], session);
    }
    session_drop(server, session);
    session_drop(server, atomic_exchange(&server->mail[(drawn >> 3) % MAILBOXES], NULL));
}

static void session_work(struct server *server, struct session *session, uint64_t drawn)
{
    struct block *scratch[SCRATCH];

    for (unsigned i = 0; i < SCRATCH; i++) {
        scratch[i] = take(server, draw_size(server, i & 1));
    }
    if (drawn % BUFFER_EVERY == 0) {
        give(server, take(server, pick_size(drawn, 20000, 200000)));
    }
    struct block **kept = &session->blocks[session->n_blocks++ % SESSION_BLOCKS];
    give(server, *kept);
    *kept = take(server, draw_size(server, session->kind));
    for (unsigned i = 0; i < SCRATCH; i++) {
        give(server, scratch[i]);
    }
}

/* Sessions that there should be: from a tenth to all and back, once a wave. */
static unsigned wanted_at(long request, long n_requests, unsigned *wave)
{
    long length = n_requests / WAVES + 1;
    long at = request % length;
    long height = at < length / 2 ? at : length - at;

    *wave = (unsigned)(request / length);
    return SESSIONS / 10 + (unsigned)(SESSIONS * 9 / 10 * height / (length / 2 + 1));
}

static void serve_one(struct server *server, unsigned wanted, unsigned wave)
{
    uint64_t drawn = random_next(&server->random);
    struct session **session = &server->sessions[pick_below(drawn, SESSIONS)];

    if (!*session) {
        if (server->n_sessions >= wanted) {
            return;
        }
        *session = session_open(server, wave);
    }
    session_work(server, *session, drawn);
    if (server->n_sessions > wanted || drawn % 48 == 0) {
        session_close(server, *session, random_next(&server->random));
        *session = NULL;
    }
}

static void *serve(void *arg)
{
    struct server *server = arg;
    unsigned wave = 0, wanted = 0;

    pthread_barrier_wait(&all_ready);
    switch_watch(switches_known);
    for (long i = 0; i < server->n_requests; i++) {
        if (i % 256 == 0) {
            wanted = wanted_at(i, server->n_requests, &wave);
        }
        serve_one(server, wanted, wave);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        session_drop(server, server->sessions[i]);
    }
    return NULL;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* What the timer itself costs, and how long a tick is. */
static void calibrate(void)
{
    timer_ticks = UINT64_MAX;
    double start_seconds = seconds_now();
    uint64_t start_ticks = ticks_now();

    for (unsigned i = 0; i < TIMER_TRIALS; i++) {
        uint64_t start = ticks_now();
        uint64_t ticks = ticks_now() - start;
        timer_ticks = ticks < timer_ticks ? ticks : timer_ticks;
    }
    while (seconds_now() - start_seconds < 0.05) {
    }
    uint64_t ticks = ticks_now() - start_ticks;
    ns_per_tick = (seconds_now() - start_seconds) * 1e9 / (double)ticks;
    stall_ticks = (uint64_t)(STALL_US * 1000 / ns_per_tick);
}

static uint64_t total_of(const uint64_t *counts)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        total += counts[i];
    }
    return total;
}

/* In nanoseconds: the middle of the bucket that holds the call at `share` of all. `more` may be null. */
static double percentile(const uint64_t *counts, const uint64_t *more, double share)
{
    uint64_t total = total_of(counts) + (more ? total_of(more) : 0);
    uint64_t wanted = (uint64_t)((double)total * share), seen = 0;

    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += counts[i] + (more ? more[i] : 0);
        if (seen > wanted) {
            return (double)(bucket_start(i) + bucket_start(i + 1)) / 2 * ns_per_tick;
        }
    }
    return 0;
}

static void add_meters(struct meter *sum, const struct meter *part)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        sum->own[i] += part->own[i];
        sum->preempted[i] += part->preempted[i];
    }
    sum->worst_own = part->worst_own > sum->worst_own ? part->worst_own : sum->worst_own;
    sum->worst_all = part->worst_all > sum->worst_all ? part->worst_all : sum->worst_all;
    sum->n_waited += part->n_waited;
    sum->n_stalls += part->n_stalls;
}

static void print_meter(const struct meter *m, const char *name)
{
    printf("\"%s\": {\"calls\": %llu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
           "\"p9999\": %.1f, \"worst\": %.1f, \"preempted\": %llu, \"waited\": %llu, "
           "\"stalls\": %llu, \"all_p9999\": %.1f, \"all_worst\": %.1f}, ",
           name, (unsigned long long)(total_of(m->own) + total_of(m->preempted)),
           percentile(m->own, NULL, 0.5), percentile(m->own, NULL, 0.99),
           percentile(m->own, NULL, 0.999), percentile(m->own, NULL, 0.9999),
           (double)m->worst_own * ns_per_tick, (unsigned long long)total_of(m->preempted),
           (unsigned long long)m->n_waited, (unsigned long long)m->n_stalls,
           percentile(m->own, m->preempted, 0.9999), (double)m->worst_all * ns_per_tick);
}

static void print_reasons(enum call call)
{
    for (unsigned kind = 0; kind < 8; kind++) {
        bool is_large = kind & 1, faulted = kind & 2, waited = kind & 4;
        struct reason sum = {0};
        for (unsigned i = 0; i < THREADS; i++) {
            const struct reason *part = &servers[i].reasons[call][is_large][faulted][waited];
            sum.count += part->count;
            sum.ticks += part->ticks;
            sum.worst = part->worst > sum.worst ? part->worst : sum.worst;
        }
        if (sum.count > 0) {
            fprintf(stderr, "%-8s %-5s %-8s %-7s %8llu calls, mean %8.1f us, worst %8.1f us\n",
                    call_names[call], is_large ? "large" : "small", faulted ? "faulted" : "-",
                    waited ? "waited" : "-", (unsigned long long)sum.count,
                    (double)sum.ticks * ns_per_tick / 1000 / (double)sum.count,
                    (double)sum.worst * ns_per_tick / 1000);
        }
    }
}

static void run(long n_requests)
{
    pthread_barrier_init(&all_ready, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        memset(&servers[i], 0, sizeof servers[i]); /* its pages, too, before the clock runs */
        servers[i].neighbour = &servers[(i + 1) % THREADS];
        servers[i].random.state = 900 + i;
        servers[i].n_requests = n_requests;
    }
    threads_run(THREADS, serve, servers, sizeof *servers);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned box = 0; box < MAILBOXES; box++) {
            session_drop(&servers[i], atomic_exchange(&servers[i].mail[box], NULL));
        }
    }
}

int main(int argc, char **argv)
{
    static struct meter sums[CALLS];
    struct tally tally = {0};
    long n_requests = argc > 1 ? atol(argv[1]) : REQUESTS_DEFAULT;

    if (argc > 3 || n_requests < 1) {
        fprintf(stderr, "usage: latency [REQUESTS of a thread [WHY_TICKS]]\n");
        return 2;
    }
    why_ticks = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    switch_prepare();
    switches_known = switch_known();
    calibrate();
    double start = seconds_now();
    run(n_requests);
    double seconds = seconds_now() - start;
    for (unsigned i = 0; i < THREADS; i++) {
        tally_add(&tally, &servers[i].tally);
        for (unsigned call = 0; call < CALLS; call++) {
            add_meters(&sums[call], &servers[i].meters[call]);
        }
    }
    if (tally.born != tally.died) {
        die("latency: blocks were lost or damaged");
    }
    printf("{");
    for (unsigned call = 0; call < CALLS; call++) {
        print_meter(&sums[call], call_names[call]);
        print_reasons(call);
    }
    printf(
        "\"switches_known\": %s, \"timer_ns\": %.1f, \"ns_per_tick\": %.4f, \"seconds\": %.3f}\n",
        switches_known ? "true" : "false", (double)timer_ticks * ns_per_tick, ns_per_tick, seconds);
    return 0;
}
