/*
 * What the commands that start programs or open the library share: the environment of a program
 * that is to run under an allocator, the library itself, colours, and numbers of the command line.
 */
#ifndef RATION_TOOLS_LAUNCH_H
#define RATION_TOOLS_LAUNCH_H

#include <limits.h>
#include <ration/stats.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Puts a library in front of LD_PRELOAD. */
void launch_preload(const char *library);

/* Adds key=value to RATION; the last value of a key counts. */
void launch_set(const char *key, const char *value);

/* The file that the shell would start for `program`, by PATH where it has no slash. 0, or -1 with
 * errno. */
int launch_find_program(const char *program, char path[PATH_MAX]);

/* Whether glibc's dynamic linker `linker` would load `library` in front of `program`, asked without running that.
 * Another linker is not asked: true. */
bool launch_takes_preload(const char *linker, const char *program, const char *library);

/* fork() for a program that this command waits for, to tell of it afterwards: what would end the command is for the program.
 * Ctrl-C reaches that anyway; SIGTERM and SIGHUP are passed on. */
pid_t launch_fork(void);

/* Waits for what launch_fork() returned to the parent, and tells for the command `name` what failed. An exit status. */
int launch_wait(const char *name, pid_t child, int *status);

/* The public functions of a libration.so that is opened beside the C library's malloc, so that
 * this command can ask it, and use its heap, without running under it. */
struct library {
    void *(*malloc)(size_t n);
    void (*free)(void *p);
    size_t (*good_size)(size_t n);
    size_t (*stats_bytes)(void);
    const char *(*reason_name)(enum ration_reason reason);
    const char *(*reason_key)(enum ration_reason reason);
    void (*stats_read)(struct ration_stats *stats);
    enum ration_status (*stats_read_process)(int pid, struct ration_stats *stats);
    enum ration_status (*runs_visit)(int pid, ration_run_fn *visit, void *context);
    const char *(*run_name)(enum ration_run_kind kind);
    const char *(*part_name)(enum ration_part part);
    int (*write_text)(const struct ration_stats *stats, int fd);
    int (*write_json)(const struct ration_stats *stats, int fd);
    int (*write_openmetrics)(const struct ration_stats *stats, int fd);
};

/* Opens `path`, or the library that lies beside the command if it is NULL. Returns EXIT_FINE or
 * the status to exit with, after a message in the name of command `name`. */
int library_open(struct library *library, const char *path, const char *name);

/* "64", "64k", "16M", "1G", decimal or 0x. 0, or -1 if it is no such number. */
int parse_size(const char *text, size_t *size);

/* Escape sequences on a terminal, empty texts elsewhere. */
struct colours {
    const char *good, *bad, *warn, *bold, *plain;
};
struct colours colours_for_stdout(void);

#endif
