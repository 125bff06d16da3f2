#include "work.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_BLOCKS = 2000, N_THREADS = 3 };

static void *hidden(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static int check_block(const unsigned char *block, size_t size, unsigned value)
{
    if (block[0] == (value & 255) && block[size - 1] == (value & 255))
        return 0;
    printf("work: a block of %zu bytes lost its contents\n", size);
    return 1;
}

static void *churn(void *argument)
{
    const struct functions *f = argument;
    unsigned char *blocks[N_BLOCKS];
    for (unsigned i = 0; i < N_BLOCKS; i++) {
        size_t size = i % 100 == 0 ? 20000 + i * 10 : i % 900 + 1;
        blocks[i] = f->allocate(size);
        if (blocks[i] == NULL || (uintptr_t)blocks[i] % 16 != 0) {
            printf("work: malloc(%zu) gave %p\n", size, (void *)blocks[i]);
            return (void *)1;
        }
        memset(blocks[i], (int)(i & 255), size);
    }
    for (unsigned i = 0; i < N_BLOCKS; i++) {
        size_t size = i % 100 == 0 ? 20000 + i * 10 : i % 900 + 1;
        if (check_block(blocks[i], size, i) != 0)
            return (void *)1;
        if (i % 3 == 0)
            blocks[i] = f->resize(blocks[i], size * 2);
        f->release(blocks[i]);
    }
    return NULL;
}

int work_run(const struct functions *f)
{
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        if (pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)f) != 0)
            return 1;
    uintptr_t bad = (uintptr_t)churn((void *)(uintptr_t)f);
    for (int i = 0; i < N_THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        bad |= (uintptr_t)result;
    }
    printf("work: %s\n", bad == 0 ? "ok" : "failed");
    return bad != 0;
}

int work_is_libration(const struct functions *f)
{
    int ends[2];
    if (pipe(ends) != 0)
        return 0;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        void *p = hidden(f->allocate(64));
        f->release(p);
        f->release(hidden(p));
        _exit(0);
    }
    close(ends[1]);
    char text[512] = "";
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return n > 0 && strncmp(text, "ration: double free at 0x", 25) == 0;
}
