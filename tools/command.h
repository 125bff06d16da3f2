/*
 * The sub-commands of `ration`. Adding one takes a file that defines a `struct command` and one
 * row in the table of ration.c.
 *
 * Every command parses its arguments with argp, so `--help` and `--usage` exist without doing
 * anything, and ends with one of the four exit statuses below, which scripts rely on.
 */
#ifndef RATION_TOOLS_COMMAND_H
#define RATION_TOOLS_COMMAND_H

#include <argp.h>

enum exit_status {
    EXIT_FINE = 0,
    EXIT_FINDING = 1, /* the command worked and found something wrong */
    EXIT_USAGE = 2,   /* the command line, or something it names, is wrong */
    EXIT_DAMAGED = 3, /* input that cannot be read as what it claims to be */
};

struct command {
    const char *name;
    const char *what;        /* one line for `ration --help`, without a full stop */
    const struct argp *argp; /* what it accepts: completion and manual pages are made from it */
    /* argv[0] is "ration NAME". Returns an exit status. */
    int (*run)(int argc, char **argv);
};

extern const struct command command_sim;
extern const struct command command_trace;
extern const struct command command_demo;
extern const struct command command_run;
extern const struct command command_compare;
extern const struct command command_doctor;
extern const struct command command_stats;
extern const struct command command_classes;
extern const struct command command_explain;
extern const struct command command_map;
extern const struct command command_top;
extern const struct command command_completion;
extern const struct command command_manual;

/* All of them, in the order of `ration --help`, ended by NULL. */
extern const struct command *const commands[];

extern const struct command command_leaks;
extern const struct command command_syscalls;

/* Print "ration NAME: MESSAGE" to stderr; returns `status`, so that callers can return it. */
int command_fail(const char *name, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The last case of a parser whose first plain argument is a program: that and all behind it go to
 * *program, an argument vector that ends with NULL. *program is NULL at first.
 */
error_t command_parse_program(int key, struct argp_state *state, char ***program);

/*
 * Path of a library that lies beside the running executable (build tree) or in ../lib and
 * ../lib/ration of it (installed tree). Returns 0, or -1 when there is none; `path` then holds
 * the place where it was expected.
 */
int command_find_library(const char *file_name, char *path, unsigned long path_bytes);

#endif
