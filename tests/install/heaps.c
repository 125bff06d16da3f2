/* A user of the heaps alone: a pool in a buffer of its own. */
#include <ration.h>
#include <stdio.h>

int main(void)
{
    static unsigned char buffer[RATION_POOL_BYTES(48, 16, 100)];
    const struct ration_pool_options options = {
        .name = "consumer",
        .object_bytes = 48,
        .alignment = 16,
        .buffer = buffer,
        .buffer_bytes = sizeof buffer,
    };
    static struct ration_pool pool;
    if (ration_pool_init(&pool, &options) == NULL)
        return 1;
    void *first = ration_pool_alloc(&pool);
    void *second = ration_pool_alloc(&pool);
    int n_got = (first != NULL) + (second != NULL && second != first);
    ration_pool_free(&pool, first);
    ration_pool_free(&pool, second);
    printf("pool: %s\n", n_got == 2 ? "ok" : "failed");
    return n_got != 2;
}
