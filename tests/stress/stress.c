#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SOAK = 20, HEADER = 16 };

unsigned stress_scale(void)
{
    const char *tier = getenv("RATION_STRESS");
    return tier != NULL && strcmp(tier, "soak") == 0 ? SOAK : 1;
}

static volatile unsigned progress_done;
static volatile unsigned progress_total;

void stress_progress(unsigned done, unsigned total)
{
    progress_done = done;
    progress_total = total;
}

static void on_alarm(int signal)
{
    char text[128];
    (void)signal;
    int n = snprintf(text, sizeof text,
                     "FAIL: expected an end in time, got a hang (watchdog) at step %u of %u\n",
                     progress_done, progress_total);
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)n);
    (void)ignored;
    kill(0, SIGKILL);
}

void stress_watchdog(unsigned seconds)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    setpgid(0, 0);
    signal(SIGALRM, on_alarm);
    alarm(seconds * stress_scale());
}

void stress_fail(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    n = n < (int)sizeof text - 1 ? n : (int)sizeof text - 2;
    text[n] = '\n';
    ssize_t ignored = write(STDERR_FILENO, "FAIL: ", 6);
    ignored = write(STDERR_FILENO, text, (size_t)n + 1);
    (void)ignored;
    _exit(1);
}

static unsigned char seed_of(const void *block, size_t size)
{
    return (unsigned char)(size * 7 + ((uintptr_t)block >> 4) + 3);
}

static void fill(unsigned char *block, size_t size)
{
    memcpy(block, &size, sizeof size);
    memset(block + sizeof size, 0, HEADER - sizeof size);
    unsigned char seed = seed_of(NULL, size);
    block[8] = seed;
    if (size > HEADER)
        memset(block + HEADER, seed, size - HEADER);
}

void *stress_new(size_t size)
{
    size = size < HEADER ? HEADER : size;
    unsigned char *block = malloc(size);
    if (block == NULL)
        stress_fail("malloc(%zu): expected a block, got NULL, errno %d", size, errno);
    if ((uintptr_t)block % 16 != 0)
        stress_fail("malloc(%zu): expected a multiple of 16, got %p", size, (void *)block);
    fill(block, size);
    return block;
}

static void verify_bytes(const unsigned char *block, size_t size, size_t n)
{
    unsigned char seed = seed_of(NULL, size);
    if (block[8] != seed)
        stress_fail("block %p of %zu bytes: header damaged", (const void *)block, size);
    for (size_t i = HEADER; i < n; i++)
        if (block[i] != seed)
            stress_fail("block %p of %zu bytes: expected 0x%02x at %zu, found 0x%02x",
                        (const void *)block, size, seed, i, block[i]);
}

void stress_verify(const void *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    if (size < HEADER || size > malloc_usable_size((void *)(uintptr_t)block))
        stress_fail("block %p: size %zu in its header, usable are %zu", block, size,
                    malloc_usable_size((void *)(uintptr_t)block));
    verify_bytes(block, size, size);
}

void *stress_resize(void *block, size_t size)
{
    size_t old_size;
    memcpy(&old_size, block, sizeof old_size);
    stress_verify(block);
    size = size < HEADER ? HEADER : size;
    unsigned char *moved = realloc(block, size);
    if (moved == NULL)
        stress_fail("realloc to %zu: expected a block, got NULL", size);
    verify_bytes(moved, old_size, size < old_size ? size : old_size);
    fill(moved, size);
    return moved;
}

void stress_free(void *block)
{
    if (block == NULL)
        return;
    stress_verify(block);
    memset(block, 0x5a, HEADER);
    free(block);
}

uint32_t stress_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

size_t stress_random_size(uint32_t *state)
{
    uint32_t r = stress_random(state);
    uint32_t kind = r & 255;
    if (kind < 200)
        return 16 + (r >> 8) % 500;
    if (kind < 245)
        return 500 + (r >> 8) % 8000;
    if (kind < 254)
        return 8000 + (r >> 8) % 60000;
    return 60000 + (r >> 8) % 500000;
}

/* Reads a whole file of /proc into the buffer; returns the number of bytes. */
static size_t read_file(const char *path, char *buffer, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        stress_fail("cannot open %s", path);
    size_t n = 0;
    ssize_t got;
    while (n + 1 < capacity && (got = read(fd, buffer + n, capacity - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    buffer[n] = '\0';
    return n;
}

size_t stress_resident_bytes(void)
{
    char text[256];
    read_file("/proc/self/statm", text, sizeof text);
    char *second = strchr(text, ' ');
    return strtoul(second != NULL ? second : text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

size_t stress_rollup_bytes(const char *field)
{
    char text[4096];
    read_file("/proc/self/smaps_rollup", text, sizeof text);
    char *line = strstr(text, field);
    if (line == NULL)
        stress_fail("/proc/self/smaps_rollup has no %s", field);
    return strtoul(line + strlen(field), NULL, 10) * 1024;
}

double stress_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void stress_sleep_ms(unsigned milliseconds)
{
    struct timespec pause = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        continue;
}
