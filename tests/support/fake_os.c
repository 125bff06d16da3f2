#define _GNU_SOURCE
#include "support/fake_os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake_os fake;

static const char *const entry_names[ENTRY_COUNT] = {
    [ENTRY_PAGES_MAP] = "pages_map",
    [ENTRY_PAGES_UNMAP] = "pages_unmap",
    [ENTRY_PAGES_PURGE] = "pages_purge",
    [ENTRY_PAGES_MOVE] = "pages_move",
    [ENTRY_PAGES_GUARD] = "pages_guard",
    [ENTRY_PAGES_UNGUARD] = "pages_unguard",
    [ENTRY_FAULTS_WATCH] = "faults_watch",
    [ENTRY_MAPPING_FIND] = "mapping_find",
    [ENTRY_PAGES_NO_HUGE] = "pages_no_huge",
    [ENTRY_PAGES_HUGE] = "pages_huge",
    [ENTRY_PAGES_SPLIT] = "pages_split",
    [ENTRY_HUGE_PAGES] = "huge_pages",
    [ENTRY_PAGES_RESIDENT] = "pages_resident",
    [ENTRY_SPACE_LIMIT] = "address_space_limit",
    [ENTRY_CPU_COUNT] = "cpu_count",
    [ENTRY_NOW] = "now_ms",
    [ENTRY_RANDOM] = "random",
    [ENTRY_WRITE_ERROR] = "write_error",
    [ENTRY_ABORT] = "abort",
    [ENTRY_WAIT] = "wait",
    [ENTRY_WAKE_ONE] = "wake_one",
    [ENTRY_THREAD_ID] = "thread_id",
    [ENTRY_HELPER_START] = "helper_start",
    [ENTRY_READ_FILE] = "read_file",
    [ENTRY_FILE_SHARE] = "file_share",
};

const char *os_entry_name(enum os_entry entry)
{
    return entry_names[entry];
}

/* Counts a call; tells whether it shall fail. */
static bool fails(enum os_entry entry)
{
    __atomic_fetch_add(&fake.calls[entry], 1, __ATOMIC_RELAXED);
    if ((fake.refuse & ENTRY_BIT(entry)) != 0)
        return true;
    if ((fake.fail_entries & ENTRY_BIT(entry)) == 0)
        return false;
    unsigned long number = __atomic_add_fetch(&fake.counted, 1, __ATOMIC_RELAXED);
    bool fail =
        fake.fail_at != 0 && (number == fake.fail_at || (fake.fail_after && number > fake.fail_at));
    if (fail)
        fake.failed++;
    return fail;
}

static size_t fake_page_bytes(void)
{
    return fake.page_bytes != 0 ? fake.page_bytes : os_linux.page_bytes();
}

static void require_pages(const char *what, const void *start, size_t bytes)
{
    size_t page = fake_page_bytes();
    if ((uintptr_t)start % page == 0 && bytes % page == 0 && bytes != 0)
        return;
    fprintf(stderr, "fake_os: %s(%p, %zu): expected multiples of %zu bytes, and not none\n", what,
            start, bytes, page);
    abort();
}

static bool touches_taken(const void *at, size_t bytes)
{
    uintptr_t start = (uintptr_t)at;
    uintptr_t taken = (uintptr_t)fake.taken.start;
    return fake.taken.bytes != 0 && start < taken + fake.taken.bytes && taken < start + bytes;
}

static void *fake_pages_map(void *at, size_t bytes, enum os_map_how how)
{
    require_pages("pages_map", how == OS_MAP_EXACT || how == OS_MAP_OVER ? at : NULL, bytes);
    if (fails(ENTRY_PAGES_MAP) || (fake.refuse_maps & 1U << how) != 0)
        return NULL;
    if (how == OS_MAP_EXACT && touches_taken(at, bytes))
        return NULL;
    return os_linux.pages_map(at, bytes, how);
}

static bool fake_pages_unmap(void *start, size_t bytes)
{
    require_pages("pages_unmap", start, bytes);
    return !fails(ENTRY_PAGES_UNMAP) && os_linux.pages_unmap(start, bytes);
}

/* A failing call does half of the ranges: the contract allows any number of leading ones. */
static size_t fake_pages_purge(const struct os_range *ranges, size_t n, size_t *calls)
{
    for (size_t i = 0; i < n; i++)
        require_pages("pages_purge", ranges[i].start, ranges[i].bytes);
    if (n == 0)
        return 0; /* no system call */
    size_t some = fails(ENTRY_PAGES_PURGE) ? n / 2 : n;
    size_t done = os_linux.pages_purge(ranges, some, calls);
    for (size_t i = 0; i < done && fake.purged_count < FAKE_PURGED_MAX; i++)
        fake.purged[fake.purged_count++] = ranges[i];
    return done;
}

static bool fake_pages_move(void *from, size_t from_bytes, void *to, size_t to_bytes)
{
    require_pages("pages_move", from, from_bytes);
    require_pages("pages_move", to, to_bytes);
    if (!fails(ENTRY_PAGES_MOVE))
        return os_linux.pages_move(from, from_bytes, to, to_bytes);
    if (fake.move_unmaps_first)
        munmap(to, to_bytes);
    return false;
}

static enum os_guard fake_pages_guard(void *start, size_t bytes, bool may_map)
{
    require_pages("pages_guard", start, bytes);
    if (fails(ENTRY_PAGES_GUARD))
        return OS_GUARD_NONE;
    if (!fake.guards_map)
        return os_linux.pages_guard(start, bytes, may_map);
    if (!may_map || mprotect(start, bytes, PROT_NONE) != 0)
        return OS_GUARD_NONE;
    madvise(start, bytes, MADV_DONTNEED);
    return OS_GUARD_ACCESS;
}

static bool fake_pages_unguard(void *start, size_t bytes, enum os_guard how)
{
    require_pages("pages_unguard", start, bytes);
    return !fails(ENTRY_PAGES_UNGUARD) && os_linux.pages_unguard(start, bytes, how);
}

static bool fake_faults_watch(void (*on_fault)(uintptr_t address, enum os_access access))
{
    fake.on_fault = on_fault;
    return !fails(ENTRY_FAULTS_WATCH);
}

static bool fake_mapping_find(uintptr_t address, struct os_mapping *found,
                              struct os_mapping *before)
{
    return !fails(ENTRY_MAPPING_FIND) && os_linux.mapping_find(address, found, before);
}

static void fake_pages_no_huge(void *start, size_t bytes)
{
    require_pages("pages_no_huge", start, bytes);
    if (!fails(ENTRY_PAGES_NO_HUGE))
        os_linux.pages_no_huge(start, bytes);
}

static void fake_pages_huge(void *start, size_t bytes)
{
    require_pages("pages_huge", start, bytes);
    if (fake.on_huge != NULL)
        fake.on_huge();
    if (!fails(ENTRY_PAGES_HUGE))
        os_linux.pages_huge(start, bytes);
}

static void fake_pages_split(void *start, size_t bytes)
{
    require_pages("pages_split", start, bytes);
    if (!fails(ENTRY_PAGES_SPLIT))
        os_linux.pages_split(start, bytes);
}

static enum os_huge fake_huge_pages(void)
{
    fails(ENTRY_HUGE_PAGES); /* counted; it cannot fail */
    return fake.huge_pages;
}

static int64_t fake_pages_resident(const struct os_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        require_pages("pages_resident", ranges[i].start, ranges[i].bytes);
    return fails(ENTRY_PAGES_RESIDENT) ? -1 : os_linux.pages_resident(ranges, n);
}

static size_t fake_address_space_limit(void)
{
    return fails(ENTRY_SPACE_LIMIT) ? SIZE_MAX : os_linux.address_space_limit();
}

static unsigned fake_cpu_count(void)
{
    return fails(ENTRY_CPU_COUNT) ? 1 : fake.cpu_count;
}

static uint64_t fake_now_ms(void)
{
    fails(ENTRY_NOW);
    return fake.clock_by_hand ? fake.now_ms += fake.ms_a_look : os_linux.now_ms();
}

/* The clock of durations is not counted: every call of the system reads it. */
static uint64_t fake_now_ns(void)
{
    return fake.clock_by_hand ? fake.now_ns += fake.ns_a_look : os_linux.now_ns();
}

static void fake_random(void *buffer, size_t bytes)
{
    fails(ENTRY_RANDOM);
    os_linux.random(buffer, bytes);
}

static void fake_write_error(const char *chars, size_t n)
{
    fails(ENTRY_WRITE_ERROR);
    fake.message_writes++;
    for (size_t i = 0; i < n && fake.message_chars + 1 < FAKE_MESSAGE_CHARS; i++)
        fake.message[fake.message_chars++] = chars[i];
    fake.message[fake.message_chars] = '\0';
}

static void fake_abort(void)
{
    fails(ENTRY_ABORT);
    if (fake.abort_to != NULL)
        longjmp(*fake.abort_to, 1);
    _exit(FAKE_ABORT_STATUS);
}

static void fake_wait(uint32_t *word, uint32_t expected, int timeout_ms)
{
    fails(ENTRY_WAIT);
    if (fake.on_wait != NULL)
        fake.on_wait(word, expected, timeout_ms);
    else
        os_linux.wait(word, expected, timeout_ms);
}

static void fake_wake_one(uint32_t *word)
{
    fails(ENTRY_WAKE_ONE);
    os_linux.wake_one(word);
}

static uint32_t fake_thread_id(void)
{
    fails(ENTRY_THREAD_ID);
    return os_linux.thread_id();
}

static bool fake_helper_start(void (*entry)(void *), void *arg, void *stack, size_t stack_bytes,
                              uint32_t *alive)
{
    if (fails(ENTRY_HELPER_START))
        return false;
    fake.helper_entry = entry;
    return fake.capture_helper || os_linux.helper_start(entry, arg, stack, stack_bytes, alive);
}

static const char *text_of(const char *path)
{
    if (fake.file_path != NULL && strcmp(path, fake.file_path) == 0)
        return fake.file_text;
    for (int i = 0; i < FAKE_FILES_MAX; i++) {
        if (fake.files[i].path != NULL && strcmp(path, fake.files[i].path) == 0)
            return fake.files[i].text;
    }
    return NULL;
}

static int64_t fake_read_file(const char *path, char *buffer, size_t n)
{
    const char *text = text_of(path);
    if (fails(ENTRY_READ_FILE) || text == NULL)
        return -1;
    size_t have = strlen(text);
    have = have < n ? have : n;
    memcpy(buffer, text, have);
    return (int64_t)have;
}

static void *fake_file_share(int fd, uint64_t magic, size_t bytes)
{
    return fails(ENTRY_FILE_SHARE) ? NULL : os_linux.file_share(fd, magic, bytes);
}

static const struct os_table fake_table = {
    .page_bytes = fake_page_bytes,
    .pages_map = fake_pages_map,
    .pages_unmap = fake_pages_unmap,
    .pages_purge = fake_pages_purge,
    .pages_move = fake_pages_move,
    .pages_guard = fake_pages_guard,
    .pages_unguard = fake_pages_unguard,
    .faults_watch = fake_faults_watch,
    .mapping_find = fake_mapping_find,
    .pages_no_huge = fake_pages_no_huge,
    .pages_huge = fake_pages_huge,
    .pages_split = fake_pages_split,
    .huge_pages = fake_huge_pages,
    .pages_resident = fake_pages_resident,
    .address_space_limit = fake_address_space_limit,
    .cpu_count = fake_cpu_count,
    .now_ms = fake_now_ms,
    .now_ns = fake_now_ns,
    .random = fake_random,
    .write_error = fake_write_error,
    .abort = fake_abort,
    .wait = fake_wait,
    .wake_one = fake_wake_one,
    .thread_id = fake_thread_id,
    .helper_start = fake_helper_start,
    .read_file = fake_read_file,
    .file_share = fake_file_share,
};

void fake_os_install(void)
{
    memset(&fake, 0, sizeof fake);
    fake.clock_by_hand = true;
    fake.now_ms = 1000;
    fake.cpu_count = 2;
    fake.ns_a_look = 1000;
    fake.refuse = ENTRY_BIT(ENTRY_HELPER_START);
    os = &fake_table;
}

void fake_os_clear(void)
{
    memset(fake.calls, 0, sizeof fake.calls);
    fake.counted = 0;
    fake.failed = 0;
    fake.purged_count = 0;
    fake.message_chars = 0;
    fake.message_writes = 0;
    fake.message[0] = '\0';
}

void fake_os_fail(unsigned entries, unsigned long n, bool and_all_after)
{
    fake.fail_entries = entries;
    fake.fail_at = n;
    fake.fail_after = and_all_after;
    fake.counted = 0;
    fake.failed = 0;
}

unsigned long fake_os_calls(enum os_entry entry)
{
    return __atomic_load_n(&fake.calls[entry], __ATOMIC_RELAXED);
}
