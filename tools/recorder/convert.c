#include "convert.h"
#include "../lab/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Live blocks by address: open addressing, a hole is address 0, deletion moves followers up. */
struct address_map {
    struct slot {
        uint64_t address;
        uint32_t id;
    } * slots;
    size_t capacity; /* a power of two */
    size_t count;
};

static size_t place_of(const struct address_map *map, uint64_t address)
{
    return (size_t)((address >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (map->capacity - 1);
}

static struct slot *find(const struct address_map *map, uint64_t address)
{
    size_t place = place_of(map, address);
    while (map->slots[place].address != 0 && map->slots[place].address != address)
        place = (place + 1) & (map->capacity - 1);
    return &map->slots[place];
}

static void widen(struct address_map *map)
{
    const struct address_map old = *map;
    map->capacity = old.capacity > 0 ? 2 * old.capacity : 4096;
    map->slots = lab_allocate(map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].address != 0)
            *find(map, old.slots[i].address) = old.slots[i];
    free(old.slots);
}

static void put(struct address_map *map, uint64_t address, uint32_t id)
{
    if (2 * (map->count + 1) > map->capacity)
        widen(map);
    *find(map, address) = (struct slot){address, id};
    map->count++;
}

/* Takes `address` out; false when it is not there. */
static bool take(struct address_map *map, uint64_t address, uint32_t *id)
{
    if (map->capacity == 0)
        return false;
    struct slot *slot = find(map, address);
    if (slot->address == 0)
        return false;
    *id = slot->id;
    map->count--;
    size_t hole = (size_t)(slot - map->slots);
    for (size_t at = (hole + 1) & (map->capacity - 1); map->slots[at].address != 0;
         at = (at + 1) & (map->capacity - 1)) {
        const size_t home = place_of(map, map->slots[at].address);
        if (((at - home) & (map->capacity - 1)) >= ((at - hole) & (map->capacity - 1))) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].address = 0;
    return true;
}

/* What a thread's realloc is about, between its two records. */
struct pending {
    uint32_t id;
    uint64_t address;
    bool is_known;
};

struct converter {
    struct trace *trace;
    struct convert_notes *notes;
    struct address_map live;
    struct pending *pending; /* by thread */
    uint32_t next_id;
    bool keeps_times;
    bool classic;
};

static void add(struct converter *converter, const struct raw_record *record, enum trace_kind kind,
                uint32_t id, uint64_t size)
{
    trace_add(converter->trace, kind, id, size);
    struct trace_op *op = trace_last(converter->trace);
    if (!converter->classic) {
        op->thread = record->thread;
        op->align_shift = kind == TRACE_ALIGNED ? record->align_shift : 0;
        if (record->thread >= converter->trace->n_threads)
            converter->trace->n_threads = record->thread + 1U;
    }
    if (converter->keeps_times)
        op->time = record->time;
}

/* An address that is live already was freed by somebody whom the recorder does not see. */
static void enter(struct converter *converter, const struct raw_record *record, uint32_t id)
{
    uint32_t unseen;
    if (take(&converter->live, record->address, &unseen)) {
        converter->notes->n_unseen_frees++;
        add(converter, record, TRACE_FREE, unseen, 0);
    }
    put(&converter->live, record->address, id);
}

static void convert_allocation(struct converter *converter, const struct raw_record *record)
{
    enum trace_kind kind = TRACE_MALLOC;
    if (record->address == 0) {
        converter->notes->n_failed++;
        return;
    }
    if (!converter->classic && record->kind == RAW_CALLOC)
        kind = TRACE_CALLOC;
    if (!converter->classic && record->kind == RAW_ALIGNED)
        kind = TRACE_ALIGNED;
    enter(converter, record, converter->next_id);
    add(converter, record, kind, converter->next_id++, record->size);
}

static void convert_free(struct converter *converter, const struct raw_record *record)
{
    uint32_t id;
    if (record->address == 0)
        add(converter, record, TRACE_FREE_NULL, 0, 0);
    else if (take(&converter->live, record->address, &id))
        add(converter, record, TRACE_FREE, id, 0);
    else
        converter->notes->n_unknown_frees++;
}

static void begin_resize(struct converter *converter, const struct raw_record *record)
{
    struct pending *pending = &converter->pending[record->thread];
    *pending = (struct pending){.address = record->address};
    pending->is_known = take(&converter->live, record->address, &pending->id);
    if (!pending->is_known) {
        converter->notes->n_unknown_frees++;
        pending->id = converter->next_id++;
    }
}

static void end_resize(struct converter *converter, const struct raw_record *record)
{
    const struct pending pending = converter->pending[record->thread];
    if (record->address != 0) {
        enter(converter, record, pending.id);
        add(converter, record, TRACE_REALLOC, pending.id, record->size);
    } else if (record->size == 0 && pending.is_known) {
        add(converter, record, TRACE_FREE, pending.id, 0);
    } else if (record->size > 0) {
        converter->notes->n_failed++;
        put(&converter->live, pending.address, pending.id);
    }
}

static void convert_record(struct converter *converter, const struct raw_record *record)
{
    switch ((enum raw_kind)record->kind) {
    case RAW_EMPTY:
        converter->notes->n_unfinished++;
        break;
    case RAW_MALLOC:
    case RAW_CALLOC:
    case RAW_ALIGNED:
        convert_allocation(converter, record);
        break;
    case RAW_FREE:
        convert_free(converter, record);
        break;
    case RAW_RESIZE_BEGIN:
        begin_resize(converter, record);
        break;
    case RAW_RESIZE_END:
        end_resize(converter, record);
        break;
    }
}

static int fail(struct trace *trace, const char *path, const char *what)
{
    snprintf(trace->error, sizeof trace->error, "%s: %s", path, what);
    return -1;
}

static void convert_all(struct converter *converter, const struct raw_head *head)
{
    const struct raw_record *records = (const struct raw_record *)(head + 1);
    const uint64_t n = head->next < head->capacity ? head->next : head->capacity;
    converter->notes->n_records = n;
    converter->notes->n_lost = head->next - n;
    memcpy(converter->notes->program, head->program, sizeof head->program);
    for (uint64_t i = 0; i < n; i++)
        convert_record(converter, &records[i]);
}

int convert_raw(const char *path, int keeps_times, int classic, struct trace *trace,
                struct convert_notes *notes)
{
    trace_start(trace, path);
    *notes = (struct convert_notes){0};
    struct stat stat;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        if (fd >= 0)
            close(fd);
        return fail(trace, path, strerror(errno));
    }
    const size_t bytes = (size_t)stat.st_size;
    struct raw_head *head = bytes >= sizeof *head
                                ? mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0)
                                : MAP_FAILED;
    close(fd);
    if (head == MAP_FAILED)
        return fail(trace, path, "is too short to be a recording, or cannot be mapped");
    const bool is_whole = memcmp(head->magic, raw_magic, sizeof head->magic) == 0 &&
                          head->capacity <= (bytes - sizeof *head) / sizeof(struct raw_record);
    if (!is_whole) {
        munmap(head, bytes);
        return fail(trace, path, "is not a recording, or one of another version");
    }
    struct converter converter = {.trace = trace,
                                  .notes = notes,
                                  .pending = lab_allocate(65536, sizeof(struct pending)),
                                  .keeps_times = keeps_times != 0,
                                  .classic = classic != 0};
    convert_all(&converter, head);
    trace_finish(trace);
    free(converter.live.slots);
    free(converter.pending);
    munmap(head, bytes);
    return 0;
}
