/* ration: the command. This file knows the table of sub-commands and nothing about any of them. */
#include "command.h"
#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

int main(int argc, char **argv)
{
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
