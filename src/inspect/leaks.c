#include "inspect/leaks.h"

#include "area/records.h"
#include "callers/sites.h"
#include "inspect/proc.h"
#include "inspect/walk.h"
#include "inspect/writer.h"
#include "os/syscall.h"
#include "record/record.h"

#include <fcntl.h>
#include <string.h>

enum {
    CHUNK_BYTES = 1 << 16, /* the largest page */
    NEW_BLOCKS = 4096,
    MOST_SITES = 20, /* in a list for people */
};

struct block {
    uintptr_t start;
    size_t bytes : 61;
    size_t is_marked : 1;
    size_t is_pointed : 1; /* lost, and a lost block points to it */
    size_t is_owned : 1;   /* lost, and its owner is known */
};

/* What a pointer to a block does. */
enum pass {
    PASS_REACH, /* from the program's memory on: what is reached is not lost */
    PASS_POINT, /* through lost blocks: which of them others point to */
    PASS_OWN,   /* from one lost block on: what is reached is owned by it */
};

struct search {
    struct block *blocks; /* ascending */
    uint32_t *pending;    /* reached, and not looked into yet */
    uint32_t *owners;     /* of lost blocks */
    enum pass pass;
    size_t current; /* the block that is looked into in PASS_POINT, the owner in PASS_OWN */
    size_t n_blocks, n_pending, capacity;
    uintptr_t *words; /* CHUNK_BYTES */
    struct os_range table;
    uintptr_t frame; /* the stack in use begins here */
    int pid;
};

static void count_block(uintptr_t block, size_t usable, void *arg)
{
    (void)block;
    (void)usable;
    ++*(size_t *)arg;
}

static void note_block(uintptr_t block, size_t usable, void *arg)
{
    struct search *s = arg;
    if (s->n_blocks < s->capacity)
        s->blocks[s->n_blocks++] = (struct block){.start = block, .bytes = usable};
}

static bool map_table(struct search *s)
{
    size_t live = 0;
    walk_blocks(0, SIZE_MAX, count_block, &live);
    s->capacity = live + live / 8 + NEW_BLOCKS; /* other threads may go on */
    size_t bytes =
        s->capacity * (sizeof *s->blocks + sizeof *s->pending + sizeof *s->owners) + CHUNK_BYTES;
    bytes = align_up(bytes, os->page_bytes());
    char *table =
        s->capacity > UINT32_MAX ? NULL : pages_map(PAGES_LOOK, NULL, bytes, OS_MAP_ANYWHERE);
    if (table == NULL)
        return false;
    s->table = (struct os_range){table, bytes};
    s->words = (uintptr_t *)(void *)table;
    s->blocks = (struct block *)(void *)(table + CHUNK_BYTES);
    s->pending = (uint32_t *)(void *)(s->blocks + s->capacity);
    s->owners = s->pending + s->capacity;
    return true;
}

/* The block that holds `address`, or n_blocks. */
static size_t find_block(const struct search *s, uintptr_t address)
{
    size_t low = 0;
    size_t high = s->n_blocks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->blocks[middle].start + s->blocks[middle].bytes <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_blocks && s->blocks[low].start <= address ? low : s->n_blocks;
}

/* A pointer to block k was found. */
static void meet(struct search *s, size_t k)
{
    struct block *b = &s->blocks[k];
    if (b->is_marked)
        return;
    if (s->pass == PASS_POINT) {
        b->is_pointed |= k != s->current;
        return;
    }
    if (s->pass == PASS_OWN) {
        if (b->is_owned)
            return;
        b->is_owned = 1;
        s->owners[k] = (uint32_t)s->current;
    } else {
        b->is_marked = 1;
    }
    s->pending[s->n_pending++] = (uint32_t)k;
}

static void mark_from(struct search *s, const uintptr_t *words, size_t n)
{
    uintptr_t first = s->n_blocks > 0 ? s->blocks[0].start : 0;
    uintptr_t bytes = s->n_blocks > 0 ? s->blocks[s->n_blocks - 1].start +
                                            s->blocks[s->n_blocks - 1].bytes - first
                                      : 0;
    for (size_t i = 0; i < n; i++) {
        if (words[i] - first >= bytes)
            continue;
        size_t k = find_block(s, words[i]);
        if (k < s->n_blocks)
            meet(s, k);
    }
}

/* The system copies, so that a range that another thread unmaps meanwhile does no harm. */
static void scan_present(struct search *s, uintptr_t from, uintptr_t to)
{
    size_t bytes = align_down(to - from, sizeof(uintptr_t));
    if (from < to && proc_read_memory(s->pid, s->words, from, bytes))
        mark_from(s, s->words, bytes / sizeof(uintptr_t));
}

/* At most CHUNK_BYTES, and not across a multiple of it. Pages that are not in memory hold no
 * pointers. */
static void scan_chunk(struct search *s, uintptr_t from, uintptr_t to)
{
    unsigned char present[CHUNK_BYTES >> 12];
    uintptr_t first = align_down(from, (size_t)1 << page_shift);
    size_t pages = (to - first + ((size_t)1 << page_shift) - 1) >> page_shift;
    if (!proc_own_resident(first, pages, page_shift, present))
        memset(present, 1, pages);
    for (size_t k = 0; k < pages; k++) {
        size_t end = k;
        while (end < pages && present[end])
            end++;
        if (end > k)
            scan_present(s, max_size(first + (k << page_shift), from),
                         min_size(first + (end << page_shift), to));
        k = end;
    }
}

static void scan(struct search *s, uintptr_t from, uintptr_t to)
{
    from = align_up(from, sizeof(uintptr_t));
    while (from < to) {
        uintptr_t end = align_down(from, CHUNK_BYTES) + CHUNK_BYTES;
        scan_chunk(s, from, min_size(end, to));
        from = end;
    }
}

static void scan_blocks(struct search *s)
{
    while (s->n_pending > 0) {
        const struct block *b = &s->blocks[s->pending[--s->n_pending]];
        scan(s, b->start, b->start + b->bytes);
    }
}

/* The window is sparse: other mappings may lie in it, even the program itself. */
static bool is_own(uintptr_t start)
{
    size_t map_bytes = align_up(window.unit_count * sizeof *window.map, (size_t)1 << page_shift);
    return start - (uintptr_t)window.map < map_bytes ||
           start - records.area.start < records.area.mapped_bytes ||
           span_find(start).kind != RUN_NONE;
}

/* The heap itself is no root, nor are our tables: the masks of caches point at slots. */
static void scan_root(uintptr_t start, uintptr_t end, void *arg)
{
    struct search *s = arg;
    uintptr_t tables = (uintptr_t)records_first_block;
    uintptr_t tables_end = tables + FIRST_BLOCK_BYTES;
    if (is_own(start) || start == (uintptr_t)s->table.start)
        return;
    if (s->frame > start && s->frame < end)
        start = s->frame;
    if (tables >= start && tables < end) {
        scan(s, start, tables);
        scan_blocks(s);
        start = min_size(tables_end, end);
    } else if (tables_end > start && tables_end < end && tables < start) {
        start = tables_end;
    }
    scan(s, start, end);
    scan_blocks(s);
}

static void add(struct leak_count *count, size_t bytes)
{
    count->blocks++;
    count->bytes += bytes;
}

static void own_from(struct search *s, size_t k)
{
    s->current = k;
    meet(s, k);
    scan_blocks(s);
}

/* Which lost block leads to which: those that no other points to own what they reach; of a ring its first block does. */
static void find_owners(struct search *s)
{
    s->pass = PASS_POINT;
    for (size_t k = 0; k < s->n_blocks; k++) {
        s->current = k;
        if (!s->blocks[k].is_marked)
            scan(s, s->blocks[k].start, s->blocks[k].start + s->blocks[k].bytes);
    }
    s->pass = PASS_OWN;
    for (size_t k = 0; k < s->n_blocks; k++) {
        if (!s->blocks[k].is_marked && !s->blocks[k].is_pointed)
            own_from(s, k);
    }
    for (size_t k = 0; k < s->n_blocks; k++) {
        if (!s->blocks[k].is_marked && !s->blocks[k].is_owned)
            own_from(s, k);
    }
}

static uint32_t site_at(uintptr_t start)
{
    struct block_facts facts;
    return blocks_at(start, &facts) && facts.freed.thread == 0 ? facts.made.site
                                                               : (uint32_t)SITE_NONE;
}

/* With what the program asked for, where it is recorded. */
static void add_site(const struct search *s, size_t k, size_t bytes, struct leak_sites *sites)
{
    const struct block *b = &s->blocks[k];
    struct leak_site one = {.site = site_at(b->start), .blocks = 1, .bytes = bytes};
    one.kind = b->is_marked ? LEAK_REACHABLE : s->owners[k] == k ? LEAK_LOST : LEAK_BELOW;
    if (one.kind == LEAK_BELOW)
        one.owner = site_at(s->blocks[s->owners[k]].start);
    leak_sites_add(sites, &one);
}

static void find_sites(struct search *s, struct leaks *found)
{
    if (!record_is_on || !leak_sites_begin(&found->sites, s->n_blocks))
        return;
    find_owners(s);
    for (size_t k = 0; k < s->n_blocks; k++) {
        size_t asked = record_requested(s->blocks[k].start);
        add_site(s, k, asked != SIZE_MAX ? asked : s->blocks[k].bytes, &found->sites);
    }
    leak_sites_sort(&found->sites);
}

static void count_found(const struct search *s, struct leaks *found)
{
    *found = (struct leaks){.lost = {0, 0}};
    for (size_t i = 0; i < s->n_blocks; i++) {
        const struct block *b = &s->blocks[i];
        size_t asked = record_requested(b->start);
        add(b->is_marked ? &found->reachable : &found->lost, asked != SIZE_MAX ? asked : b->bytes);
        if (!b->is_marked)
            add(&found->lost_by_class[b->bytes <= SMALL_MAX ? class_of(b->bytes) : CLASS_COUNT],
                b->bytes);
    }
}

NOINLINE bool leaks_find(struct leaks *found)
{
    struct search s = {.pid = (int)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0)};
    *found = (struct leaks){.lost = {0, 0}};
    if (!window_is_open())
        return true;
    if (!map_table(&s))
        return false;
    walk_blocks(0, SIZE_MAX, note_block, &s);
    __builtin_unwind_init(); /* registers of the caller, into this frame */
    s.frame = (uintptr_t)__builtin_frame_address(0) - 256;
    bool ok = proc_visit_writable(scan_root, &s);
    if (ok) {
        count_found(&s, found);
        find_sites(&s, found);
    }
    pages_unmap(PAGES_LOOK, s.table.start, s.table.bytes);
    return ok;
}

static void add_count(struct writer *w, const struct leak_count *count)
{
    writer_add_unsigned(w, count->blocks);
    writer_add(w, " blocks, ");
    writer_add_unsigned(w, count->bytes);
    writer_add(w, " bytes");
}

static void print_for_people(struct writer *w, const struct leaks *found)
{
    writer_add(w, "  lost: ");
    add_count(w, &found->lost);
    writer_add(w, "\n  still reachable: ");
    add_count(w, &found->reachable);
    writer_add(w, "\n");
    if (found->sites.sites != NULL) {
        leak_sites_print(&found->sites, w, MOST_SITES);
        return;
    }
    for (unsigned c = 0; c <= CLASS_COUNT; c++) {
        const struct leak_count *count = &found->lost_by_class[c];
        if (count->blocks == 0)
            continue;
        writer_add_column(w, count->blocks, 12);
        writer_add(w, c < CLASS_COUNT ? " lost of " : " lost of more than ");
        writer_add_unsigned(w, c < CLASS_COUNT ? size_classes[c].size : SMALL_MAX);
        writer_add(w, " bytes\n");
    }
}

static void print_for_command(struct writer *w, const struct leaks *found)
{
    const size_t numbers[] = {found->lost.blocks, found->lost.bytes, found->reachable.blocks,
                              found->reachable.bytes};
    writer_add(w, "process ");
    writer_add_unsigned(w, (uint64_t)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        writer_add(w, " ");
        writer_add_unsigned(w, numbers[i]);
    }
    writer_add(w, "\n");
    for (unsigned c = 0; c <= CLASS_COUNT; c++) {
        const struct leak_count *count = &found->lost_by_class[c];
        if (count->blocks == 0)
            continue;
        writer_add(w, "lost ");
        writer_add_unsigned(w, c < CLASS_COUNT ? size_classes[c].size : 0);
        writer_add(w, " ");
        writer_add_unsigned(w, count->blocks);
        writer_add(w, " ");
        writer_add_unsigned(w, count->bytes);
        writer_add(w, "\n");
    }
}

void leaks_print(const struct leaks *found, int fd)
{
    struct writer w;
    writer_begin(&w, fd);
    print_for_people(&w, found);
    writer_end(&w);
}

void leaks_tell(const struct leaks *found, int fd)
{
    struct writer w;
    /* Of one process at a time: processes that share the descriptor share its place in the file. */
    struct flock lock = {.l_type = F_WRLCK};
    syscall6(SYS_fcntl, fd, F_SETLKW, (long)&lock, 0, 0, 0);
    writer_begin(&w, fd);
    print_for_command(&w, found);
    leak_sites_tell(&found->sites, &w);
    writer_end(&w);
    lock.l_type = F_UNLCK;
    syscall6(SYS_fcntl, fd, F_SETLK, (long)&lock, 0, 0, 0);
}

void leaks_forget(struct leaks *found)
{
    leak_sites_end(&found->sites);
}
