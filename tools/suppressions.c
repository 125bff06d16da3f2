#include "suppressions.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *trim(char *line)
{
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = '\0';
    while (isspace((unsigned char)*line))
        line++;
    return line;
}

long suppressions_read(struct suppressions *suppressions, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    long number = 0, wrong = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    while (wrong == 0 && getline(&line, &room, file) > 0) {
        const char *text = trim(line);
        number++;
        if (text[0] == '\0' || text[0] == '#')
            continue;
        if (strncmp(text, "leak:", 5) != 0 || text[5] == '\0') {
            wrong = number;
            continue;
        }
        char **more =
            realloc(suppressions->patterns, (suppressions->n + 1) * sizeof *suppressions->patterns);
        if (more != NULL)
            suppressions->patterns = more;
        char *pattern = more != NULL ? strdup(text + 5) : NULL;
        if (pattern != NULL)
            suppressions->patterns[suppressions->n++] = pattern;
        else
            wrong = -1;
    }
    if (wrong == 0 && ferror(file))
        wrong = -1;
    const int error = errno;
    free(line);
    fclose(file);
    errno = error;
    return wrong;
}

/* Whether `text` begins with the pattern up to its `*`s. */
static bool fits(const char *pattern, const char *text)
{
    for (; *pattern != '\0'; pattern++, text++) {
        if (*pattern == '*') {
            do {
                if (fits(pattern + 1, text))
                    return true;
            } while (*text++ != '\0');
            return false;
        }
        if (*pattern == '$' && pattern[1] == '\0')
            return *text == '\0';
        if (*pattern != *text)
            return false;
    }
    return true;
}

static bool holds(const char *pattern, const char *text)
{
    if (text == NULL)
        return false;
    if (*pattern == '^')
        return fits(pattern + 1, text);
    do {
        if (fits(pattern, text))
            return true;
    } while (*text++ != '\0');
    return false;
}

static bool is_in(const char *pattern, const struct address *caller)
{
    if (holds(pattern, caller->module))
        return true;
    for (size_t i = 0; i < caller->n_symbols; i++)
        if (holds(pattern, caller->symbols[i].function) || holds(pattern, caller->symbols[i].file))
            return true;
    return false;
}

bool suppressions_match(const struct suppressions *suppressions, const struct address *callers,
                        size_t n)
{
    for (size_t p = 0; p < suppressions->n; p++)
        for (size_t i = 0; i < n; i++)
            if (is_in(suppressions->patterns[p], &callers[i]))
                return true;
    return false;
}
