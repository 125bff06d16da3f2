/* A platform for tests: wraps the Linux one, counts its calls, and disturbs them on request.
 *
 * States: installed (the table `os` points here) or not. One process, one fake; reset between tests. Fields of `fake`
 * may be set at any time. It also holds the library to the contract of os/os.h: a call whose address or size is not a
 * multiple of page_bytes() ends the test with a message. Counting is atomic; the rest is for one thread. */
#ifndef RATION_TESTS_FAKE_OS_H
#define RATION_TESTS_FAKE_OS_H

#include "os/os.h"

#include <setjmp.h>

enum os_entry {
    ENTRY_PAGES_MAP,
    ENTRY_PAGES_UNMAP,
    ENTRY_PAGES_PURGE,
    ENTRY_PAGES_MOVE,
    ENTRY_PAGES_GUARD,
    ENTRY_PAGES_UNGUARD,
    ENTRY_FAULTS_WATCH,
    ENTRY_MAPPING_FIND,
    ENTRY_PAGES_NO_HUGE,
    ENTRY_PAGES_HUGE,
    ENTRY_PAGES_SPLIT,
    ENTRY_HUGE_PAGES,
    ENTRY_PAGES_RESIDENT,
    ENTRY_SPACE_LIMIT,
    ENTRY_CPU_COUNT,
    ENTRY_NOW,
    ENTRY_RANDOM,
    ENTRY_WRITE_ERROR,
    ENTRY_ABORT,
    ENTRY_WAIT,
    ENTRY_WAKE_ONE,
    ENTRY_THREAD_ID,
    ENTRY_HELPER_START,
    ENTRY_READ_FILE,
    ENTRY_FILE_SHARE,
    ENTRY_COUNT,
};
#define ENTRY_BIT(entry) (1U << (entry))

/* Entries that may fail by contract. */
#define ENTRIES_FALLIBLE                                                                           \
    (ENTRY_BIT(ENTRY_PAGES_MAP) | ENTRY_BIT(ENTRY_PAGES_UNMAP) | ENTRY_BIT(ENTRY_PAGES_PURGE) |    \
     ENTRY_BIT(ENTRY_PAGES_MOVE) | ENTRY_BIT(ENTRY_PAGES_GUARD) | ENTRY_BIT(ENTRY_PAGES_UNGUARD) | \
     ENTRY_BIT(ENTRY_HELPER_START) | ENTRY_BIT(ENTRY_READ_FILE) |                                  \
     ENTRY_BIT(ENTRY_PAGES_RESIDENT) | ENTRY_BIT(ENTRY_CPU_COUNT))

enum { FAKE_MESSAGE_CHARS = 8192, FAKE_PURGED_MAX = 4096, FAKE_FILES_MAX = 8 };

struct fake_os {
    size_t page_bytes; /* what page_bytes() says; 0: the truth */

    /* The fail_at-th call (from 1; 0: none) among the entries in fail_entries fails; with fail_after, all later too. */
    unsigned fail_entries;
    unsigned long fail_at;
    bool fail_after;
    unsigned long counted; /* calls so far of the entries in fail_entries */
    unsigned long failed;  /* calls that were made to fail */

    unsigned refuse;      /* entries that always fail */
    unsigned refuse_maps; /* bit (1 << enum os_map_how): such mappings always fail */
    struct os_range
        taken; /* OS_MAP_EXACT fails where this range is touched, as if somebody else mapped it */
    bool
        move_unmaps_first; /* a failing pages_move has unmapped its destination, as kernels before 6.17 do */

    bool guards_map; /* no marks: guards take mappings, as on kernels before 6.13 */
    void (*on_fault)(uintptr_t address,
                     enum os_access access); /* faults_watch leaves it to the test */

    enum os_huge huge_pages; /* what huge_pages says */
    void (*on_huge)(void);   /* runs in pages_huge */
    unsigned cpu_count;      /* what cpu_count says; 2 at first */

    bool clock_by_hand;
    uint64_t now_ms;
    uint64_t ms_a_look; /* by hand: each reading adds so many */
    uint64_t now_ns;
    uint64_t ns_a_look; /* the same of this clock; 1000 at first */

    unsigned long calls[ENTRY_COUNT];
    struct os_range purged[FAKE_PURGED_MAX]; /* what pages_purge was asked for and did, in order */
    size_t purged_count;

    char message[FAKE_MESSAGE_CHARS]; /* what write_error got, terminated */
    size_t message_chars;
    unsigned long message_writes;

    jmp_buf
        *abort_to; /* abort() jumps here with 1; null: the process exits with FAKE_ABORT_STATUS */
    bool capture_helper; /* helper_start starts nothing, and leaves helper_entry to the test */
    void (*helper_entry)(void *arg);
    const int *script; /* for on_wait */
    void (*on_wait)(uint32_t *word, uint32_t expected, int timeout_ms);

    const char *file_path; /* read_file answers file_text for this path */
    const char *file_text;
    struct fake_file { /* and these; no file else is there */
        const char *path;
        const char *text;
    } files[FAKE_FILES_MAX];
};
enum { FAKE_ABORT_STATUS = 99 };

extern struct fake_os fake;

/* All undisturbed, counters zero, clock by hand at 1000 ms, helper threads refused; `os` points to the fake. */
void fake_os_install(void);

/* Forgets messages, purged ranges and counts; keeps what is disturbed. */
void fake_os_clear(void);

/* Fails the n-th of the next calls of these entries. */
void fake_os_fail(unsigned entries, unsigned long n, bool and_all_after);

unsigned long fake_os_calls(enum os_entry entry);

const char *os_entry_name(enum os_entry entry);

#endif
