/* Four threads; each allocates 500 blocks of a size of its own and frees those of the thread
 * before. */
#include <pthread.h>
#include <stdlib.h>

enum { n_threads = 4, n_blocks = 500 };

static void *blocks[n_threads][n_blocks];
static pthread_barrier_t all_allocated;

static void *run(void *argument)
{
    const long number = (long)argument;
    for (int i = 0; i < n_blocks; i++)
        blocks[number][i] = malloc(3000 + (size_t)number);
    pthread_barrier_wait(&all_allocated);
    for (int i = 0; i < n_blocks; i++)
        free(blocks[(number + 1) % n_threads][i]);
    return NULL;
}

int main(void)
{
    pthread_t threads[n_threads];
    pthread_barrier_init(&all_allocated, NULL, n_threads);
    for (long i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, run, (void *)i) != 0)
            return 1;
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
