/* Random operations over the whole interface against an ordered map of the live blocks: no block
 * overlaps another, each is aligned, has its contents, and new zeroed memory is zero.
 *
 *   shadow [--seed=N] [--rounds=N] [--threads=N]     random sequences; a failing one is shrunk and
 * printed shadow --replay FILE...                          sequences kept from earlier finds
 *
 * A sequence is text, a line an operation: NAME SLOT SIZE ALIGN. Any part of a sequence is a
 * sequence, which is what lets it be shrunk: an operation on an empty slot allocates, freeing an
 * empty slot frees null. */
#include "api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 512, OPS = 6000, THREADS_MAX = 8, MAP_MAX = SLOTS * THREADS_MAX, MAILBOXES = 64 };

enum what {
    ALLOCATE,
    ZEROED,
    RESIZE,
    RESIZE_ARRAY,
    ALIGNED,
    RELEASE,
    RELEASE_SIZED,
    TRIM,
    SEND,
    RECEIVE,
    WHAT_COUNT
};
static const char *const what_names[] = {"malloc",  "calloc", "realloc",    "reallocarray",
                                         "aligned", "free",   "free_sized", "trim",
                                         "send",    "receive"};

struct op {
    enum what what;
    unsigned slot;
    size_t n, align;
};

struct block {
    unsigned char *p;
    size_t n;
    size_t align; /* as asked for; 0: not asked for */
    uint64_t key;
};

struct worker {
    struct block slots[SLOTS];
    struct op ops[OPS];
    size_t op_count;
    uint64_t next_key;
    bool shared; /* other threads run as well */
};

static bool is_fuzzing;

static _Noreturn void fail(const char *why)
{
    char line[200];
    int n = snprintf(line, sizeof line, "shadow: %s\n", why);
    if (write(2, line, (size_t)n) != n || !is_fuzzing)
        _exit(1);
    abort(); /* what a fuzzer takes for a find */
}

/* --- chance (xorshift64*, Vigna 2014) --- */

static uint64_t next_chance(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dU;
}

static size_t below(uint64_t *state, size_t n)
{
    return (size_t)((next_chance(state) >> 11) % n);
}

/* Every size up to 4096; powers of two and eighths between them, page multiples, each with its
 * neighbours. */
static size_t any_size(uint64_t *chance)
{
    size_t around = below(chance, 3);
    switch (below(chance, 16)) {
    case 0: {
        size_t power = (size_t)1 << (4 + below(chance, 14));
        return power + power / 8 * below(chance, 8) + around - 1;
    }
    case 1:
        return 4096 * (1 + below(chance, 64)) + around - 1;
    case 2:
        return below(chance, 600000);
    case 3:
        return 0;
    default:
        return below(chance, 2) == 0 ? below(chance, 4097) : below(chance, 300);
    }
}

static struct op any_op(uint64_t *chance, unsigned slots)
{
    static const enum what often[] = {ALLOCATE, ALLOCATE,     ALLOCATE,     ZEROED,  RESIZE,
                                      RESIZE,   RESIZE_ARRAY, ALIGNED,      RELEASE, RELEASE,
                                      RELEASE,  RELEASE,      RELEASE_SIZED};
    struct op o = {.what = often[below(chance, sizeof often / sizeof *often)]};
    size_t rare = below(chance, 600);
    if (rare == 0)
        o.what = TRIM;
    else if (rare < 80)
        o.what = rare % 2 == 0 ? SEND : RECEIVE;
    o.slot = (unsigned)below(chance, slots);
    o.n = any_size(chance);
    o.align = (size_t)8 << below(chance, below(chance, 4) == 0 ? 16 : 7);
    return o;
}

/* --- the ordered map of live blocks, of all threads --- */

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        uintptr_t start, end;
    } blocks[MAP_MAX];
} map = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t map_find(uintptr_t start)
{
    size_t low = 0;
    size_t high = map.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (map.blocks[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void map_add(const void *p, size_t n)
{
    uintptr_t start = (uintptr_t)p;
    uintptr_t end = start + (n != 0 ? n : 1); /* a block of no bytes has an address of its own */
    pthread_mutex_lock(&map.lock);
    size_t i = map_find(start);
    if ((i > 0 && map.blocks[i - 1].end > start) || (i < map.count && map.blocks[i].start < end))
        fail("a block overlaps another that is live");
    memmove(&map.blocks[i + 1], &map.blocks[i], (map.count - i) * sizeof *map.blocks);
    map.blocks[i].start = start;
    map.blocks[i].end = end;
    map.count++;
    pthread_mutex_unlock(&map.lock);
}

/* Before the block is freed: afterwards others may have it. */
static void map_remove(const void *p)
{
    pthread_mutex_lock(&map.lock);
    size_t i = map_find((uintptr_t)p);
    if (i == map.count || map.blocks[i].start != (uintptr_t)p)
        fail("the test lost a block");
    map.count--;
    memmove(&map.blocks[i], &map.blocks[i + 1], (map.count - i) * sizeof *map.blocks);
    pthread_mutex_unlock(&map.lock);
}

/* --- blocks --- */

static unsigned char byte_of(uint64_t key, size_t i)
{
    return (unsigned char)((key + i / 8) * 0x9e3779b97f4a7c15U >> (8 * (i % 8)));
}

/* All of a short block; of a long one its ends, and a byte every so often. */
static size_t step_at(size_t i, size_t n)
{
    return i < 512 || i + 512 >= n ? 1 : n - i > 1024 ? 127 : n - 512 - i;
}

static void write_pattern(const struct block *b)
{
    for (size_t i = 0; i < b->n; i += step_at(i, b->n))
        b->p[i] = byte_of(b->key, i);
}

static void require_pattern(const struct block *b, size_t n)
{
    for (size_t i = 0; i < n; i += step_at(i, b->n)) {
        if (b->p[i] != byte_of(b->key, i))
            fail("a block has not kept its contents");
    }
}

static void keep(struct worker *w, unsigned slot, void *p, size_t n, size_t align)
{
    if (p == NULL)
        fail("no memory");
    if ((uintptr_t)p % (align > 16 ? align : 16) != 0)
        fail("misaligned");
    if (api.usable(p) < n)
        fail("the usable size is less than what was asked for");
    map_add(p, n);
    struct block *b = &w->slots[slot];
    *b = (struct block){p, n, align, w->next_key += 0x10001};
    write_pattern(b);
}

static void forget(struct worker *w, unsigned slot)
{
    require_pattern(&w->slots[slot], w->slots[slot].n);
    map_remove(w->slots[slot].p);
}

static void release(struct worker *w, unsigned slot, bool sized)
{
    struct block *b = &w->slots[slot];
    if (b->p == NULL) {
        api.release(NULL);
        return;
    }
    forget(w, slot);
    if (sized)
        api.release_sized(b->p, b->n, b->align);
    else
        api.release(b->p);
    b->p = NULL;
}

static void require_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; p != NULL && i < n; i++) {
        if (p[i] != 0)
            fail("zeroed memory is not zero");
    }
}

static void resize(struct worker *w, const struct op *o)
{
    struct block *b = &w->slots[o->slot];
    if (b->p == NULL || o->n == 0) {
        release(w, o->slot, false);
        keep(w, o->slot, api.resize(NULL, o->n), o->n, 0);
        return;
    }
    forget(w, o->slot);
    struct block before = *b;
    void *p = o->what == RESIZE ? api.resize(b->p, o->n) : api.resize_array(b->p, o->n, 1);
    if (p == NULL)
        fail("no memory");
    before.p = p;
    size_t kept = before.n < o->n ? before.n : o->n;
    for (size_t i = 0; i < kept; i += step_at(i, before.n)) {
        if (before.p[i] != byte_of(before.key, i))
            fail("realloc lost contents");
    }
    keep(w, o->slot, p, o->n, 0);
}

/* --- blocks that go to other threads --- */

static struct block *mailboxes[MAILBOXES];

static void send(struct worker *w, const struct op *o)
{
    static struct block letters[THREADS_MAX * 4096];
    static size_t letter_count;
    if (!w->shared || w->slots[o->slot].p == NULL)
        return;
    size_t i = __atomic_fetch_add(&letter_count, 1, __ATOMIC_RELAXED);
    if (i >= sizeof letters / sizeof *letters)
        return;
    letters[i] = w->slots[o->slot];
    w->slots[o->slot].p = NULL;
    struct block *old =
        __atomic_exchange_n(&mailboxes[o->n % MAILBOXES], &letters[i], __ATOMIC_ACQ_REL);
    if (old == NULL)
        return;
    require_pattern(old, old->n);
    map_remove(old->p);
    api.release(old->p);
}

static void receive(struct worker *w, const struct op *o)
{
    struct block *got = __atomic_exchange_n(&mailboxes[o->n % MAILBOXES], NULL, __ATOMIC_ACQ_REL);
    if (got == NULL)
        return;
    release(w, o->slot, false);
    w->slots[o->slot] = *got;
    require_pattern(got, got->n);
}

static void run_op(struct worker *w, const struct op *o)
{
    switch (o->what) {
    case ALLOCATE:
        release(w, o->slot, false);
        keep(w, o->slot, api.allocate(o->n), o->n, 0);
        break;
    case ZEROED: {
        release(w, o->slot, false);
        unsigned char *p = api.zeroed(1, o->n);
        require_zero(p, o->n);
        keep(w, o->slot, p, o->n, 0);
        break;
    }
    case RESIZE:
    case RESIZE_ARRAY:
        resize(w, o);
        break;
    case ALIGNED:
        release(w, o->slot, false);
        keep(w, o->slot, api.aligned(o->align, o->n), o->n, o->align);
        break;
    case RELEASE:
    case RELEASE_SIZED:
        release(w, o->slot, o->what == RELEASE_SIZED);
        break;
    case TRIM:
        api.trim();
        break;
    case SEND:
        send(w, o);
        break;
    case RECEIVE:
        receive(w, o);
        break;
    case WHAT_COUNT:
        break;
    }
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    for (size_t i = 0; i < w->op_count; i++) {
        run_op(w, &w->ops[i]);
        if (!w->shared && i % 512 == 0 && api.check() != NULL)
            fail(api.check());
    }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        release(w, slot, false);
    return NULL;
}

/* --- running, shrinking, printing --- */

static struct worker *workers; /* not from the heap under test */

/* In a child: a fresh heap, and a crash is a result. */
static int run_in_child(unsigned threads)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        api.start();
        pthread_t ids[THREADS_MAX];
        for (unsigned t = 1; t < threads; t++)
            pthread_create(&ids[t], NULL, run_worker, &workers[t]);
        run_worker(&workers[0]);
        for (unsigned t = 1; t < threads; t++)
            pthread_join(ids[t], NULL);
        for (size_t i = 0; i < MAILBOXES; i++) {
            if (mailboxes[i] != NULL) {
                map_remove(mailboxes[i]->p);
                api.release(mailboxes[i]->p);
            }
        }
        if (map.count != 0)
            fail("the test lost a block");
        if (api.check() != NULL)
            fail(api.check());
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

static void make_ops(struct worker *w, uint64_t seed, unsigned slots)
{
    uint64_t chance = seed;
    w->op_count = OPS;
    w->next_key = seed;
    for (size_t i = 0; i < OPS; i++)
        w->ops[i] = any_op(&chance, slots);
}

/* Takes away what is not needed for the failure: halves, quarters ... single operations (after
 * Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002). */
static void shrink(struct worker *w)
{
    static struct op kept[OPS];
    for (size_t part = w->op_count / 2; part > 0; part /= 2) {
        for (size_t at = 0; at < w->op_count;) {
            size_t cut = part < w->op_count - at ? part : w->op_count - at;
            size_t count = w->op_count;
            memcpy(kept, w->ops, count * sizeof *kept);
            memmove(&w->ops[at], &w->ops[at + cut], (count - at - cut) * sizeof *w->ops);
            w->op_count = count - cut;
            if (w->op_count != 0 && run_in_child(1) != 0)
                continue;
            memcpy(w->ops, kept, count * sizeof *kept);
            w->op_count = count;
            at += cut;
        }
    }
}

static void print_ops(const struct worker *w)
{
    printf("the shortest failing sequence found; keep it as tests/shadow/found/NAME.seq:\n");
    for (size_t i = 0; i < w->op_count; i++)
        printf("%s %u %zu %zu\n", what_names[w->ops[i].what], w->ops[i].slot, w->ops[i].n,
               w->ops[i].align);
}

static bool read_ops(struct worker *w, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    char line[256];
    w->op_count = 0;
    while (fgets(line, sizeof line, f) != NULL && w->op_count < OPS) {
        char name[32];
        struct op *o = &w->ops[w->op_count];
        if (line[0] == '#' ||
            sscanf(line, "%31s %u %zu %zu", name, &o->slot, &o->n, &o->align) != 4)
            continue;
        for (o->what = ALLOCATE; o->what < WHAT_COUNT && strcmp(name, what_names[o->what]) != 0;)
            o->what = (enum what)((unsigned)o->what + 1);
        if (o->what == WHAT_COUNT || o->slot >= SLOTS) {
            fprintf(stderr, "shadow: %s: not an operation: %s", path, line);
            exit(2);
        }
        w->op_count++;
    }
    fclose(f);
    return true;
}

static int replay(char **paths)
{
    int broken = 0;
    for (; *paths != NULL; paths++) {
        if (!read_ops(&workers[0], *paths)) {
            fprintf(stderr, "shadow: cannot read %s\n", *paths);
            return 2;
        }
        int status = run_in_child(1);
        printf("%s: %zu operations, %s\n", *paths, workers[0].op_count,
               status == 0 ? "fine" : "FAILED");
        broken += status != 0;
    }
    return broken != 0;
}

/* Each size from 0 to 4096 several times at once, in order. */
static void every_size(struct worker *w, size_t first)
{
    w->op_count = 0;
    for (size_t n = first; n < first + SLOTS && n <= 4096; n++) {
        for (unsigned what = ALLOCATE; what <= ALIGNED; what++)
            w->ops[w->op_count++] = (struct op){(enum what)what, (unsigned)((n * 5 + what) % SLOTS),
                                                n, (size_t)8 << n % 8};
    }
}

static int report_failure(uint64_t seed, unsigned threads, int status)
{
    printf("FAILED: seed %llu, %u threads, wait status 0x%x\n", (unsigned long long)seed, threads,
           (unsigned)status);
    if (threads == 1) {
        shrink(&workers[0]);
        print_ops(&workers[0]);
    }
    return 1;
}

static int run_random(uint64_t seed, unsigned long rounds, unsigned threads)
{
    printf("shadow of %s: seed %llu, %lu rounds, %u threads\n", api.name, (unsigned long long)seed,
           rounds, threads);
    for (size_t first = 0; threads == 1 && first <= 4096; first += SLOTS) {
        every_size(&workers[0], first);
        int status = run_in_child(1);
        if (status != 0)
            return report_failure(0, 1, status);
    }
    for (unsigned long round = 0; round < rounds; round++) {
        uint64_t mine = seed + round * 1000;
        for (unsigned t = 0; t < threads; t++) {
            make_ops(&workers[t], mine + t, round % 3 == 0 ? 40 : SLOTS);
            workers[t].shared = threads > 1;
        }
        int status = run_in_child(threads);
        if (status != 0)
            return report_failure(mine, threads, status);
    }
    printf("fine: %lu operations\n", rounds * threads * OPS);
    return 0;
}

/* Six bytes an operation. */
void shadow_run_bytes(const unsigned char *data, size_t n)
{
    static struct worker *w;
    is_fuzzing = true;
    if (w == NULL)
        w = workers =
            mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    w->op_count = 0;
    for (; n >= 6 && w->op_count < OPS; n -= 6, data += 6) {
        size_t size = (size_t)data[2] | (size_t)data[3] << 8;
        w->ops[w->op_count++] = (struct op){.what = (enum what)(data[0] % SEND),
                                            .slot = (data[1] | (unsigned)data[5] << 8) % SLOTS,
                                            .n = data[4] < 32 ? size << (data[4] & 3) : size % 4096,
                                            .align = (size_t)8 << data[4] % 14};
    }
    run_worker(w);
    if (map.count != 0)
        fail("the test lost a block");
    if (api.check() != NULL)
        fail(api.check());
}

int shadow_main(int argc, char **argv)
{
    uint64_t seed = 20261121;
    unsigned long rounds = 20;
    unsigned threads = 1;
    workers = mmap(NULL, THREADS_MAX * sizeof *workers, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seed=", 7) == 0)
            seed = strtoull(argv[i] + 7, NULL, 10);
        else if (strncmp(argv[i], "--rounds=", 9) == 0)
            rounds = strtoul(argv[i] + 9, NULL, 10);
        else if (strncmp(argv[i], "--threads=", 10) == 0)
            threads = (unsigned)strtoul(argv[i] + 10, NULL, 10);
        else if (strcmp(argv[i], "--replay") == 0)
            return replay(argv + i + 1);
        else
            threads = 0;
    }
    if (threads == 0 || threads > THREADS_MAX || seed == 0) {
        fprintf(stderr,
                "usage: shadow [--seed=N] [--rounds=N] [--threads=1..8] | --replay FILE...\n");
        return 2;
    }
    return run_random(seed, rounds, threads);
}
