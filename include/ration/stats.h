/* Where the memory of a process is: a ledger that adds up to what the system says, a walk over all
 * live blocks, and their list.
 *
 * For programs that run under libration (preloaded or linked). Nothing here allocates, takes a lock
 * or stops another thread: the allocator's own records are read as they are. While other threads go
 * on, each figure is right for some moment of the call; when nobody allocates meanwhile, all are
 * right together. Safe in a signal handler and after fork. errno is left alone. */
#ifndef RATION_STATS_H
#define RATION_STATS_H

#include <ration/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a byte of the allocator's memory is there for. */
enum ration_part {
    RATION_PART_LIVE_SMALL, /* usable bytes of live blocks up to 16 KiB: payload and slack */
    RATION_PART_LIVE_LARGE, /* the same of larger ones */
    RATION_PART_HELD_BACK,  /* freed, not to be used again yet (hardening) */
    RATION_PART_CACHED,     /* free, in the hands of one thread: its next allocations */
    RATION_PART_FREE,       /* other free slots of slabs */
    RATION_PART_TAILS,      /* slab ends too short for a slot */
    RATION_PART_DIRTY,      /* free pages that may hold old data; on their way back to the system */
    RATION_PART_CLEAN,      /* free pages that cost no memory until they are used again */
    RATION_PART_FRESH,      /* mapped and never handed out */
    RATION_PART_TABLES,     /* the allocator's own records */
    RATION_PART_COUNT
};

struct ration_memory {
    size_t mapped_bytes; /* address space with access */
    size_t
        resident_bytes; /* of it, what is in memory now; 0 for pages given back or never touched */
};

/* Why the allocator made a memory system call. */
enum ration_reason {
    RATION_FOR_OPEN,   /* the window is opened: its first piece, and tries that failed */
    RATION_FOR_SLABS,  /* fresh pages for small blocks */
    RATION_FOR_LARGE,  /* fresh pages for a large block */
    RATION_FOR_VOID,   /* addresses that had been unmapped come back into use */
    RATION_FOR_TABLES, /* the allocator's own records grow */
    RATION_FOR_MOVE,   /* a large block grows by moving its pages */
    RATION_FOR_SLOTS,  /* given back: pages between live small blocks */
    RATION_FOR_CLEAN,  /* given back: free pages */
    RATION_FOR_UNMAP,  /* given back, addresses too: long rows of free pages */
    RATION_FOR_ADVICE, /* huge pages that come unasked are refused */
    RATION_FOR_LOOK,   /* for those who look: the search for lost blocks, the shared account */
    RATION_FOR_GUARD,  /* guard pages of hardening, and of sampled blocks */
    RATION_REASON_COUNT
};

/* The system calls made for one reason since the program started; before a fork, by the parent. */
struct ration_calls {
    uint64_t calls; /* refused ones included */
    uint64_t refused;
    uint64_t bytes;       /* mapped, given back or moved */
    uint64_t nanoseconds; /* spent in them */
};

/* A file in which several processes count together: RATION=syscalls=FD names its descriptor. Whoever makes it writes the
 * first two fields; `ration syscalls` does. */
struct ration_account {
    uint64_t magic;
    uint64_t bytes;    /* of this structure */
    uint64_t programs; /* that counted here; forked processes count with their parent */
    struct ration_calls calls[RATION_REASON_COUNT];
};
#define RATION_ACCOUNT_MAGIC 0x31736c6c61637472U

/* One size class. Blocks of a class have one usable size. */
struct ration_class_stats {
    size_t slot_bytes;
    size_t slabs;
    size_t slots;     /* in these slabs */
    size_t live;      /* slots handed out */
    size_t cached;    /* free slots that some thread took for its next allocations */
    size_t held_back; /* freed slots that hardening holds back */
    size_t resident_bytes;
    size_t slabs_peak; /* most slabs that the class ever had at once */
};

enum { RATION_CLASS_COUNT = 64 };

/* A thread that has a cache. */
struct ration_thread_stats {
    size_t thread; /* the system's number of it */
    size_t leases; /* slabs of which it alone hands out slots */
    size_t leased_bytes;
    size_t cached; /* free slots that it took for its next allocations */
    size_t cached_bytes;
};

enum { RATION_THREADS_SHOWN = 64 };

/* A heap that the program published (ration_heap_publish), by its name. Its bytes are part of those
 * that the ledger counts: of live large blocks where it lies in memory from malloc, else of what is
 * not the allocator's. RATION_UNKNOWN: this kind does not keep the figure. */
struct ration_named_heap {
    char name[32]; /* cut, and quotes and the like replaced by `_` */
    char kind[16];
    size_t heap_bytes;
    size_t live_bytes;
    size_t live_blocks;
    size_t n_allocs;
    size_t n_frees;
    size_t n_failures;
};

enum { RATION_NAMED_HEAPS = 32 };

/* The ledger. At any time: sum of parts[].resident_bytes == own_bytes, and own_bytes +
 * not_own_bytes == rss_bytes. */
struct ration_stats {
    size_t rss_bytes;       /* memory of the process in pages of its own and shared ones, as
                              /proc/PID/smaps_rollup says (statm where that is missing); 0: unknown */
    size_t rss_peak_bytes;  /* its largest value since the program started (VmHWM); 0: unknown */
    size_t own_bytes;       /* of it, the allocator's */
    size_t not_own_bytes;   /* of it, the rest: program, libraries, stacks, mappings of others */
    bool resident_is_known; /* false: the system does not tell; resident_bytes are mapped_bytes */
    struct ration_memory parts[RATION_PART_COUNT];
    size_t live_small_blocks;
    size_t live_large_blocks;
    size_t unmapped_bytes;     /* addresses without memory, kept for reuse */
    size_t window_peak_bytes;  /* most addresses ever in use; the high-water mark of all runs */
    size_t free_runs;          /* of dirty, clean and unmapped pages */
    size_t largest_free_bytes; /* the longest of them */
    size_t threads;            /* threads that have a cache */
    size_t threads_peak;       /* most of them at once */
    /* Of live small blocks whose requested size is recorded (hardening `full`, in the process itself): what was
     * asked for, and what they can hold more. Of all others payload and slack are not told apart. */
    size_t sized_blocks;
    size_t payload_bytes;
    size_t slack_bytes;
    struct ration_class_stats classes[RATION_CLASS_COUNT]; /* ascending */
    struct ration_calls calls[RATION_REASON_COUNT];
    size_t threads_shown; /* the newest threads */
    struct ration_thread_stats thread_list[RATION_THREADS_SHOWN];
    size_t n_heaps; /* published; the newest of each program and library come first in `heaps` */
    struct ration_named_heap heaps[RATION_NAMED_HEAPS];
};

/* sizeof(struct ration_stats) of the library, for callers that open it while they run. */
size_t ration_stats_bytes(void);

/* Takes the ledger of this process. Time: about 1 ms for each GiB in use. */
void ration_stats_read(struct ration_stats *stats);

enum ration_status {
    RATION_OK,
    RATION_NO_PROCESS, /* there is none with this number */
    RATION_DENIED,     /* the system does not let this user read that process */
    RATION_NOT_LOADED, /* the process does not use the very file that this function comes from */
    RATION_UNREADABLE  /* its records make no sense: not started yet, or damaged */
};

/* Takes the ledger of another process, which is not stopped and notices nothing. That process must
 * use the same file libration.so as the caller. */
enum ration_status ration_stats_read_process(int pid, struct ration_stats *stats);

/* Write a ledger to a file descriptor: for people, as one JSON object, in the OpenMetrics text
 * format (1.0). Return 0, or -1 if the descriptor takes no more. */
int ration_stats_write_text(const struct ration_stats *stats, int fd);
int ration_stats_write_json(const struct ration_stats *stats, int fd);
int ration_stats_write_openmetrics(const struct ration_stats *stats, int fd);

/* What a stretch of the heap's address space is. */
enum ration_run_kind {
    RATION_RUN_SLAB,  /* slots of one size */
    RATION_RUN_LARGE, /* one large block */
    RATION_RUN_DIRTY, /* free, may hold memory */
    RATION_RUN_CLEAN, /* free, costs none */
    RATION_RUN_VOID,  /* free, not mapped */
    RATION_RUN_OTHER  /* somebody else's, guard pages, or changing while it is read */
};

struct ration_run {
    enum ration_run_kind kind;
    size_t start; /* address, in the process that was asked about */
    size_t bytes;
    size_t resident_bytes;
    size_t slot_bytes; /* of a slab; its slots, and how many of them are live blocks */
    size_t slots;
    size_t live;
};

/* Return 0 to go on. */
typedef int ration_run_fn(const struct ration_run *run, void *context);

/* Visits the heap's address space in order, without gaps, of another process as above or of this one (pid 0). What other
 * threads change meanwhile may be shown as it was or as it is. */
enum ration_status ration_runs_visit(int pid, ration_run_fn *visit, void *context);

/* The kind in one word: "slab". */
const char *ration_run_name(enum ration_run_kind kind);

/* The part in words, as the text writer prints it ("free slots in slabs"). */
const char *ration_part_name(enum ration_part part);

/* The reason in words ("fresh pages for small blocks"), and in one word, as in JSON ("slabs"). */
const char *ration_reason_name(enum ration_reason reason);
const char *ration_reason_key(enum ration_reason reason);

/* Calls visit(block, context) for each live block in address order: state RATION_BLOCK_LIVE, bytes
 * == usable_bytes, requested_bytes where it is recorded, else RATION_UNKNOWN. A block freed or
 * allocated by another thread meanwhile may be missed or shown; a block that lives all the time is
 * shown once. Returns what visit returned last: 0 goes on. visit may allocate and free. */
int ration_malloc_walk(ration_walk_fn *visit, void *context);

/* Prints each live block to stdout: a line for each zone (TINY up to 128 bytes, SMALL up to 1024,
 * LARGE), one for each block in address order, and the total. Sizes are usable bytes where the
 * requested size is not recorded. */
void show_alloc_mem(void);

/* The same with the free slots, the occupancy of each zone, and the first bytes of each block. */
void show_alloc_mem_ex(void);

#ifdef __cplusplus
}
#endif

#endif
