#define _GNU_SOURCE
#include "inspect/glibc_stats.h"

#include "conf/conf.h"
#include "inspect/tally.h"
#include "os/os.h"

#include <errno.h>

/* hblks: large blocks. uordblks + fordblks = arena: everything mapped that can hold blocks. */
struct mallinfo2 stats_mallinfo2(void)
{
    struct tally t;
    tally_take(&t);
    size_t used = t.small_live_bytes + t.large_live_bytes;
    return (struct mallinfo2){
        .arena = t.mapped_bytes,
        .ordblks = (t.slab_bytes - t.small_live_bytes) / GRAIN != 0,
        .hblks = t.large_blocks,
        .hblkhd = t.large_live_bytes,
        .uordblks = used,
        .fordblks = t.mapped_bytes - used,
        .keepcost = t.dirty_bytes,
    };
}

static void print_sizes(FILE *stream, const struct tally *t)
{
    fputs("<sizes>\n", stream);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct class_tally *k = &t->classes[c];
        size_t size = size_classes[c].size;
        size_t from = c == 0 ? 1 : size_classes[c - 1].size + 1;
        if (k->slots != k->live)
            fprintf(stream, "  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n", from,
                    size, (k->slots - k->live) * size, k->slots - k->live);
    }
    fputs("</sizes>\n", stream);
}

static void print_classes(FILE *stream, const struct tally *t)
{
    fputs("<ration>\n", stream);
    for (unsigned c = 0; c < CLASS_COUNT; c++) {
        const struct class_tally *k = &t->classes[c];
        if (k->slabs != 0)
            fprintf(stream, "  <class size=\"%u\" slabs=\"%zu\" slots=\"%zu\" live=\"%zu\"/>\n",
                    size_classes[c].size, k->slabs, k->slots, k->live);
    }
    fprintf(stream,
            "  <runs dirty=\"%zu\" clean=\"%zu\" void=\"%zu\" records=\"%zu\"/>\n</ration>\n",
            t->dirty_bytes, t->clean_bytes, t->void_bytes, t->record_bytes);
}

int stats_malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct tally t;
    tally_take(&t);
    size_t used = t.small_live_bytes + t.large_live_bytes;
    fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", stream);
    print_sizes(stream, &t);
    fputs("</heap>\n", stream);
    fputs("<total type=\"fast\" count=\"0\" size=\"0\"/>\n", stream);
    fprintf(stream, "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n", t.mapped_bytes - used);
    fprintf(stream, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", t.large_blocks,
            t.large_live_bytes);
    fprintf(stream, "<system type=\"current\" size=\"%zu\"/>\n", t.mapped_bytes);
    fprintf(stream, "<system type=\"max\" size=\"%zu\"/>\n", t.mapped_bytes + t.void_bytes);
    fprintf(stream, "<aspace type=\"total\" size=\"%zu\"/>\n", t.mapped_bytes);
    fprintf(stream, "<aspace type=\"mprotect\" size=\"%zu\"/>\n", t.mapped_bytes);
    print_classes(stream, &t);
    fputs("</malloc>\n", stream);
    return 0;
}

void stats_print(void)
{
    struct tally t;
    tally_take(&t);
    tally_print(&t, os->write_error);
}

__attribute__((destructor)) static void print_at_exit(void)
{
    if (conf.stats)
        stats_print();
}
