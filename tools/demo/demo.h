/*
 * The scenarios of `ration demo`: well-known situations, played by the command itself in a process
 * of its own, once under libration and once under the system malloc; some also by strategies of the
 * lab or in a way of their own (an arena, one lock around one list).
 *
 * A scenario's `run` executes in the child and reports figures by demo_figure; everything else is
 * the parent's. A figure has the same name in every column; rows appear in order of first mention.
 */
#ifndef RATION_TOOLS_DEMO_H
#define RATION_TOOLS_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { most_figures = 32, most_columns = 8, most_notes = 4, note_bytes = 1600 };

struct demo_value {
    char name[56];
    char unit[12]; /* "B", "ms", "us", "ns", "M/s", "%", "" for a count, "?" for no (0) or yes */
    double value;
};

struct demo_column {
    char name[24];
    struct demo_value figures[most_figures];
    size_t n_figures;
    char notes[note_bytes];  /* lines, each with its line feed */
    char errors[note_bytes]; /* what it wrote to stderr */
    int status;              /* as from waitpid; 0 for a column of the lab */
};

struct demo_table {
    struct demo_column columns[most_columns];
    size_t n_columns;
};

struct demo_scenario {
    const char *name;
    const char *what;          /* one line for the list */
    const char *story;         /* what happens and what to look at, above the table */
    const char *remark;        /* below the table; NULL: nothing to add */
    void (*run)(bool own_way); /* in the child */
    const char *own_way;       /* name of a third column, whose child gets own_way; NULL: none */
    void (*add_lab)(struct demo_table *table); /* columns by the lab, in the parent; NULL: none */
    bool counts_calls;   /* memory system calls between demo_count_begin and demo_count_end */
    bool expects_signal; /* the end by a signal, and stderr, are the result */
};

extern const struct demo_scenario demo_wholesale, demo_swiss, demo_aging;        /* memory.c */
extern const struct demo_scenario demo_two_megs, demo_starvation, demo_course9;  /* lists.c */
extern const struct demo_scenario demo_realloc, demo_contention, demo_frameloop; /* speed.c */
extern const struct demo_scenario demo_double_free;                              /* misuse.c */

/* ---- in the child (child.c) ---- */

/* ARGUMENT is what demo_spawn passed; runs the scenario. Returns an exit status. */
int demo_child_main(const struct demo_scenario *scenario, const char *argument);
void demo_figure(const char *name, const char *unit, double value);
void demo_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The memory system calls of this thread between the two become figures of the column. */
void demo_count_begin(void);
void demo_count_end(void);
/* Resident anonymous bytes of this process. */
double demo_resident(void);
/* Sleep, so that whatever a malloc does when time passes can happen. */
void demo_idle(double seconds);
/* malloc that ends the process with a message instead of returning NULL; writes to every page. */
void *demo_take(size_t size);
/* A small generator of random numbers with its state in the caller's hands. */
uint64_t demo_random(uint64_t *state);

/* ---- in the parent (spawn.c, lists.c) ---- */

/* Play `scenario` in a child. `library` is preloaded; NULL: the system malloc. Returns 0, or -1
 * when no process could be started (errno). */
int demo_spawn(struct demo_column *column, const struct demo_scenario *scenario,
               const char *library, bool own_way);
void demo_add(struct demo_column *column, const char *name, const char *unit, double value);

#endif
