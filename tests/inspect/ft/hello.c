/* The least that a program does: a line to stdout. Then what it is resident with, to stderr, without allocating. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    static char text[8192];
    puts("hello");
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text);
    return n > 0 && write(2, text, (size_t)n) == n ? 0 : 1;
}
