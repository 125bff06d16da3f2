/* ration manual: the manual page of a command, in mdoc, made from what it parses and from its `--help`. */
#include "command.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct argp_option options[] = {{NULL, 0, NULL, 0, NULL, 0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    const char **name = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*name != NULL)
            argp_error(state, "one command at a time, please");
        *name = argument;
        return 0;
    case ARGP_KEY_END:
        if (*name == NULL)
            argp_error(state, "no command given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "COMMAND",
    "Print the manual page of a command, in the mdoc language.\v"
    "`make install` installs them all (man ration-run). Without that:\n"
    "  ration manual run | man -l -\n\n"
    "Exit status: 0 fine, 2 no such command.",
    NULL,
    NULL,
    NULL,
};

/* A text of the C locale in mdoc: nothing in it is taken for a request or an escape. */
static void print_escaped(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\'' || text[i] == '`' || text[i] == '"')
            fputs(text[i] == '\'' ? "\\(aq" : text[i] == '`' ? "\\(ga" : "\\(dq", stdout);
        else
            putchar(text[i]);
    }
}

/* Lines that begin with blanks are examples, empty ones part paragraphs. */
static void print_text(const char *text, const char *end)
{
    bool parted = true;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (stop == NULL)
            stop = end;
        if (stop == text) {
            if (!parted)
                puts(".Pp");
            parted = true;
        } else if (text[0] == ' ') {
            fputs(".Dl ", stdout);
            print_escaped(text + 2, (size_t)(stop - text) - 2);
            putchar('\n');
            parted = false;
        } else {
            fputs("\\&", stdout);
            print_escaped(text, (size_t)(stop - text));
            putchar('\n');
            parted = false;
        }
        text = stop + 1;
    }
}

static bool is_end(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

static void print_option(const struct argp_option *option)
{
    const char *between = "";
    fputs(".It ", stdout);
    if (option->key > 0 && option->key < 128 && isgraph(option->key)) {
        printf("Fl %c%s%s", option->key, option->arg != NULL ? " Ar " : "",
               option->arg != NULL ? option->arg : "");
        between = " , ";
    }
    if (option->name != NULL)
        printf("%sFl -%s%s%s", between, option->name, option->arg != NULL ? " Ns = Ns Ar " : "",
               option->arg != NULL ? option->arg : "");
    putchar('\n');
    if (option->doc != NULL)
        print_text(option->doc, option->doc + strlen(option->doc));
}

static void print_options(const struct command *command)
{
    puts(".Sh OPTIONS\n.Bl -tag -width Ds");
    for (const struct argp_option *o = command->argp->options; o != NULL && !is_end(o); o++)
        if ((o->flags & (OPTION_HIDDEN | OPTION_DOC)) == 0 && (o->name != NULL || o->key != 0))
            print_option(o); /* the others are headings of groups */
    puts(".It Fl -help\nExplains the command.\n.It Fl -usage\nNames its options.\n.El");
}

static void print_page(const struct command *command)
{
    const char *doc = command->argp->doc;
    const char *details = strchr(doc, '\v');
    const char *operands = command->argp->args_doc != NULL ? command->argp->args_doc : "";
    fputs(".Dd November 21, 2026\n.Dt RATION-", stdout);
    for (const char *c = command->name; *c != '\0'; c++)
        putchar(toupper((unsigned char)*c));
    printf(" 1\n.Os\n.Sh NAME\n.Nm ration-%s\n.Nd ", command->name);
    print_escaped(command->what, strlen(command->what));
    printf("\n.Sh SYNOPSIS\n.Nm ration %s\n.Op Ar option ...\n\\&", command->name);
    print_escaped(operands, strlen(operands));
    puts("\n.Sh DESCRIPTION");
    print_text(doc, details != NULL ? details : doc + strlen(doc));
    if (details != NULL) {
        puts(".Pp");
        print_text(details + 1, details + strlen(details));
    }
    print_options(command);
    puts(".Sh SEE ALSO\n.Xr ration 1 ,\n.Xr ration 3");
}

static int run_manual(int argc, char **argv)
{
    const char *name = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &name);
    for (int i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            print_page(commands[i]);
            return EXIT_FINE;
        }
    }
    return command_fail("manual", EXIT_USAGE,
                        "there is no command '%s'; `ration --help` lists them", name);
}

const struct command command_manual = {
    .name = "manual",
    .what = "the manual page of a command",
    .argp = &argp,
    .run = run_manual,
};
