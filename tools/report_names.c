#include "report_names.h"
#include "symbols.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { most_lines = 1024 };

/* The lines of one report. Those that name a place have its address. */
struct report {
    char *lines[most_lines];
    struct address addresses[most_lines];
    bool has_address[most_lines];
    size_t n;
};

/* "    #3 /path/module+0x1234" */
static bool parse_place(char *line, struct address *address)
{
    int at = 0;
    char *plus = strrchr(line, '+');
    if (sscanf(line, "    #%*u %n", &at) < 0 || at == 0 || plus == NULL ||
        strncmp(plus, "+0x", 3) != 0)
        return false;
    address->offset = strtoul(plus + 1, NULL, 16);
    address->module = strndup(line + at, (size_t)(plus - line - at));
    return address->module != NULL;
}

/* `named`: the place that the line names, or NULL. */
static void print_line(const char *line, const struct address *named)
{
    if (named == NULL || named->n_symbols == 0)
        fputs(line, stderr);
    else
        symbols_print(stderr, "    ", (unsigned)strtoul(line + 5, NULL, 10), named);
}

static void print_report(struct report *report)
{
    struct address *places = calloc(report->n + 1, sizeof *places);
    size_t n = 0;
    for (size_t i = 0; places != NULL && i < report->n; i++)
        if (report->has_address[i])
            places[n++] = report->addresses[i];
    const char *hint = n > 0 ? symbols_find(places, n) : NULL;
    size_t at = 0;
    for (size_t i = 0; i < report->n; i++) {
        const bool is_place = places != NULL && report->has_address[i];
        print_line(report->lines[i], is_place ? &places[at++] : NULL);
        free(report->lines[i]);
    }
    if (hint != NULL)
        fprintf(stderr, "  (%s)\n", hint);
    fflush(stderr);
    free(places);
    *report = (struct report){.n = 0};
}

/* The last line of a report begins with "  thread". */
static void serve(int socket)
{
    static struct report report;
    char *line = NULL;
    size_t room = 0;
    FILE *from = fdopen(socket, "r");
    while (from != NULL && getline(&line, &room, from) > 0) {
        report.lines[report.n] = strdup(line);
        report.has_address[report.n] = parse_place(line, &report.addresses[report.n]);
        report.n++;
        const bool is_last = strncmp(line, "  thread ", 9) == 0;
        if (is_last || report.n == most_lines)
            print_report(&report);
        if (is_last)
            send(socket, "", 1, MSG_NOSIGNAL); /* the program waits for it */
    }
    print_report(&report);
}

static void become_helper(int socket)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    setvbuf(stderr, NULL, _IOFBF, BUFSIZ);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    serve(socket);
    fflush(stderr);
    _exit(0);
}

int report_names_start(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return -1;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        if (fork() == 0)
            become_helper(ends[0]);
        _exit(0);
    }
    close(ends[0]);
    if (child < 0) {
        close(ends[1]);
        return -1;
    }
    waitpid(child, NULL, 0);
    return ends[1];
}
