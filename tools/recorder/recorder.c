/*
 * libration-trace.so: preloaded into a program, it passes every allocation on to the malloc that
 * the program would have had and writes one record for each. See raw.h for what is written.
 *
 * Nothing here allocates, locks or formats: a record is a place taken by one atomic addition and
 * 32 bytes written to mapped memory.
 */
#include "raw.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { early_bytes = 64 * 1024, most_threads = 65535 };

/* NEW: nothing is known yet. STARTING: the real functions are being looked up; who allocates
 * during that gets memory of `early`. ON: recording. OFF: passing on only. */
enum state { NEW, STARTING, ON, OFF };

static _Atomic(int) state;
static struct raw_head *head;
static struct raw_record *records;
static _Atomic(uint32_t) next_thread;
static __thread uint32_t own_thread __attribute__((tls_model("initial-exec"))); /* from 1 */

static struct {
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void *(*memalign)(size_t alignment, size_t size);
    int (*posix_memalign)(void **block, size_t alignment, size_t size);
} real;

static _Alignas(16) char early[early_bytes];
static size_t early_used;

static bool is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + early_bytes;
}

static void *early_allocate(size_t size)
{
    const size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded < size || rounded > early_bytes - early_used)
        return NULL;
    char *block = early + early_used;
    early_used += rounded;
    return block;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- the file ---------------------------------------------------------------------------- */

/* As large as the system allows: the file is sparse, and only what is written takes room. */
static int map_file(int fd)
{
    for (uint64_t bytes = UINT64_C(1) << 36; bytes >= UINT64_C(1) << 24; bytes /= 4) {
        if (ftruncate(fd, (off_t)bytes) != 0)
            continue;
        void *mapping =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (mapping == MAP_FAILED)
            continue;
        head = mapping;
        records = (struct raw_record *)(head + 1);
        head->capacity = (bytes - sizeof *head) / sizeof *records;
        return 0;
    }
    return -1;
}

/* True when this process is one to record and its file is open. */
static bool open_file(void)
{
    const char *prefix = getenv(raw_prefix_variable), *process = getenv(raw_process_variable);
    char path[4096];
    if (prefix == NULL || process == NULL)
        return false;
    if (strcmp(process, "all") != 0 && strtol(process, NULL, 10) != (long)getpid())
        return false;
    const int length = snprintf(path, sizeof path, "%s.%ld", prefix, (long)getpid());
    if (length <= 0 || (size_t)length >= sizeof path)
        return false;
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    const bool mapped = map_file(fd) == 0;
    close(fd);
    if (!mapped)
        return false;
    head->started = now();
    const ssize_t got = readlink("/proc/self/exe", head->program, sizeof head->program - 1);
    head->program[got > 0 ? got : 0] = '\0';
    memcpy(head->magic, raw_magic, sizeof head->magic);
    return true;
}

/* A child of fork shares the mapping: it leaves the parent's file alone, and gets one of its own if
 * all processes are recorded. */
static void after_fork(void)
{
    if (atomic_load(&state) != ON)
        return;
    atomic_store(&state, OFF);
    own_thread = 0;
    if (open_file())
        atomic_store(&state, ON);
}

static void look_up(void)
{
    void *const found[] = {dlsym(RTLD_NEXT, "malloc"),   dlsym(RTLD_NEXT, "free"),
                           dlsym(RTLD_NEXT, "calloc"),   dlsym(RTLD_NEXT, "realloc"),
                           dlsym(RTLD_NEXT, "memalign"), dlsym(RTLD_NEXT, "posix_memalign")};
    _Static_assert(sizeof found == sizeof real, "one address for each function");
    memcpy(&real, found, sizeof real);
}

static void start(void)
{
    int expected = NEW;
    if (!atomic_compare_exchange_strong(&state, &expected, STARTING))
        return;
    const int saved = errno;
    look_up();
    const bool recording = open_file();
    if (recording)
        pthread_atfork(NULL, NULL, after_fork);
    atomic_store(&state, recording ? ON : OFF);
    errno = saved;
}

/* False while the real functions are not known: the caller takes early memory. */
static inline bool is_ready(void)
{
    if (__builtin_expect(atomic_load_explicit(&state, memory_order_acquire) >= ON, 1))
        return true;
    start();
    return atomic_load(&state) >= ON;
}

/* ---- records ----------------------------------------------------------------------------- */

static uint16_t thread_number(void)
{
    if (own_thread == 0) {
        own_thread = 1 + atomic_fetch_add(&next_thread, 1);
        if (own_thread > most_threads)
            own_thread = most_threads;
        head->n_threads = own_thread > head->n_threads ? own_thread : head->n_threads;
    }
    return (uint16_t)(own_thread - 1);
}

static void record(enum raw_kind kind, unsigned align_shift, const void *address, size_t size)
{
    if (atomic_load_explicit(&state, memory_order_relaxed) != ON)
        return;
    const uint64_t index = __atomic_fetch_add(&head->next, 1, __ATOMIC_ACQ_REL);
    if (index >= head->capacity)
        return;
    struct raw_record *place = &records[index];
    place->align_shift = (uint8_t)align_shift;
    place->thread = thread_number();
    place->time = now() - head->started;
    place->address = (uintptr_t)address;
    place->size = size;
    __atomic_store_n(&place->kind, (uint8_t)kind, __ATOMIC_RELEASE);
}

static unsigned shift_of(size_t alignment)
{
    return alignment > 1 ? (unsigned)(63 - __builtin_clzll(alignment)) : 0;
}

static bool multiplies(size_t count, size_t size, size_t *product)
{
    return !__builtin_mul_overflow(count, size, product);
}

/* ---- the functions ----------------------------------------------------------------------- */

PUBLIC void *malloc(size_t size)
{
    if (!is_ready())
        return early_allocate(size);
    void *block = real.malloc(size);
    record(RAW_MALLOC, 0, block, size);
    return block;
}

PUBLIC void free(void *block)
{
    if (is_early(block) || !is_ready())
        return;
    record(RAW_FREE, 0, block, 0);
    real.free(block);
}

PUBLIC void *calloc(size_t count, size_t size)
{
    size_t bytes = 0;
    if (!is_ready()) /* early memory is zero and never used twice */
        return multiplies(count, size, &bytes) ? early_allocate(bytes) : NULL;
    void *block = real.calloc(count, size);
    (void)multiplies(count, size, &bytes);
    record(RAW_CALLOC, 0, block, bytes);
    return block;
}

static void *move_from_early(const void *old, size_t size)
{
    void *block = malloc(size);
    const size_t known = (size_t)(early + early_used - (const char *)old);
    if (block != NULL)
        memcpy(block, old, size < known ? size : known);
    return block;
}

PUBLIC void *realloc(void *old, size_t size)
{
    if (is_early(old) || !is_ready())
        return old != NULL ? move_from_early(old, size) : malloc(size);
    if (old != NULL)
        record(RAW_RESIZE_BEGIN, 0, old, size);
    void *block = real.realloc(old, size);
    record(old != NULL ? RAW_RESIZE_END : RAW_MALLOC, 0, block, size);
    return block;
}

PUBLIC void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (!multiplies(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

PUBLIC void *memalign(size_t alignment, size_t size)
{
    if (!is_ready())
        return NULL;
    void *block = real.memalign(alignment, size);
    record(RAW_ALIGNED, shift_of(alignment), block, size);
    return block;
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

PUBLIC int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (!is_ready())
        return ENOMEM;
    const int status = real.posix_memalign(block, alignment, size);
    if (status == 0)
        record(RAW_ALIGNED, shift_of(alignment), *block, size);
    return status;
}

PUBLIC void *valloc(size_t size)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

PUBLIC void *pvalloc(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return memalign(page, (size + page - 1) & ~(page - 1));
}

PUBLIC void free_sized(void *block, size_t size);
PUBLIC void free_sized(void *block, size_t size)
{
    (void)size;
    free(block);
}

PUBLIC void free_aligned_sized(void *block, size_t alignment, size_t size);
PUBLIC void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(block);
}

/* So that the first record of a program is its own, and not in the middle of a signal handler. */
__attribute__((constructor)) static void start_at_load(void)
{
    (void)is_ready();
}
