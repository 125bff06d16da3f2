#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const kind_names[KINDS] = {"block", "state", "header", "remote", "lock", "map", "list"};

struct costs costs = {
    .near = 23,
    .mid = 107,
    .far = 197,
    .memory = 110,
    .atomic = 8,
    .base = 5,
    .work = 10,
    .create = 1500,
    .spin = 3000,
    .wake = 12000,
};

struct core cores[CORES_MOST];
unsigned n_cores;

void broken(const char *what)
{
    fprintf(stderr, "manycore: broken: %s\n", what);
    exit(1);
}

void machine_reset(unsigned n)
{
    memset(cores, 0, sizeof cores);
    n_cores = n;
    for (unsigned i = 0; i < n; i++) {
        cores[i].number = i;
        cores[i].random = 0x9e3779b97f4a7c15u * (i + 1);
        cores[i].now = i * 7001; /* not all in step */
    }
}

static picoseconds ps(double nanoseconds)
{
    return (picoseconds)(nanoseconds * 1000);
}

void core_spend(struct core *core, double nanoseconds)
{
    core->now += ps(nanoseconds);
}

/* xorshift64* (Vigna, 2016). */
uint32_t core_draw(struct core *core, uint32_t limit)
{
    core->random ^= core->random >> 12;
    core->random ^= core->random << 25;
    core->random ^= core->random >> 27;
    return (uint32_t)(((core->random * 0x2545f4914f6cdd1dull >> 32) * limit) >> 32);
}

static double distance(unsigned a, unsigned b)
{
    return a / CLUSTER == b / CLUSTER ? costs.near
           : a / SOCKET == b / SOCKET ? costs.mid
                                      : costs.far;
}

static bool holds(const struct line *line, unsigned core)
{
    return (line->holders[core / 64] >> (core % 64) & 1) != 0;
}

static bool holds_alone(const struct line *line, unsigned core)
{
    return line->holders[core / 64] == (uint64_t)1 << (core % 64) &&
           line->holders[1 - core / 64] == 0;
}

/* Cost of the nearest or the farthest other holder. */
static double holder_cost(const struct line *line, unsigned core, bool farthest)
{
    double found = 0;
    for (unsigned word = 0; word < 2; word++) {
        for (uint64_t left = line->holders[word]; left != 0; left &= left - 1) {
            unsigned other = word * 64 + (unsigned)__builtin_ctzll(left);
            double cost = other == core ? 0 : distance(core, other);
            if (cost > 0 && (found == 0 || (farthest ? cost > found : cost < found))) {
                found = cost;
            }
        }
    }
    return found > 0 ? found : costs.memory;
}

static void travel(struct core *core, struct line *line, double cost)
{
    picoseconds start = core->now > line->busy_until ? core->now : line->busy_until;
    core->transfers[line->kind]++;
    core->now = start + ps(cost);
    line->busy_until = core->now;
}

void line_read(struct core *core, struct line *line)
{
    if (holds(line, core->number)) {
        return;
    }
    travel(core, line, holder_cost(line, core->number, false));
    line->holders[core->number / 64] |= (uint64_t)1 << (core->number % 64);
    line->may_write = false;
}

void line_write(struct core *core, struct line *line)
{
    if (!holds_alone(line, core->number)) {
        travel(core, line, holder_cost(line, core->number, true));
        line->holders[core->number / 64] = (uint64_t)1 << (core->number % 64);
        line->holders[1 - core->number / 64] = 0;
    }
    line->may_write = true;
}

void line_update(struct core *core, struct line *line)
{
    line_write(core, line);
    core_spend(core, costs.atomic);
}

static void take_at(struct core *core, struct lock *lock)
{
    if (lock->free_at > core->now) {
        core->waited += lock->free_at - core->now;
        core->now = lock->free_at;
    }
    line_update(core, &lock->line);
}

bool lock_take(struct core *core, struct lock *lock)
{
    lock->line.kind = LINE_LOCK;
    if (lock->free_at > core->now + ps(costs.spin)) {
        core->n_sleeps++;
        core->waited += lock->free_at + ps(costs.wake) - core->now;
        core->now = lock->free_at + ps(costs.wake);
        return false;
    }
    take_at(core, lock);
    return true;
}

void lock_take_nested(struct core *core, struct lock *lock)
{
    lock->line.kind = LINE_LOCK;
    take_at(core, lock);
}

void lock_drop(struct core *core, struct lock *lock)
{
    line_update(core, &lock->line);
    if (core->now < lock->free_at) {
        broken("M2: a lock was held by two cores");
    }
    lock->free_at = core->now;
}

int machine_check_line(const struct line *line)
{
    int n = __builtin_popcountll(line->holders[0]) + __builtin_popcountll(line->holders[1]);
    return line->may_write && n != 1 ? 1 : 0;
}
