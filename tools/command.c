#include "command.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int command_fail(const char *name, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "ration %s: ", name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return status;
}

error_t command_parse_program(int key, struct argp_state *state, char ***program)
{
    switch (key) {
    case ARGP_KEY_ARG:
        *program = &state->argv[state->next - 1];
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (*program == NULL)
            argp_error(state, "no program given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_find_library(const char *file_name, char *path, unsigned long path_bytes)
{
    static const char *const places[] = {"",
                                         "../lib/",
                                         "../lib/ration/",
                                         "../lib/x86_64-linux-gnu/",
                                         "../lib/aarch64-linux-gnu/",
                                         "../lib/x86_64-linux-gnu/ration/",
                                         "../lib/aarch64-linux-gnu/ration/"};
    char here[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    if (length <= 0)
        return -1;
    here[length] = '\0';
    char *slash = strrchr(here, '/');
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, path_bytes, "%s%s%s", here, places[i], file_name);
        if (access(path, R_OK) == 0)
            return 0;
    }
    snprintf(path, path_bytes, "%s%s", here, file_name);
    return -1;
}
