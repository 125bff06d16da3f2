/* Calls the C library's malloc past every preloaded one, as a library does that was opened with RTLD_DEEPBIND. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    enum { BYTES = 100000, BLOCKS = 40 };
    void *library = dlopen("libc.so.6", RTLD_NOW);
    void *(*past)(size_t);
    void *found = library != NULL ? dlsym(library, "malloc") : NULL;
    if (found == NULL)
        return 77;
    memcpy(&past, &found, sizeof past);
    for (int i = 0; i < BLOCKS; i++)
        memset(past(BYTES), 1, BYTES);
    usleep(200000);
    return 0;
}
