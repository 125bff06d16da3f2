/* deepbind PLUGIN [apart]: opens a library with RTLD_DEEPBIND. The plugin's blocks are the program's, and the other way round.
   Apart, two allocators live in one process: each must serve its own blocks, and a block of the one that is given to the other's
   free must be recognised. A PLUGIN without a slash is found by this program's own search path alone. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int foreign_free_is_reported(void *(*plugin_new)(size_t))
{
    int ends[2];
    if (pipe(ends) != 0)
        return 0;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        free(plugin_new(100));
        _exit(0);
    }
    close(ends[1]);
    char text[256] = "";
    ssize_t n = read(ends[0], text, sizeof text - 1);
    waitpid(child, NULL, 0);
    return n > 0 && strncmp(text, "ration: invalid free at 0x", 26) == 0;
}

int main(int argc, char **argv)
{
    void *plugin = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (plugin == NULL) {
        printf("dlopen: %s\n", dlerror());
        return 1;
    }
    void *(*plugin_new)(size_t) = (void *(*)(size_t))dlsym(plugin, "plugin_new");
    int (*plugin_use)(void) = (int (*)(void))dlsym(plugin, "plugin_use");
    void (*plugin_delete)(void *) = (void (*)(void *))dlsym(plugin, "plugin_delete");
    int apart = argc > 2;
    char *block = plugin_new(5000);
    memset(block, 1, 5000);
    char *own = malloc(5000);
    memset(own, 2, 5000);
    plugin_delete(apart ? block : own);
    free(apart ? own : block);
    printf("plugin: %s\n", plugin_use() == 0 ? "ok" : "failed");
    if (apart)
        printf("foreign block: %s\n",
               foreign_free_is_reported(plugin_new) ? "reported" : "unnoticed");
    return 0;
}
