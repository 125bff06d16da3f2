/* ration: the command. This file knows the table of sub-commands and nothing about any of them. */
#include "command.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct command *const commands[] = {
    &command_run,   &command_compare,    &command_doctor,  &command_stats,
    &command_top,   &command_map,        &command_classes, &command_explain,
    &command_leaks, &command_syscalls,   &command_sim,     &command_trace,
    &command_demo,  &command_completion, &command_manual,  NULL,
};

enum { n_commands = sizeof commands / sizeof commands[0] - 1 };

static void print_help(FILE *out)
{
    fputs("Usage: ration COMMAND [ARGUMENT...]\n\n", out);
    for (int i = 0; i < n_commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->what);
    fputs("\n`ration COMMAND --help` explains a command. Exit status: 0 fine, 1 a finding,\n"
          "2 wrong usage, 3 damaged input.\n",
          out);
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < n_commands; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int reject_command(const char *name)
{
    fprintf(stderr, "ration: there is no command '%s'; the commands are:", name);
    for (int i = 0; i < n_commands; i++)
        fprintf(stderr, " %s", commands[i]->name);
    fputs("\nTry `ration --help`.\n", stderr);
    return EXIT_USAGE;
}

/* `ration help sim` is `ration sim --help`. */
static int run_command(int argc, char **argv)
{
    static char help_flag[] = "--help";
    static char *help_arguments[] = {NULL, help_flag, NULL};
    const bool wants_help = strcmp(argv[1], "help") == 0;
    if (wants_help && argc < 3) {
        print_help(stdout);
        return EXIT_FINE;
    }
    const struct command *command = find_command(argv[wants_help ? 2 : 1]);
    if (command == NULL)
        return reject_command(argv[wants_help ? 2 : 1]);
    static char name[64];
    snprintf(name, sizeof name, "ration %s", command->name);
    argp_err_exit_status = EXIT_USAGE;
    if (wants_help) {
        help_arguments[0] = name;
        return command->run(2, help_arguments);
    }
    argv[1] = name;
    return command->run(argc - 1, argv + 1);
}

/* A file that is opened shall not become what a closed standard descriptor was: something that can neither be read nor written
 * takes its place. It is gone again in programs that are started. */
static void occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        const int taken = open("/dev/null", O_PATH | O_CLOEXEC);
        if (taken >= 0 && taken != fd) {
            dup3(taken, fd, O_CLOEXEC);
            close(taken);
        }
    }
}

/* What a command printed is only there once it is written. argp ends the process by itself after --help. */
static void write_rest(void)
{
    const bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) == 0 && !failed)
        return;
    fprintf(stderr, "ration: the output cannot be written: %s\n",
            errno != 0 ? strerror(errno) : "part of it is missing");
    _exit(EXIT_USAGE);
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    atexit(write_rest);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "-?") == 0) {
        print_help(stdout);
        return EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("ration " RATION_VERSION);
        return EXIT_FINE;
    }
    return run_command(argc, argv);
}
