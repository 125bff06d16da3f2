#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CACHE_LINE_BYTES = 64, FILL_WHOLE_BYTES = 256 };

void die(const char *reason)
{
    fprintf(stderr, "workload: %s\n", reason);
    exit(1);
}

size_t pick_pareto(uint64_t drawn, size_t highest)
{
    unsigned doublings = (unsigned)__builtin_ctzll((drawn >> 32) | (1ull << 31));
    size_t size = pick_size(drawn, 16, 31) << doublings;
    return size <= highest ? size : highest;
}

void tally_add(struct tally *sum, const struct tally *part)
{
    sum->operations += part->operations;
    sum->born += part->born;
    sum->died += part->died;
    sum->live_bytes += part->live_bytes;
}

static void fill_block(struct block *block)
{
    unsigned char *bytes = (unsigned char *)block;
    size_t start = sizeof *block;

    if (block->size <= FILL_WHOLE_BYTES) {
        memset(bytes + start, (int)(block->tag & 0xff), block->size - start);
        return;
    }
    for (size_t at = start; at + sizeof block->tag <= block->size; at += CACHE_LINE_BYTES) {
        memcpy(bytes + at, &block->tag, sizeof block->tag);
    }
    bytes[block->size - 1] = (unsigned char)block->tag;
}

static struct block *block_begin(struct tally *tally, void *memory, size_t size, uint64_t tag)
{
    struct block *block = memory;

    if (!block) {
        die("malloc returned null");
    }
    block->tag = tag;
    block->size = size;
    tally->operations++;
    tally->born += tag;
    tally->live_bytes += (int64_t)size;
    return block;
}

struct block *block_new_bare(struct tally *tally, size_t size, uint64_t tag)
{
    return block_begin(tally, malloc(size), size, tag);
}

struct block *block_new_zeroed(struct tally *tally, size_t size, uint64_t tag)
{
    struct block *block = block_begin(tally, calloc(1, size), size, tag);
    const unsigned char *bytes = (const unsigned char *)block;

    if (size > sizeof *block && bytes[size - 1] != 0) {
        die("calloc returned memory that is not zero");
    }
    return block;
}

struct block *block_new(struct tally *tally, size_t size, uint64_t tag)
{
    struct block *block = block_new_bare(tally, size, tag);

    fill_block(block);
    return block;
}

void block_drop_bare(struct tally *tally, struct block *block)
{
    if (!block) {
        return;
    }
    tally->operations++;
    tally->died += block->tag;
    tally->live_bytes -= (int64_t)block->size;
    free(block);
}

void block_drop(struct tally *tally, struct block *block)
{
    const unsigned char *bytes = (const unsigned char *)block;

    if (block && block->size > sizeof *block &&
        bytes[block->size - 1] != (unsigned char)block->tag) {
        die("a block's last byte is not what was written there");
    }
    block_drop_bare(tally, block);
}

void blocks_drop(struct tally *tally, struct block *const *blocks, unsigned n,
                 void (*drop)(struct tally *tally, struct block *block))
{
    for (unsigned i = 0; i < n; i++) {
        drop(tally, blocks[i]);
    }
}

uint64_t resident_kib(void)
{
    char text[128];
    unsigned long long total_pages = 0, resident_pages = 0;
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        die("cannot open /proc/self/statm");
    }
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    if (sscanf(text, "%llu %llu", &total_pages, &resident_pages) != 2) {
        die("cannot read /proc/self/statm");
    }
    return resident_pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

void outcome_settle(struct outcome *outcome, unsigned idle_ms)
{
    struct timespec rest = {idle_ms / 1000, (long)(idle_ms % 1000) * 1000000};

    nanosleep(&rest, NULL);
    outcome->idle_ms += idle_ms;
    outcome->live_kib = (uint64_t)outcome->tally.live_bytes / 1024;
    outcome->rss_after_kib = resident_kib();
}

void threads_run(unsigned n_threads, void *(*body)(void *), void *args, size_t stride)
{
    pthread_t threads[256];

    if (n_threads > sizeof threads / sizeof *threads) {
        die("too many threads at once");
    }
    for (unsigned i = 0; i < n_threads; i++) {
        if (pthread_create(&threads[i], NULL, body, (char *)args + i * stride) != 0) {
            die("cannot start a thread");
        }
    }
    for (unsigned i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
}

void thread_detach(void *(*body)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, body, arg) != 0) {
        die("cannot start a thread");
    }
    pthread_detach(thread);
}

unsigned scaled(unsigned count, double scale)
{
    double wanted = count * scale;
    return wanted >= 1 ? (unsigned)wanted : 1;
}
