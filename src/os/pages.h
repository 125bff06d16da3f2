/* Pages from the system, each call with its reason: the only way to the page entries of the table `os`.
 *
 * Memory system calls are rare, so each is counted: an atomic addition for each figure. The fast paths never come here.
 *
 * The account is one of this process; or, once pages_share has succeeded, one in a file that several processes share
 * (`ration syscalls`): it outlives them however they end, and each call is timed, too. A child after fork goes on
 * counting in its parent's: a private account is copied, a shared one is the same.
 *
 * Thread-safe, safe in a signal handler and on the helper's thread, as the entries of `os` are. */
#ifndef RATION_OS_PAGES_H
#define RATION_OS_PAGES_H

#include "os/os.h"

enum pages_reason {
    PAGES_OPEN,   /* the window is opened: its first piece, and tries that failed */
    PAGES_SLABS,  /* fresh pages at the frontier, taken for slabs */
    PAGES_LARGE,  /* the same for a large block */
    PAGES_VOID,   /* void pages come back into use */
    PAGES_TABLES, /* the allocator's own records grow */
    PAGES_MOVE,   /* a large block moves its pages; also what clears up after a refused move */
    PAGES_SLOTS,  /* purge: pages of free slots in slabs */
    PAGES_CLEAN,  /* purge: dirty runs become clean */
    PAGES_UNMAP,  /* purge: long dirty runs become void */
    PAGES_ADVICE, /* huge pages are asked for, refused, or split */
    PAGES_LOOK,   /* tables of those who look: the search for lost blocks, this account */
    PAGES_GUARD, /* guard pages, and what freed blocks with guards lose and get back (core/fence.h) */
    PAGES_REASONS,
};

struct pages_calls {
    uint64_t calls; /* of the kernel, refused ones included */
    uint64_t refused;
    uint64_t bytes;       /* mapped, given back, moved, by calls that were not refused */
    uint64_t nanoseconds; /* of those since pages_share, and of its own */
};

/* The layout of the shared file. It is struct ration_account of include/ration/stats.h. */
struct pages_account {
    uint64_t magic;
    uint64_t bytes;    /* of this structure */
    uint64_t programs; /* that count here */
    struct pages_calls by[PAGES_REASONS];
};
#define PAGES_MAGIC 0x31736c6c61637472U /* "rtcalls1" */

extern struct pages_account *pages_account HIDDEN; /* never null */

void *pages_map(enum pages_reason why, void *at, size_t bytes, enum os_map_how how);
bool pages_unmap(enum pages_reason why, void *start, size_t bytes);
size_t pages_purge(enum pages_reason why, const struct os_range *ranges, size_t n);
bool pages_move(void *from, size_t from_bytes, void *to, size_t to_bytes);
void pages_no_huge(void *start, size_t bytes);
void pages_huge(void *start, size_t bytes);
void pages_split(void *start, size_t bytes);
enum os_guard pages_guard(void *start, size_t bytes, bool may_map);
bool pages_unguard(void *start, size_t bytes, enum os_guard how);

/* Counts in the file at descriptor fd from now on, what was counted so far included. False, with nothing changed, if that is
 * no such file. Caller: the start of a process, once. */
bool pages_share(int fd);

#endif
