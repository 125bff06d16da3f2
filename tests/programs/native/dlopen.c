/* Opens a library by its path, uses its malloc beside the process's own, closes it from another
   thread that used it too and ends after that; optionally many times. */
#include "work.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct opened {
    void *handle;
    struct functions functions;
};

static void *use_and_close_here(void *argument)
{
    struct opened *opened = argument;
    opened->functions.release(opened->functions.allocate(1000));
    return dlclose(opened->handle) == 0 ? NULL : opened;
}

static void *look_up(void *handle, const char *name)
{
    void *address = dlsym(handle, name);
    if (address == NULL)
        printf("no %s: %s\n", name, dlerror());
    return address;
}

static int use_and_close(const char *path, int is_first)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        printf("dlopen: %s\n", dlerror());
        return 1;
    }
    struct functions f = {(void *(*)(size_t))look_up(handle, "malloc"),
                          (void *(*)(void *, size_t))look_up(handle, "realloc"),
                          (void (*)(void *))look_up(handle, "free")};
    if (f.allocate == NULL || f.resize == NULL || f.release == NULL)
        return 1;
    f.release(f.allocate(100));
    if (is_first) {
        if (f.allocate == malloc || work_run(&f) != 0 || !work_is_libration(&f))
            return 1;
        printf("own heap: ok\n");
    }
    struct opened opened = {handle, f};
    pthread_t closer;
    void *failed = NULL;
    if (pthread_create(&closer, NULL, use_and_close_here, &opened) != 0)
        return 1;
    pthread_join(closer, &failed);
    return failed != NULL;
}

int main(int argc, char **argv)
{
    struct functions own = {malloc, realloc, free};
    int n = argc > 2 ? atoi(argv[2]) : 1;
    for (int i = 0; i < n; i++)
        if (argc < 2 || use_and_close(argv[1], i == 0) != 0)
            return 1;
    if (work_run(&own) != 0)
        return 1;
    printf("closed: ok\n");
    return 0;
}
