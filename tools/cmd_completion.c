/* ration completion: the script with which bash or zsh completes this command's commands and options,
 * made from the tables with which they parse them, so that it is never older than they are. */
#include "command.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct argp_option options[] = {{NULL, 0, NULL, 0, NULL, 0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    const char **shell = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*shell != NULL || (strcmp(argument, "bash") != 0 && strcmp(argument, "zsh") != 0))
            argp_error(state, "expected bash or zsh, got '%s'", argument);
        *shell = argument;
        return 0;
    case ARGP_KEY_END:
        if (*shell == NULL)
            argp_error(state, "expected bash or zsh");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse_option,
    "bash|zsh",
    "Print the script with which a shell completes `ration`.\v"
    "`make install` puts it where the shells look. Without that:\n"
    "  source <(ration completion bash)\n"
    "  ration completion zsh > ~/.zfunc/_ration\n\n"
    "Exit status: 0 fine, 2 no such shell.",
    NULL,
    NULL,
    NULL,
};

/* What follows a command's options. */
enum operand { OPERAND_PROGRAM, OPERAND_PID, OPERAND_FILE, OPERAND_NOTHING };

static enum operand operand_of(const struct command *command)
{
    const char *what = command->argp->args_doc != NULL ? command->argp->args_doc : "";
    return strstr(what, "PROGRAM") != NULL ? OPERAND_PROGRAM
           : strstr(what, "PID") != NULL   ? OPERAND_PID
           : strstr(what, "TRACE") != NULL ? OPERAND_FILE
                                           : OPERAND_NOTHING;
}

static bool is_shown(const struct argp_option *option)
{
    return (option->flags & (OPTION_HIDDEN | OPTION_DOC)) == 0;
}

static bool is_end(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

/* An option without a value ends a word, one with a value goes on behind its equals sign. */
static void print_bash_options(const struct command *command)
{
    for (const struct argp_option *o = command->argp->options; o != NULL && !is_end(o); o++)
        if (o->name != NULL && is_shown(o))
            printf("--%s%s ", o->name, o->arg != NULL ? "=" : "");
    for (const struct argp_option *o = command->argp->options; o != NULL && !is_end(o); o++)
        if (is_shown(o) && o->key > 0 && o->key < 128 && isgraph(o->key))
            printf("-%c ", o->key);
    fputs("--help --usage", stdout);
}

static void print_bash(void)
{
    static const char *const operands[] = {[OPERAND_PROGRAM] = "program",
                                           [OPERAND_PID] = "pid",
                                           [OPERAND_FILE] = "file",
                                           [OPERAND_NOTHING] = "nothing"};
    puts("# Made by `ration completion bash`.\n"
         "_ration()\n"
         "{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} options operand i\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W '", stdout);
    for (int i = 0; commands[i] != NULL; i++)
        printf("%s ", commands[i]->name);
    puts("help --help --version' -- \"$word\"))\n"
         "        return\n"
         "    fi\n"
         "    case ${COMP_WORDS[1]} in");
    for (int i = 0; commands[i] != NULL; i++) {
        printf("    %s) operand=%s options='", commands[i]->name,
               operands[operand_of(commands[i])]);
        print_bash_options(commands[i]);
        puts("' ;;");
    }
    puts("    *) return ;;\n"
         "    esac\n"
         "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
         "        [ \"$operand\" = program ] || break\n"
         "        # Behind the two dashes comes a program, then whatever it takes.\n"
         "        if [ \"${COMP_WORDS[i]}\" = -- ]; then\n"
         "            if [ \"$i\" -eq $((COMP_CWORD - 1)) ]; then\n"
         "                COMPREPLY=($(compgen -c -- \"$word\"))\n"
         "            else\n"
         "                COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "            fi\n"
         "            return\n"
         "        fi\n"
         "    done\n"
         "    case $word in\n"
         "    -*)\n"
         "        [ \"$operand\" = program ] && options=\"$options --\"\n"
         "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "        case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac ;;\n"
         "    *)\n"
         "        case $operand in\n"
         "        program) COMPREPLY=($(compgen -W -- -- \"$word\")) ;;\n"
         "        pid) COMPREPLY=($(cd /proc && compgen -G '[0-9]*' | grep \"^$word\")) ;;\n"
         "        file) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "        esac ;;\n"
         "    esac\n"
         "}\n"
         "complete -F _ration ration");
}

/* Within single quotes and brackets of a specification of _arguments; what follows the first sentence is left out. */
static void print_zsh_text(const char *text)
{
    enum { most = 90 };
    for (int i = 0; i < most && text[i] != '\0' && text[i] != ';' && text[i] != '\n'; i++) {
        if (text[i] == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", text[i]) != NULL)
            printf("\\%c", text[i]);
        else
            putchar(text[i]);
    }
}

static void print_zsh_option(const struct argp_option *o)
{
    if (o->name != NULL) {
        printf(" \\\n            '--%s%s[", o->name, o->arg != NULL ? "=" : "");
        print_zsh_text(o->doc != NULL ? o->doc : "");
        printf("]%s%s%s'", o->arg != NULL ? ":" : "", o->arg != NULL ? o->arg : "",
               o->arg == NULL                   ? ""
               : strstr(o->arg, "FILE") != NULL ? ":_files"
                                                : ":");
    }
    if (o->key > 0 && o->key < 128 && isgraph(o->key)) {
        printf(" \\\n            '-%c[", o->key);
        print_zsh_text(o->doc != NULL ? o->doc : "");
        printf("]%s%s%s'", o->arg != NULL ? ":" : "", o->arg != NULL ? o->arg : "",
               o->arg != NULL ? ":" : "");
    }
}

static void print_zsh(void)
{
    static const char *const operands[] = {[OPERAND_PROGRAM] = "'*::program:_normal'",
                                           [OPERAND_PID] = "'1:process:_pids'",
                                           [OPERAND_FILE] = "'*:trace:_files'",
                                           [OPERAND_NOTHING] = "'*:argument:'"};
    puts("#compdef ration\n"
         "# Made by `ration completion zsh`.\n"
         "_ration()\n"
         "{\n"
         "    local -a ration_commands\n"
         "    ration_commands=(");
    for (int i = 0; commands[i] != NULL; i++) {
        printf("        '%s:", commands[i]->name);
        print_zsh_text(commands[i]->what);
        puts("'");
    }
    puts("    )\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe 'command' ration_commands\n"
         "        return\n"
         "    fi\n"
         "    shift words\n"
         "    (( CURRENT-- ))\n"
         "    case $words[1] in");
    for (int i = 0; commands[i] != NULL; i++) {
        printf("    %s)\n        _arguments '--help[explain the command]'", commands[i]->name);
        for (const struct argp_option *o = commands[i]->argp->options; o != NULL && !is_end(o); o++)
            if (is_shown(o))
                print_zsh_option(o);
        printf(" \\\n            %s ;;\n", operands[operand_of(commands[i])]);
    }
    puts("    esac\n"
         "}\n"
         "_ration \"$@\"");
}

static int run_completion(int argc, char **argv)
{
    const char *shell = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &shell);
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else
        print_zsh();
    return EXIT_FINE;
}

const struct command command_completion = {
    .name = "completion",
    .what = "the script with which bash or zsh completes this command",
    .argp = &argp,
    .run = run_completion,
};
