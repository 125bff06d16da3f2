/* The platform contract on Linux. */
#define _GNU_SOURCE
#include "base/atomics.h"
#include "base/bits.h"
#include "os/linux.h"
#include "os/os.h"
#include "os/pagemap.h"
#include "os/syscall.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

enum {
    /* Linux 6.14: the calling thread, and so its process's memory, without a descriptor. (The value for the thread group
     * changed from one version to the next.) */
    PIDFD_SELF_THREAD = -10000,
    PURGE_BATCH = 256,
    KERNEL_SIGSET_BYTES = 8,
};

const struct os_table *os = &os_linux;

static size_t linux_page_bytes(void)
{
    static size_t bytes;
    size_t known = atomic_load_relaxed(&bytes);
    if (known == 0) {
        known = getauxval(AT_PAGESZ);
        if (known == 0)
            known = 4096;
        atomic_store_relaxed(&bytes, known);
    }
    return known;
}

static void *linux_pages_map(void *at, size_t bytes, enum os_map_how how)
{
    int prot = how == OS_MAP_RESERVE ? PROT_NONE : PROT_READ | PROT_WRITE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (how == OS_MAP_EXACT)
        flags |= MAP_FIXED_NOREPLACE;
    else if (how == OS_MAP_OVER)
        flags |= MAP_FIXED;
    else
        at = NULL;
    long got = syscall6(SYS_mmap, (long)at, (long)bytes, prot, flags, -1, 0);
    if (syscall_failed(got))
        return NULL;
    if (at != NULL && (void *)got != at) {
        /* a kernel before 4.17 takes the flag for a mere hint */
        syscall6(SYS_munmap, got, (long)bytes, 0, 0, 0, 0);
        return NULL;
    }
    return (void *)got;
}

static bool linux_pages_unmap(void *start, size_t bytes)
{
    return !syscall_failed(syscall6(SYS_munmap, (long)start, (long)bytes, 0, 0, 0, 0));
}

/* One call for many ranges, where the kernel has it for the caller's own process. Returns how many it did. */
static size_t purge_in_one_call(const struct os_range *ranges, size_t n, size_t *calls)
{
    static int refused;
    if (n < 2 || atomic_load_relaxed(&refused))
        return 0;
    _Static_assert(sizeof(struct os_range) == sizeof(struct iovec),
                   "a range is passed as an iovec");
    if (n > PURGE_BATCH)
        n = PURGE_BATCH;
    ++*calls;
    long done = syscall6(SYS_process_madvise, PIDFD_SELF_THREAD, (long)ranges, (long)n,
                         MADV_DONTNEED, 0, 0);
    if (syscall_failed(done)) {
        atomic_store_relaxed(&refused, 1);
        return 0;
    }
    size_t left = (size_t)done;
    size_t whole = 0;
    while (whole < n && left >= ranges[whole].bytes)
        left -= ranges[whole++].bytes;
    return whole;
}

static size_t linux_pages_purge(const struct os_range *ranges, size_t n, size_t *calls)
{
    size_t done = 0;
    while (done < n) {
        size_t now = purge_in_one_call(ranges + done, n - done, calls);
        if (now == 0) {
            ++*calls;
            long r = syscall6(SYS_madvise, (long)ranges[done].start, (long)ranges[done].bytes,
                              MADV_DONTNEED, 0, 0, 0);
            if (syscall_failed(r))
                break;
            now = 1;
        }
        done += now;
    }
    return done;
}

static bool linux_pages_move(void *from, size_t from_bytes, void *to, size_t to_bytes)
{
    return !syscall_failed(syscall6(SYS_mremap, (long)from, (long)from_bytes, (long)to_bytes,
                                    MREMAP_MAYMOVE | MREMAP_FIXED, (long)to, 0));
}

static bool advise(void *start, size_t bytes, int advice)
{
    return !syscall_failed(syscall6(SYS_madvise, (long)start, (long)bytes, advice, 0, 0, 0));
}

static bool set_access(void *start, size_t bytes, int prot)
{
    return !syscall_failed(syscall6(SYS_mprotect, (long)start, (long)bytes, prot, 0, 0, 0));
}

static enum os_guard linux_pages_guard(void *start, size_t bytes, bool may_map)
{
    if (advise(start, bytes, MADV_GUARD_INSTALL))
        return OS_GUARD_MARK;
    if (!may_map || !set_access(start, bytes, PROT_NONE))
        return OS_GUARD_NONE;
    advise(start, bytes, MADV_DONTNEED);
    return OS_GUARD_ACCESS;
}

static bool linux_pages_unguard(void *start, size_t bytes, enum os_guard how)
{
    return how == OS_GUARD_MARK ? advise(start, bytes, MADV_GUARD_REMOVE)
                                : set_access(start, bytes, PROT_READ | PROT_WRITE);
}

static void linux_pages_no_huge(void *start, size_t bytes)
{
    syscall6(SYS_madvise, (long)start, (long)bytes, MADV_NOHUGEPAGE, 0, 0, 0);
}

static void linux_pages_huge(void *start, size_t bytes)
{
    syscall6(SYS_madvise, (long)start, (long)bytes, MADV_HUGEPAGE, 0, 0, 0);
}

/* The advice that pages are cold splits a huge page of which it covers a part; what else it does, order for reclaim, is
 * of no matter for pages about to be purged. One page at either end is enough. */
static void linux_pages_split(void *start, size_t bytes)
{
    size_t page = linux_page_bytes();
    syscall6(SYS_madvise, (long)start, (long)page, MADV_COLD, 0, 0, 0);
    syscall6(SYS_madvise, (long)start + (long)(bytes - page), (long)page, MADV_COLD, 0, 0, 0);
}

static int64_t linux_read_file(const char *path, char *buffer, size_t n)
{
    long fd =
        syscall6(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, 0, 0);
    if (syscall_failed(fd))
        return -1;
    size_t have = 0;
    long got = 0;
    while (have < n &&
           (got = syscall6(SYS_read, fd, (long)(buffer + have), (long)(n - have), 0, 0, 0)) > 0)
        have += (size_t)got;
    syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
    return have == 0 && got < 0 ? -1 : (int64_t)have;
}

/* A mapping beyond the file's end would kill the program at its first touch: the length is asked before. */
static void *linux_file_share(int fd, uint64_t magic, size_t bytes)
{
    uint64_t head[2] = {0, 0};
    unsigned char last;
    long got = syscall6(SYS_pread64, fd, (long)head, sizeof head, 0, 0, 0);
    if (got != (long)sizeof head || head[0] != magic || head[1] != bytes ||
        syscall6(SYS_pread64, fd, (long)&last, 1, (long)bytes - 1, 0, 0) != 1)
        return NULL;
    long at = syscall6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return syscall_failed(at) ? NULL : (void *)at;
}

/* The chosen word stands in brackets: "always [madvise] never". */
static enum os_huge linux_huge_pages(void)
{
    char text[64] = "";
    linux_read_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text - 1);
    const char *chosen = text;
    while (*chosen != '\0' && *chosen != '[')
        chosen++;
    if (*chosen == '\0' || chosen[1] == 'm')
        return OS_HUGE_WHEN_ASKED;
    return chosen[1] == 'a' ? OS_HUGE_ALWAYS : OS_HUGE_NEVER;
}

static int64_t resident_in(int pagemap, const struct os_range *r)
{
    uint64_t words[LOOK_PAGES_MAX] = {0};
    size_t page = linux_page_bytes();
    size_t pages = r->bytes / page < LOOK_PAGES_MAX ? r->bytes / page : LOOK_PAGES_MAX;
    if (!pagemap_read(pagemap, (uintptr_t)r->start / page, pages, words))
        return -1;
    int64_t resident = 0;
    for (size_t i = 0; i < pages; i++)
        resident += words[i] >> PAGEMAP_SWAPPED_BIT != 0;
    return resident;
}

static int64_t linux_pages_resident(const struct os_range *ranges, size_t n)
{
    long fd =
        syscall6(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (syscall_failed(fd))
        return -1;
    int64_t resident = 0;
    for (size_t i = 0; i < n && resident >= 0; i++) {
        int64_t more = resident_in((int)fd, &ranges[i]);
        resident = more < 0 ? -1 : resident + more;
    }
    syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
    return resident;
}

static size_t linux_address_space_limit(void)
{
    struct rlimit64 limit = {0, 0};
    long r = syscall6(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&limit, 0, 0);
    if (syscall_failed(r) || limit.rlim_cur == RLIM64_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

/* Not of the calling thread, which may be bound to one. */
static unsigned linux_cpu_count(void)
{
    uint64_t mask[64] = {0};
    long first_thread = syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long bytes = syscall6(SYS_sched_getaffinity, first_thread, sizeof mask, (long)mask, 0, 0, 0);
    unsigned n = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) {
        for (uint64_t left = mask[i]; left != 0; left &= left - 1)
            n++;
    }
    return n > 0 ? n : 1;
}

static uint64_t linux_now_ms(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t linux_now_ns(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void linux_random(void *buffer, size_t bytes)
{
    enum { DO_NOT_BLOCK = 1 };
    long got = syscall6(SYS_getrandom, (long)buffer, (long)bytes, DO_NOT_BLOCK, 0, 0, 0);
    if (!syscall_failed(got) && (size_t)got == bytes)
        return;
    /* no entropy call: what the kernel gave this process at its start, the clock, and an address */
    const unsigned char *seed = (const unsigned char *)getauxval(AT_RANDOM);
    uint64_t mix = linux_now_ms() ^ (uint64_t)(uintptr_t)&mix;
    for (size_t i = 0; i < bytes; i++) {
        mix = mix * 6364136223846793005ULL + 1442695040888963407ULL;
        ((unsigned char *)buffer)[i] = (unsigned char)(mix >> 56) ^ (seed ? seed[i % 16] : 0);
    }
}

static void linux_write_error(const char *chars, size_t n)
{
    while (n > 0) {
        long done = syscall6(SYS_write, 2, (long)chars, (long)n, 0, 0, 0);
        if (syscall_failed(done) || done == 0)
            return;
        chars += done;
        n -= (size_t)done;
    }
}

static _Noreturn void linux_abort(void)
{
    abort();
}

static void linux_wait(uint32_t *word, uint32_t expected, int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
    syscall6(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, (long)expected,
             timeout_ms < 0 ? 0 : (long)&t, 0, 0);
}

static void linux_wake_one(uint32_t *word)
{
    syscall6(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static uint32_t linux_thread_id(void)
{
    return (uint32_t)syscall6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* What a thread pointer must offer to code compiled with a stack protector: readable memory around it. */
struct helper_thread_block {
    void *self;
    void *unused;
    void *self_again;
    uint64_t canary_room[29];
};

static bool linux_helper_start(void (*entry)(void *), void *arg, void *stack, size_t stack_bytes,
                               uint32_t *alive)
{
    uintptr_t top = align_down((uintptr_t)stack + stack_bytes, 64);
    struct helper_thread_block *block = (struct helper_thread_block *)(top - sizeof *block);
    block->self = block;
    block->self_again = block;
    void *stack_top = (void *)align_down((uintptr_t)block - 1024, 64);

    uint64_t all = ~(uint64_t)0;
    uint64_t before = 0;
    syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, KERNEL_SIGSET_BYTES, 0, 0);
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                          CLONE_SYSVSEM | CLONE_SETTLS | CLONE_CHILD_CLEARTID;
    long r = syscall_clone_into(flags, stack_top, alive, block, entry, arg);
    syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, KERNEL_SIGSET_BYTES, 0, 0);
    return !syscall_failed(r);
}

const struct os_table os_linux = {
    .page_bytes = linux_page_bytes,
    .pages_map = linux_pages_map,
    .pages_unmap = linux_pages_unmap,
    .pages_purge = linux_pages_purge,
    .pages_move = linux_pages_move,
    .pages_guard = linux_pages_guard,
    .pages_unguard = linux_pages_unguard,
    .faults_watch = linux_faults_watch,
    .mapping_find = linux_mapping_find,
    .pages_no_huge = linux_pages_no_huge,
    .pages_huge = linux_pages_huge,
    .pages_split = linux_pages_split,
    .huge_pages = linux_huge_pages,
    .pages_resident = linux_pages_resident,
    .address_space_limit = linux_address_space_limit,
    .cpu_count = linux_cpu_count,
    .now_ms = linux_now_ms,
    .now_ns = linux_now_ns,
    .random = linux_random,
    .write_error = linux_write_error,
    .abort = linux_abort,
    .wait = linux_wait,
    .wake_one = linux_wake_one,
    .thread_id = linux_thread_id,
    .helper_start = linux_helper_start,
    .read_file = linux_read_file,
    .file_share = linux_file_share,
};
