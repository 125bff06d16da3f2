#include "process.h"
#include "command.h"
#include "scan.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

error_t process_parse_pid(int key, char *argument, struct argp_state *state, int *pid)
{
    char *end;
    switch (key) {
    case ARGP_KEY_ARG: {
        const long n = strtol(argument, &end, 10);
        if (*end != '\0' || end == argument || n <= 0 || n > INT_MAX)
            argp_error(state, "'%s' is not the number of a process", argument);
        else if (*pid != 0)
            argp_error(state, "one process at a time, please");
        *pid = (int)n;
        return 0;
    }
    case ARGP_KEY_END:
        if (*pid == 0)
            argp_error(state, "no process given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A library as a line of /proc/PID/maps names it. */
struct mapped_file {
    char path[PATH_MAX];
    unsigned long major, minor, inode;
};

static bool is_libration(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL &&
           (strncmp(slash, "/libration.so", 13) == 0 || strcmp(slash, "/libft_malloc.so") == 0);
}

/* "START-END PERMISSIONS OFFSET MAJOR:MINOR INODE    PATH" */
static bool parse_mapped(const char *line, struct mapped_file *file)
{
    int at_device = 0;
    sscanf(line, "%*s %*s %*s %n", &at_device);
    const char *at = line + at_device;
    return at_device > 0 && scan_number(&at, 16, &file->major) && scan_text(&at, ":") &&
           scan_number(&at, 16, &file->minor) && scan_number(&at, 10, &file->inode) &&
           sscanf(at, " %4095[^\n]", file->path) == 1;
}

/* 1: found, 0: not there, -1: cannot be read. */
static int find_mapped(int pid, struct mapped_file *found)
{
    char name[64], line[PATH_MAX + 128];
    snprintf(name, sizeof name, "/proc/%d/maps", pid);
    FILE *maps = fopen(name, "re");
    int result = 0;
    if (maps == NULL)
        return -1;
    while (result == 0 && fgets(line, sizeof line, maps) != NULL) {
        struct mapped_file file = {.path = ""};
        if (parse_mapped(line, &file) && is_libration(file.path)) {
            *found = file;
            result = 1;
        }
    }
    if (result == 0 && ferror(maps))
        result = -1;
    fclose(maps);
    return result;
}

/* Code of that file is run here: it must be the process's own, and the process must be ours. */
static int check_owner(int pid, const char *command)
{
    char name[64];
    struct stat status;
    snprintf(name, sizeof name, "/proc/%d", pid);
    if (stat(name, &status) != 0)
        return command_fail(command, EXIT_USAGE, "there is no process %d", pid);
    if (status.st_uid != geteuid())
        return command_fail(command, EXIT_USAGE,
                            "process %d belongs to user %u, and you are user %u: only its own user "
                            "may look into it",
                            pid, (unsigned)status.st_uid, (unsigned)geteuid());
    return EXIT_FINE;
}

/* A text that the library carries wherever it is linked in. */
static bool is_linked_in(int pid)
{
    static const char carried[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    static const char also[] = "ration: RATION: cannot read";
    char name[64];
    struct stat status;
    bool found = false;
    snprintf(name, sizeof name, "/proc/%d/exe", pid);
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0) {
        const size_t bytes = (size_t)status.st_size;
        void *image = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (image != MAP_FAILED) {
            found = memmem(image, bytes, carried, sizeof carried - 1) != NULL &&
                    memmem(image, bytes, also, sizeof also - 1) != NULL;
            munmap(image, bytes);
        }
    }
    if (fd >= 0)
        close(fd);
    return found;
}

/* What is left of it waits for its parent. */
static bool has_ended(int pid)
{
    char name[64], line[512];
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *stat = fopen(name, "re");
    const bool is_there = stat != NULL && fgets(line, sizeof line, stat) != NULL;
    const char *bracket = is_there ? strrchr(line, ')') : NULL;
    if (stat != NULL)
        fclose(stat);
    return bracket != NULL && bracket[1] == ' ' && bracket[2] == 'Z';
}

static int choose_library(int pid, char path[PATH_MAX + 64], const char *command)
{
    struct mapped_file file;
    struct stat status;
    const int found = find_mapped(pid, &file);
    if (found < 0)
        return command_fail(command, EXIT_USAGE, "process %d cannot be read: %s", pid,
                            strerror(errno));
    if (found == 0 && has_ended(pid))
        return command_fail(command, EXIT_USAGE,
                            "process %d has ended: what is left waits for its parent to ask how",
                            pid);
    if (found == 0 && is_linked_in(pid))
        return command_fail(
            command, EXIT_USAGE,
            "process %d has libration linked into its program (libration.a), and only a "
            "library in a file of its own can be read from outside: link libration.so, "
            "or let the program say it itself (RATION=stats=1 at its end, "
            "ration_stats_write_text() at any time)",
            pid);
    if (found == 0)
        return command_fail(command, EXIT_FINDING,
                            "process %d does not run under libration: no libration.so is loaded in "
                            "it (`ration run -- PROGRAM` starts one that does)",
                            pid);
    /* Seen from the process's own root: it may live in a container. */
    snprintf(path, PATH_MAX + 64, "/proc/%d/root%s", pid, file.path);
    if (stat(path, &status) != 0 || status.st_ino != file.inode)
        return command_fail(command, EXIT_USAGE,
                            "process %d runs %s, which was replaced or removed since: restart the "
                            "process to look into it",
                            pid, file.path);
    return EXIT_FINE;
}

int process_explain(enum ration_status status, int pid, const char *command)
{
    switch (status) {
    case RATION_OK:
        return EXIT_FINE;
    case RATION_NO_PROCESS:
        return command_fail(command, EXIT_USAGE, "there is no process %d (any more)", pid);
    case RATION_DENIED:
        return command_fail(command, EXIT_USAGE,
                            "the system does not let you read process %d: it is just starting or "
                            "ending, may have raised privileges, or kernel.yama.ptrace_scope is 1 "
                            "or more (root may)",
                            pid);
    case RATION_NOT_LOADED:
        return command_fail(command, EXIT_FINDING, "process %d does not run under libration", pid);
    case RATION_UNREADABLE:
        break;
    }
    return command_fail(command, EXIT_DAMAGED, "the records of process %d make no sense", pid);
}

int process_open(struct library *library, int pid, const char *command)
{
    char path[PATH_MAX + 64];
    int status = check_owner(pid, command);
    if (status == EXIT_FINE)
        status = choose_library(pid, path, command);
    return status == EXIT_FINE ? library_open(library, path, command) : status;
}

int process_read(const struct library *library, int pid, struct ration_stats *stats,
                 const char *command)
{
    return process_explain(library->stats_read_process(pid, stats), pid, command);
}
