#include "model.h"

#include "cache/cache.h"
#include "os/lock.h"
#include "os/os.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK_BYTES = 128 << 10, STEPS_MAX = 20000, HELD_MAX = 600 };

enum thread_state {
    THREAD_NONE,
    THREAD_READY,
    THREAD_WAITS,
    THREAD_SLEEPS,
    THREAD_NAPS,
    THREAD_DONE
};

struct thread {
    enum thread_state state;
    ucontext_t context;
    struct cache *cache; /* its my_cache while it does not run */
    const struct lock *waits_for;
    const struct lock *held[HELD_MAX];
    unsigned held_count;
    void (*entry)(void *);
    void *arg;
    uint32_t *alive;
};

/* One choice of a schedule: at this step there were `count` ways to go on, and `chosen` was taken;
 * 0 is to stay. */
struct choice {
    unsigned char count, chosen;
};

/* Not among the program's data: that is put back before each schedule. */
static struct model {
    struct thread threads[MODEL_THREADS_MAX];
    ucontext_t scheduler;
    struct choice path[STEPS_MAX];
    unsigned path_length; /* choices that are prescribed, then those that were made */
    unsigned at;
    unsigned preempted, preemptions;
    unsigned long steps;
    int current; /* -1: the scheduler runs */
    const char *broken;
    jmp_buf give_up;
    char text[256];
    unsigned char stacks[MODEL_THREADS_MAX][STACK_BYTES] __attribute__((aligned(64)));
} * model;

int model_ignored_rank = MODEL_NO_RANK;

/* --- the program's data, as it was after `prepare` --- */

extern char __data_start[], _end[] __attribute__((weak));
static struct snapshot {
    char *data;
    char *map;
    size_t map_bytes;
} * snapshot;

static void *fresh(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void take_snapshot(void)
{
    struct snapshot *s = fresh(sizeof *s);
    snapshot = s;
    s->map_bytes = window.unit_count * sizeof *window.map;
    s->map = fresh(s->map_bytes + 1);
    memcpy(s->map, window.map, s->map_bytes);
    s->data = fresh((size_t)(_end - __data_start));
    memcpy(s->data, __data_start, (size_t)(_end - __data_start));
}

static void restore_snapshot(void)
{
    const struct snapshot *s = snapshot;
    memcpy(__data_start, s->data, (size_t)(_end - __data_start));
    memcpy(window.map, s->map, s->map_bytes);
}

/* --- scheduling --- */

static int choose(int previous);

/* Whoever is chosen goes on; the scheduler itself only begins and ends a schedule. */
static void let_go_on(void)
{
    int mine = model->current;
    struct thread *t = &model->threads[mine];
    if (++model->steps > 200000)
        model_broken("the threads do not come to an end");
    int next = choose(mine);
    if (next == mine)
        return;
    t->cache = my_cache;
    model->current = next;
    if (next < 0) {
        swapcontext(&t->context, &model->scheduler);
        return;
    }
    my_cache = model->threads[next].cache;
    swapcontext(&t->context, &model->threads[next].context);
}

static bool is_scheduled(void)
{
    return model != NULL && model->current >= 0;
}

void model_point(void)
{
    if (is_scheduled())
        let_go_on();
}

static bool is_excluding(const struct lock *l)
{
    return l->rank != model_ignored_rank;
}

void model_lock_take(struct lock *l)
{
    if (!is_scheduled())
        return;
    struct thread *t = &model->threads[model->current];
    let_go_on();
    while (is_excluding(l) && l->word != 0) {
        t->state = THREAD_WAITS;
        t->waits_for = l;
        let_go_on();
    }
    const struct lock *last = t->held_count > 0 ? t->held[t->held_count - 1] : NULL;
    /* Shelves have one rank. Only a fork takes more than one, after all locks of lower ranks. */
    bool is_fork = t->held_count > 0 && t->held[0]->rank == RANK_PURGE && l->rank == RANK_SHELF;
    bool in_order = last == NULL || last->rank < l->rank || (is_fork && last->rank == RANK_SHELF);
    if (!in_order)
        model_broken("locks are taken against the order of their ranks");
    t->held[t->held_count++] = l;
    l->word = 1;
}

void model_lock_drop(struct lock *l)
{
    if (!is_scheduled())
        return;
    struct thread *t = &model->threads[model->current];
    unsigned at = 0;
    while (at < t->held_count && t->held[at] != l)
        at++;
    if (at == t->held_count)
        model_broken("a lock is dropped that was not taken");
    memmove(&t->held[at], &t->held[at + 1], (--t->held_count - at) * sizeof *t->held);
    l->word = 0;
    for (int i = 0; i < MODEL_THREADS_MAX; i++) {
        if (model->threads[i].state == THREAD_WAITS && model->threads[i].waits_for == l)
            model->threads[i].state = THREAD_READY;
    }
    let_go_on();
}

void model_sleep(void)
{
    if (!is_scheduled())
        return;
    model->threads[model->current].state = THREAD_SLEEPS;
    let_go_on();
}

void model_nap(void)
{
    if (!is_scheduled())
        return;
    model->threads[model->current].state = THREAD_NAPS;
    let_go_on();
    model->threads[model->current].state = THREAD_READY;
}

static void run_thread(void)
{
    struct thread *t = &model->threads[model->current];
    t->entry(t->arg);
    if (t->held_count != 0)
        model_broken("a thread ends with a lock");
    t = &model->threads[model->current];
    if (t->alive != NULL)
        *t->alive = 0;
    t->state = THREAD_DONE;
    let_go_on();
}

static void start_thread(int i, void (*entry)(void *), void *arg, uint32_t *alive)
{
    struct thread *t = &model->threads[i];
    memset(t, 0, sizeof *t);
    t->entry = entry;
    t->arg = arg;
    t->alive = alive;
    t->cache = &no_cache;
    t->state = THREAD_READY;
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = model->stacks[i];
    t->context.uc_stack.ss_size = STACK_BYTES;
    t->context.uc_link = NULL;
    makecontext(&t->context, run_thread, 0);
}

bool model_start(void (*entry)(void *), void *arg, uint32_t *alive)
{
    for (int i = 0; i < MODEL_THREADS_MAX; i++) {
        if (model->threads[i].state == THREAD_NONE || model->threads[i].state == THREAD_DONE) {
            start_thread(i, entry, arg, alive);
            return true;
        }
    }
    return false;
}

void model_broken(const char *why)
{
    snprintf(model->text, sizeof model->text, "%s", why);
    model->broken = model->text;
    if (model->current >= 0)
        setcontext(&model->scheduler); /* where run_schedule sees it */
    longjmp(model->give_up, 1);
}

/* Who may run next: the current thread first, then the others in order. Sleepers only when nobody
 * else can. */
static unsigned list_ready(int previous, int *ready)
{
    unsigned n = 0;
    if (previous >= 0 && model->threads[previous].state == THREAD_READY)
        ready[n++] = previous;
    for (int i = 0; i < MODEL_THREADS_MAX; i++) {
        if (i != previous && model->threads[i].state == THREAD_READY)
            ready[n++] = i;
    }
    for (int i = 0; i < MODEL_THREADS_MAX; i++) {
        if (model->threads[i].state == THREAD_NAPS)
            ready[n++] = i;
    }
    for (int i = 0; n == 0 && i < MODEL_THREADS_MAX; i++) {
        if (model->threads[i].state == THREAD_SLEEPS) {
            model->threads[i].state = THREAD_READY;
            ready[n++] = i;
        }
    }
    return n;
}

static int choose(int previous)
{
    int ready[MODEL_THREADS_MAX];
    unsigned n = list_ready(previous, ready);
    if (n == 0)
        return -1;
    bool can_stay = ready[0] == previous;
    if (can_stay && model->preempted == model->preemptions)
        return previous; /* no choice, and no record of one */
    if (n == 1)
        return ready[0];
    if (model->at == STEPS_MAX)
        model_broken("the schedule does not come to an end");
    struct choice *c = &model->path[model->at];
    if (model->at++ >= model->path_length) {
        *c = (struct choice){(unsigned char)n, 0};
        model->path_length = model->at;
    } else if (c->count != n) {
        model_broken("the model is not deterministic");
    }
    if (can_stay && c->chosen != 0)
        model->preempted++;
    return ready[c->chosen];
}

static bool all_done(void)
{
    for (int i = 0; i < MODEL_THREADS_MAX; i++) {
        if (model->threads[i].state != THREAD_NONE && model->threads[i].state != THREAD_DONE)
            return false;
    }
    return true;
}

static void run_threads(void)
{
    struct cache *mine = my_cache;
    model->current = choose(-1);
    my_cache = model->threads[model->current].cache;
    swapcontext(&model->scheduler, &model->threads[model->current].context);
    model->current = -1;
    my_cache = mine;
    if (model->broken == NULL && !all_done())
        model_broken("all threads wait for each other");
}

static void start_entry(void *arg)
{
    const struct model_scenario *s = arg;
    s->threads[model->current]();
}

static void run_schedule(const struct model_scenario *s)
{
    restore_snapshot();
    memset(model->threads, 0, sizeof model->threads);
    model->at = 0;
    model->preempted = 0;
    model->steps = 0;
    model->current = -1;
    for (int i = 0; i < MODEL_THREADS_MAX && s->threads[i] != NULL; i++)
        start_thread(i, start_entry, (void *)(uintptr_t)s, NULL);
    if (setjmp(model->give_up) != 0)
        return;
    run_threads();
    if (model->broken == NULL)
        s->finish();
}

/* The next path in depth-first order. False: all were run. */
static bool advance_path(void)
{
    model->path_length = model->at;
    while (model->path_length > 0) {
        struct choice *c = &model->path[model->path_length - 1];
        if (++c->chosen < c->count)
            return true;
        model->path_length--;
    }
    return false;
}

unsigned long model_explore(const struct model_scenario *s, unsigned long max, const char **broken,
                            unsigned *complete)
{
    model = fresh(sizeof *model);
    model->current = -1;
    s->prepare();
    struct model *kept = model;
    take_snapshot();
    unsigned long n = 0;
    *complete = 0;
    for (unsigned bound = 0; bound <= s->preemptions && kept->broken == NULL; bound++) {
        kept->preemptions = bound;
        kept->path_length = 0;
        bool more = true;
        while (more && kept->broken == NULL && n < max) {
            run_schedule(s);
            n++;
            more = advance_path();
        }
        if (!more)
            *complete = bound;
    }
    *broken = kept->broken;
    return n;
}
