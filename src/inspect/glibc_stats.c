#define _GNU_SOURCE
#include "inspect/glibc_stats.h"

#include "conf/conf.h"
#include "inspect/leaks.h"
#include "inspect/ledger.h"
#include "inspect/writer.h"
#include "os/syscall.h"

#include <errno.h>
#include <fcntl.h>

static size_t part_bytes(const struct ration_stats *s, enum ration_part part)
{
    return s->parts[part].mapped_bytes;
}

static size_t used_bytes(const struct ration_stats *s)
{
    return part_bytes(s, RATION_PART_LIVE_SMALL) + part_bytes(s, RATION_PART_LIVE_LARGE);
}

static size_t free_slots(const struct ration_class_stats *k)
{
    return k->slots - k->live;
}

/* hblks: large blocks. uordblks + fordblks = arena: everything mapped that can hold blocks. */
struct mallinfo2 stats_mallinfo2(void)
{
    struct ration_stats s;
    ledger_take_own(&s, false);
    size_t chunks = s.free_runs;
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        chunks += free_slots(&s.classes[c]);
    return (struct mallinfo2){
        .arena = ledger_heap_bytes(&s),
        .ordblks = chunks,
        .hblks = s.live_large_blocks,
        .hblkhd = part_bytes(&s, RATION_PART_LIVE_LARGE),
        .uordblks = used_bytes(&s),
        .fordblks = ledger_heap_bytes(&s) - used_bytes(&s),
        .keepcost = part_bytes(&s, RATION_PART_DIRTY),
    };
}

static void print_sizes(FILE *stream, const struct ration_stats *s)
{
    fputs("<sizes>\n", stream);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        size_t from = c == 0 ? 1 : s->classes[c - 1].slot_bytes + 1;
        if (free_slots(k) != 0)
            fprintf(stream, "  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n", from,
                    k->slot_bytes, free_slots(k) * k->slot_bytes, free_slots(k));
    }
    fputs("</sizes>\n", stream);
}

static void print_classes(FILE *stream, const struct ration_stats *s)
{
    fputs("<ration>\n", stream);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct ration_class_stats *k = &s->classes[c];
        if (k->slabs != 0)
            fprintf(stream, "  <class size=\"%zu\" slabs=\"%zu\" slots=\"%zu\" live=\"%zu\"/>\n",
                    k->slot_bytes, k->slabs, k->slots, k->live);
    }
    fprintf(stream,
            "  <runs dirty=\"%zu\" clean=\"%zu\" void=\"%zu\" records=\"%zu\"/>\n</ration>\n",
            part_bytes(s, RATION_PART_DIRTY), part_bytes(s, RATION_PART_CLEAN), s->unmapped_bytes,
            part_bytes(s, RATION_PART_TABLES));
}

int stats_malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct ration_stats s;
    ledger_take_own(&s, false);
    size_t heap = ledger_heap_bytes(&s);
    fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", stream);
    print_sizes(stream, &s);
    fputs("</heap>\n", stream);
    fputs("<total type=\"fast\" count=\"0\" size=\"0\"/>\n", stream);
    fprintf(stream, "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n", heap - used_bytes(&s));
    fprintf(stream, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", s.live_large_blocks,
            part_bytes(&s, RATION_PART_LIVE_LARGE));
    fprintf(stream, "<system type=\"current\" size=\"%zu\"/>\n", heap);
    fprintf(stream, "<system type=\"max\" size=\"%zu\"/>\n", heap + s.unmapped_bytes);
    fprintf(stream, "<aspace type=\"total\" size=\"%zu\"/>\n", heap);
    fprintf(stream, "<aspace type=\"mprotect\" size=\"%zu\"/>\n", heap);
    print_classes(stream, &s);
    fputs("</malloc>\n", stream);
    return 0;
}

void stats_print(void)
{
    struct ration_stats s;
    ration_stats_read(&s);
    ration_stats_write_text(&s, 2);
}

/* Many programs close stderr before libraries end (coreutils, to hear about a full disk): the ledger
 * goes to a copy of it. Of several constructors in this library that of core/life.c, which reads the
 * options, is linked first and runs first. */
static int end_fd = -1;

__attribute__((constructor)) static void keep_stderr(void)
{
    enum { OUT_OF_THE_WAY = 200 };
    if (conf.stats || conf.leaks == 1) {
        long fd = syscall6(SYS_fcntl, 2, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY, 0, 0, 0);
        end_fd = fd >= 0 ? (int)fd : 2;
    }
}

static void add_command(struct writer *w)
{
    char name[64];
    int64_t n = os->read_file("/proc/self/comm", name, sizeof name);
    if (n > 1) {
        writer_add(w, " (");
        writer_add_bytes(w, name, (size_t)n - 1);
        writer_add(w, ")");
    }
}

/* Several processes may write to the same place: each says who it is. */
static void print_heading(void)
{
    struct writer w;
    writer_begin(&w, end_fd);
    writer_add(&w, "ration[");
    writer_add_unsigned(&w, (uint64_t)syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0));
    writer_add(&w, "]");
    add_command(&w);
    writer_add(&w, " at its end\n");
    writer_end(&w);
}

static void look_for_leaks(void)
{
    struct leaks found;
    static const char failed[] = "  no search for lost blocks: no memory or no /proc\n";
    if (!leaks_find(&found))
        os->write_error(failed, sizeof failed - 1);
    else if (conf.leaks == 1)
        leaks_print(&found, end_fd);
    else
        leaks_tell(&found, conf.leaks);
    leaks_forget(&found);
}

static NOINLINE void print_at_exit(void)
{
    struct ration_stats s;
    if (end_fd >= 0)
        print_heading();
    if (conf.leaks)
        look_for_leaks();
    if (conf.stats) {
        ration_stats_read(&s);
        ration_stats_write_text(&s, end_fd);
    }
}

/* Every process runs this: it lies with what starts one (layout.ld). */
__attribute__((destructor)) static void process_ends(void)
{
    if (UNLIKELY(end_fd >= 0 || conf.leaks || conf.stats))
        print_at_exit();
}
