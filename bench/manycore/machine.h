/* A machine on paper: cores with a clock each, cache lines that travel between them, locks.
 *
 * Cores are arranged in clusters that share a cache, clusters in sockets. A line is held by one core
 * that may write it, or by several that may read it. Reading one that is not held, or writing one that
 * is not held alone, costs a transfer from the nearest holder (read) or from the farthest (write:
 * all others must have let go), and nobody else gets the line meanwhile. Everything else costs
 * nothing but what the caller adds. Nothing is overlapped: a real core would do other work while it waits
 * for a store, so that traffic is shown dearer than it is, for every design alike.
 *
 * Events happen in the order of the cores' clocks, one whole malloc or free at a time; of cores at
 * the same time the lowest goes first. There is no chance in it but a seeded generator: two runs are the same.
 *
 * Invariants (machine_check_line):
 *  M1  a line that may be written has one holder.
 *  M2  no clock and no lock goes backwards. */
#ifndef RATION_MANYCORE_MACHINE_H
#define RATION_MANYCORE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum { CORES_MOST = 128, CLUSTER = 8, SOCKET = 64 };

/* Why a line is there: what the traffic is counted by. */
enum kind {
    LINE_BLOCK,
    LINE_STATE,
    LINE_HEADER,
    LINE_REMOTE,
    LINE_LOCK,
    LINE_MAP,
    LINE_LIST,
    KINDS
};
extern const char *const kind_names[KINDS];

typedef int64_t picoseconds;

/* Costs, in nanoseconds; named on the command line. */
struct costs {
    double near;   /* a line from a core of the same cluster */
    double mid;    /* from another cluster of the socket */
    double far;    /* from the other socket */
    double memory; /* from no cache */
    double atomic; /* a read-modify-write of a line that is held */
    double base;   /* a malloc or a free in which nothing misses */
    double work;   /* what the program does between */
    double create; /* a new slab, page or span: its tables, no page fault */
    double spin;   /* as long a thread waits for a lock awake */
    double wake;   /* from the end of a longer wait until it runs again */
};
extern struct costs costs;

struct line {
    uint64_t holders[2];
    picoseconds busy_until;
    bool may_write;
    uint8_t kind;
};

struct lock {
    struct line line;
    picoseconds free_at;
};

struct core {
    picoseconds now;
    unsigned number;
    uint64_t random;
    uint64_t n_pairs;
    uint64_t transfers[KINDS];
    picoseconds waited; /* for locks */
    uint64_t n_sleeps;
};

extern struct core cores[CORES_MOST];
extern unsigned n_cores;

void machine_reset(unsigned n);
void core_spend(struct core *core, double nanoseconds);
uint32_t core_draw(struct core *core, uint32_t limit);
void line_read(struct core *core, struct line *line);
void line_write(struct core *core, struct line *line);
/* An atomic read-modify-write. */
void line_update(struct core *core, struct line *line);

/* False: the lock is held for longer than a thread spins; the core has slept, and shall come again. */
bool lock_take(struct core *core, struct lock *lock);
/* Waits awake however long it takes: for a lock that is taken while another is held. */
void lock_take_nested(struct core *core, struct lock *lock);
void lock_drop(struct core *core, struct lock *lock);

/* 0, or the number of a broken invariant. */
int machine_check_line(const struct line *line);
void broken(const char *what) __attribute__((noreturn, cold));

#endif
