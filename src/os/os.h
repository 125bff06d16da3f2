/* The platform contract: kernel, threads, time and chance are inputs.
 *
 * The allocator reaches the system only through the table `os`, and its pages_ entries through os/pages.h, which counts.
 * `os_linux` is the real one; tests put another in its place that fails the Nth call, counts calls and turns the clock
 * (tests/support/fake_os.c).
 *
 * Rules for every entry: it never allocates from the allocator, never changes errno, may be called before the C
 * library is ready, from any thread, and at any time in a child after fork. Sizes and addresses of pages are multiples
 * of page_bytes(). An entry that fails has changed nothing. A kernel that lacks or refuses an optional call counts as
 * failure, never as an error that ends the program. */
#ifndef RATION_OS_OS_H
#define RATION_OS_OS_H

#include "base/compiler.h"

struct os_range {
    void *start;
    size_t bytes;
};

enum os_map_how {
    OS_MAP_ANYWHERE, /* readable and writable, where the kernel likes; `at` is ignored */
    OS_MAP_EXACT,    /* readable and writable at `at`; fails if anything is mapped there */
    OS_MAP_OVER, /* readable and writable at `at`, replacing what is there (inside a reservation of ours) */
    OS_MAP_RESERVE, /* addresses only, no access, where the kernel likes */
};

/* How an access to guarded pages is made to fault. */
enum os_guard {
    OS_GUARD_NONE,   /* refused: the pages are as they were */
    OS_GUARD_MARK,   /* a mark in the page table; costs no mapping (Linux 6.13) */
    OS_GUARD_ACCESS, /* no access for a mapping of their own: one or two more mappings */
    OS_GUARD_UNMAP,  /* not mapped: one more mapping at most */
};

/* Transparent huge pages of 2 MiB: what the system is set to. Where it does not tell, it may be asked. */
enum os_huge { OS_HUGE_WHEN_ASKED, OS_HUGE_ALWAYS, OS_HUGE_NEVER };

enum { LOOK_PAGES_MAX = 32 };

enum os_access { OS_ACCESS_READ, OS_ACCESS_WRITE, OS_ACCESS_UNKNOWN };

/* A mapping of the process as the system tells it. `name` is its file or a word in brackets, and may be empty; a long
 * one keeps its end. */
enum { MAPPING_NAME_CHARS = 128 };
struct os_mapping {
    uintptr_t start;
    uintptr_t end;
    char access[5]; /* "rwxp", a dash for what is not allowed */
    char name[MAPPING_NAME_CHARS];
};

struct os_table {
    size_t (*page_bytes)(void);

    /* Fresh zero pages. Null on failure. */
    void *(*pages_map)(void *at, size_t bytes, enum os_map_how how);
    /* May fail (mapping limit): then the pages stay mapped. */
    bool (*pages_unmap)(void *start, size_t bytes);
    /* Afterwards the pages are mapped, zero, and cost no memory. Returns the number of leading ranges done; *calls
     * grows by the system calls that it took. */
    size_t (*pages_purge)(const struct os_range *ranges, size_t n, size_t *calls);
    /* Moves mapped pages, contents and all, to `to`, replacing what is there; the old addresses are unmapped. */
    bool (*pages_move)(void *from, size_t from_bytes, void *to, size_t to_bytes);
    /* Afterwards their contents and memory are gone, and each access to them faults. `may_map`: mappings may be spent. */
    enum os_guard (*pages_guard)(void *start, size_t bytes, bool may_map);
    /* Undoes OS_GUARD_MARK and OS_GUARD_ACCESS: mapped and zero again. May fail (mapping limit). */
    bool (*pages_unguard)(void *start, size_t bytes, enum os_guard how);
    /* From now on on_fault is told of each access that faults, before what the program or the system does about it. It
     * runs in a signal handler. A handler that the program installs later takes the place of this. */
    bool (*faults_watch)(void (*on_fault)(uintptr_t address, enum os_access access));
    /* The mapping that holds `address`, and the one before it (`before->end` 0: none). False: none does, or it cannot be
     * told. */
    bool (*mapping_find)(uintptr_t address, struct os_mapping *found, struct os_mapping *before);
    /* Advice only. */
    void (*pages_no_huge)(void *start, size_t bytes);
    void (*pages_huge)(void *start, size_t bytes);
    /* Huge pages that hold `start` and do not lie in the range whole become small ones: else purging a part of a huge
     * page would lower what the process is said to use, while the system gets nothing back. Advice only. */
    void (*pages_split)(void *start, size_t bytes);
    enum os_huge (*huge_pages)(void);
    /* How many pages of the ranges hold memory, be it swapped out; of each range at most the first LOOK_PAGES_MAX count.
     * -1: it cannot be told. */
    int64_t (*pages_resident)(const struct os_range *ranges, size_t n);
    /* RLIMIT_AS in bytes; SIZE_MAX when unlimited. */
    size_t (*address_space_limit)(void);

    /* Processors that the process's first thread may run on; 1 if it cannot be told. */
    unsigned (*cpu_count)(void);

    /* Milliseconds of a clock that only goes forward. Coarse and cheap. */
    uint64_t (*now_ms)(void);
    /* Nanoseconds of such a clock, fine, for durations. */
    uint64_t (*now_ns)(void);
    void (*random)(void *buffer, size_t bytes);
    void (*write_error)(const char *chars, size_t n);
    void (*abort)(void); /* does not return */

    /* Sleeps while *word == expected, at most timeout_ms (negative: for ever). May wake for no reason. */
    void (*wait)(uint32_t *word, uint32_t expected, int timeout_ms);
    void (*wake_one)(uint32_t *word);
    uint32_t (*thread_id)(void);
    /* Starts entry(arg) on a thread that the C library does not know of, with all signals blocked, on the caller's
     * stack memory; *alive is set to 1 by the caller and becomes 0, with a wake, when the thread is gone. Code that runs
     * there uses no thread-local variable but through os, and no C library function. False if refused. */
    bool (*helper_start)(void (*entry)(void *), void *arg, void *stack, size_t stack_bytes,
                         uint32_t *alive);
    /* Reads at most n bytes of a small file; returns the count, or -1. */
    int64_t (*read_file)(const char *path, char *buffer, size_t n);
    /* Maps the first `bytes` of the file at fd for reading and writing, shared with whoever does the same. Null unless the
     * file begins with the words `magic` and `bytes` and is as long as that. */
    void *(*file_share)(int fd, uint64_t magic, size_t bytes);
};

extern const struct os_table *os HIDDEN;
extern const struct os_table os_linux HIDDEN;

#endif
