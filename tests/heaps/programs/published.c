/* Heaps of several kinds under names, in use, until a line comes on stdin. */
#include <ration.h>
#include <stdio.h>

int main(void)
{
    static struct ration_private plugin;
    static struct ration_arena requests;
    static struct ration_fit fit;
    static char buffer[65536];
    struct ration_private_options private_options = {.name = "plugin", .limit_bytes = 1 << 20};
    struct ration_arena_options arena_options = {.name = "requests",
                                                 .source = ration_source_malloc()};
    struct ration_fit_options fit_options = {.name = "scratch"};
    struct ration_pool *messages =
        ration_pool_create("messages", 48, 1000, RATION_POOL_FIXED | RATION_POOL_SHARED);
    if (messages == NULL || ration_private_init(&plugin, &private_options) == NULL ||
        ration_arena_init(&requests, &arena_options) == NULL ||
        ration_fit_init(&fit, buffer, sizeof buffer, &fit_options) == NULL)
        return 1;
    ration_heap_publish(&plugin.heap);
    ration_heap_publish(&requests.heap);
    ration_heap_publish(&fit.heap);
    void *freed = NULL;
    for (int i = 0; i < 10; i++) {
        freed = ration_pool_alloc(messages);
        ration_arena_alloc(&requests, 100);
        ration_heap_alloc(&plugin.heap, 1000);
        ration_heap_alloc(&fit.heap, 200);
    }
    ration_pool_free(messages, freed);
    while (ration_heap_alloc(&plugin.heap, 100000) != NULL)
        continue;
    puts("ready");
    fflush(stdout);
    return getchar() == EOF;
}
