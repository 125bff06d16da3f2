/* A plugin that is opened with RTLD_DEEPBIND: with the flag its malloc is the C library's, whatever was preloaded. */
#include <stdlib.h>
#include <string.h>

void *plugin_new(size_t size);
int plugin_use(void);
void plugin_delete(void *block);

void *plugin_new(size_t size)
{
    return malloc(size);
}

void plugin_delete(void *block)
{
    free(block);
}

int plugin_use(void)
{
    enum { N = 1000 };
    char *blocks[N];
    for (int i = 0; i < N; i++) {
        blocks[i] = malloc((size_t)i * 20 + 1);
        memset(blocks[i], i & 127, (size_t)i * 20 + 1);
    }
    int bad = 0;
    for (int i = 0; i < N; i++) {
        bad |= blocks[i][i * 20] != (i & 127);
        blocks[i] = realloc(blocks[i], (size_t)i + 100);
        free(blocks[i]);
    }
    return bad;
}
