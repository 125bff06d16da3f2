/* A pool of 100,000 messages: taken and given back in constant time, NULL when all are in use, no
 * memory touched before it is needed, and a message that is given back twice is reported. */
#include <ration.h>
#include <stdio.h>
#include <string.h>

enum { N_MESSAGES = 100000 };

struct message {
    unsigned id;
    char text[60];
};

int main(void)
{
    struct ration_pool *pool =
        ration_pool_create("messages", sizeof(struct message), N_MESSAGES, RATION_POOL_FIXED);
    if (pool == NULL)
        return 1;
    static struct message *queue[N_MESSAGES];
    for (unsigned i = 0; i < N_MESSAGES; i++) {
        queue[i] = ration_pool_alloc(pool);
        queue[i]->id = i;
        strcpy(queue[i]->text, "hello");
    }
    bool is_empty = ration_pool_alloc(pool) == NULL;
    printf("all %d messages are in use: %s\n", N_MESSAGES,
           is_empty ? "the next request gets NULL" : "and yet there is one more?");
    for (unsigned i = 0; i < N_MESSAGES; i++)
        ration_pool_free(pool, queue[i]);
    fflush(stdout);
    ration_heaps_print(1);
    ration_heap_destroy(&pool->heap);
    return is_empty ? 0 : 1;
}
