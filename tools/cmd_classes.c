/* ration classes and ration explain: what a request of some size gets, and what it costs. Both ask
 * the library itself, so they cannot disagree with it. */
#include "command.h"
#include "json.h"
#include "launch.h"
#include <argp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { key_json = 256, most_sizes = 256 };

static const size_t address_space_bytes = (size_t)1
                                          << 47; /* a process's, with four levels of page tables */

struct asking {
    size_t sizes[most_sizes];
    int n_sizes;
    bool wants_json;
};

static const struct argp_option options[] = {
    {"json", key_json, NULL, 0, "Print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct asking *asking = state->input;
    switch (key) {
    case key_json:
        asking->wants_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (asking->n_sizes == most_sizes)
            argp_error(state, "more than %d sizes", most_sizes);
        else if (parse_size(argument, &asking->sizes[asking->n_sizes]) != 0)
            argp_error(state, "'%s' is not a size; expected bytes, as in 100, 0x40, 16k or 2M",
                       argument);
        else
            asking->n_sizes++;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp classes_argp = {
    options,
    parse_option,
    "[SIZE...]",
    "List the size classes, or say what blocks of the given sizes really take.\v"
    "  ration classes\n"
    "  ration classes 24 100 1000 1M",
    NULL,
    NULL,
    NULL,
};

static const struct argp explain_argp = {
    options,
    parse_option,
    "SIZE",
    "Explain the way of a request of SIZE bytes through the allocator, with its cost measured "
    "here and now.\v"
    "  ration explain 100\n"
    "  ration explain 2M",
    NULL,
    NULL,
    NULL,
};

/* What one block of the class brings along. */
struct class_facts {
    size_t slot_bytes;
    size_t slots; /* in a slab */
    size_t slab_bytes;
    size_t batch;    /* slots that a thread takes at once */
    double first_ns; /* the first block of the class, touched and freed */
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static size_t slabs_bytes(const struct ration_stats *stats)
{
    static const enum ration_part parts[] = {RATION_PART_LIVE_SMALL, RATION_PART_HELD_BACK,
                                             RATION_PART_CACHED, RATION_PART_FREE,
                                             RATION_PART_TAILS};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        bytes += stats->parts[parts[i]].mapped_bytes;
    return bytes;
}

/* The class had a slab before anybody asked (the library opens one at its start): fills it. */
static size_t measure_next_slab(const struct library *library, unsigned c,
                                const struct ration_stats *before)
{
    const struct ration_class_stats *k = &before->classes[c];
    void **blocks = calloc(k->slots + 1, sizeof *blocks);
    struct ration_stats after;
    for (size_t i = 0; blocks != NULL && i <= k->slots; i++)
        blocks[i] = library->malloc(k->slot_bytes);
    library->stats_read(&after);
    for (size_t i = 0; blocks != NULL && i <= k->slots; i++)
        library->free(blocks[i]);
    free(blocks);
    const size_t new_slabs = after.classes[c].slabs - k->slabs;
    return new_slabs > 0 ? (slabs_bytes(&after) - slabs_bytes(before)) / new_slabs : 0;
}

static void learn_class(const struct library *library, unsigned c, struct class_facts *facts)
{
    struct ration_stats before, after;
    library->stats_read(&before);
    facts->slot_bytes = before.classes[c].slot_bytes;
    const double start = now_ns();
    char *block = library->malloc(facts->slot_bytes);
    *(volatile char *)block = 1;
    facts->first_ns = now_ns() - start;
    library->stats_read(&after);
    library->free(block);
    const struct ration_class_stats *k = &after.classes[c];
    facts->slots = k->slabs > 0 ? k->slots / k->slabs : 0;
    facts->batch = k->live + k->cached;
    facts->slab_bytes = k->slabs > before.classes[c].slabs
                            ? slabs_bytes(&after) - slabs_bytes(&before)
                            : measure_next_slab(library, c, &after);
}

static void learn_classes(const struct library *library,
                          struct class_facts facts[RATION_CLASS_COUNT])
{
    library->free(library->malloc(100000)); /* the start of the heap is nobody's first block */
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++)
        learn_class(library, c, &facts[c]);
}

static void print_classes(const struct class_facts *facts)
{
    puts("class    from      to  slots in slab  slab KiB  at once  slack at most");
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++) {
        const size_t from = c == 0 ? 1 : facts[c - 1].slot_bytes + 1;
        printf("%5u %7zu %7zu %14zu %9zu %8zu %12.1f %%\n", c, from, facts[c].slot_bytes,
               facts[c].slots, facts[c].slab_bytes / 1024, facts[c].batch,
               100.0 * (double)(facts[c].slot_bytes - from) / (double)facts[c].slot_bytes);
    }
    printf("Above %zu bytes: whole pages, a run of their own.\n",
           facts[RATION_CLASS_COUNT - 1].slot_bytes);
}

static void print_classes_json(const struct class_facts *facts)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_open_array(&json, "classes");
    for (unsigned c = 0; c < RATION_CLASS_COUNT; c++) {
        json_open_object(&json, NULL);
        json_size(&json, "class", c);
        json_size(&json, "from_bytes", c == 0 ? 1 : facts[c - 1].slot_bytes + 1);
        json_size(&json, "slot_bytes", facts[c].slot_bytes);
        json_size(&json, "slots", facts[c].slots);
        json_size(&json, "slab_bytes", facts[c].slab_bytes);
        json_size(&json, "batch", facts[c].batch);
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

/* -1: a large block. */
static int class_of_usable(const struct class_facts *facts, size_t usable)
{
    for (int c = 0; c < RATION_CLASS_COUNT; c++)
        if (facts[c].slot_bytes == usable)
            return c;
    return -1;
}

static void print_sizes(const struct library *library, const struct asking *asking,
                        const struct class_facts *facts)
{
    puts("      request        usable         slack   %  served from");
    for (int i = 0; i < asking->n_sizes; i++) {
        const size_t n = asking->sizes[i], usable = library->good_size(n);
        const int c = class_of_usable(facts, usable);
        printf("%13zu %13zu", n, usable);
        if (usable < n || usable >= address_space_bytes) {
            puts("             -   -  nothing: it is too large");
            continue;
        }
        printf(" %13zu %3.0f  ", usable - n, 100.0 * (double)(usable - n) / (double)usable);
        if (c >= 0)
            printf("class %d\n", c);
        else
            puts("pages of its own");
    }
}

static void print_sizes_json(const struct library *library, const struct asking *asking,
                             const struct class_facts *facts)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_open_array(&json, "sizes");
    for (int i = 0; i < asking->n_sizes; i++) {
        const size_t usable = library->good_size(asking->sizes[i]);
        const int c = class_of_usable(facts, usable);
        json_open_object(&json, NULL);
        json_size(&json, "request_bytes", asking->sizes[i]);
        json_size(&json, "usable_bytes", usable);
        if (c >= 0)
            json_integer(&json, "class", c);
        else
            json_null(&json, "class");
        json_close_object(&json);
    }
    json_close_array(&json);
    json_close_object(&json);
    json_end(&json);
}

static int run_classes(int argc, char **argv)
{
    struct asking asking = {.n_sizes = 0};
    struct library library;
    struct class_facts facts[RATION_CLASS_COUNT];
    argp_parse(&classes_argp, argc, argv, 0, NULL, &asking);
    const int status = library_open(&library, NULL, "classes");
    if (status != EXIT_FINE)
        return status;
    learn_classes(&library, facts);
    if (asking.n_sizes == 0)
        (asking.wants_json ? print_classes_json : print_classes)(facts);
    else
        (asking.wants_json ? print_sizes_json : print_sizes)(&library, &asking, facts);
    return EXIT_FINE;
}

const struct command command_classes = {
    .name = "classes",
    .what = "the size classes, or what given sizes really take",
    .argp = &classes_argp,
    .run = run_classes,
};

/* Nanoseconds for a pair of malloc and free, the least of several rounds. */
struct costs {
    double first;      /* one pair, the first of this size, its page faults included */
    double same_again; /* the block is freed before the next is asked for */
    double many;       /* many are live at once, freed in the order they came */
    size_t n_many;
};

static double time_same(const struct library *library, size_t n, int pairs)
{
    const double start = now_ns();
    for (int i = 0; i < pairs; i++) {
        char *volatile block = library->malloc(n);
        library->free(block);
    }
    return (now_ns() - start) / pairs;
}

static double time_many(const struct library *library, size_t n, void **blocks, size_t count)
{
    const double start = now_ns();
    for (size_t i = 0; i < count; i++)
        blocks[i] = library->malloc(n);
    for (size_t i = 0; i < count; i++)
        library->free(blocks[i]);
    return (now_ns() - start) / (double)count;
}

static int measure(const struct library *library, size_t n, struct costs *costs)
{
    enum { rounds = 9, memory_at_once = 16 << 20 };
    static void *blocks[1000];
    const size_t usable = library->good_size(n);
    *costs = (struct costs){.same_again = 1e18, .many = 1e18};
    costs->n_many = usable > 0 ? (size_t)memory_at_once / usable : 0;
    costs->n_many = costs->n_many < 2 ? 2 : costs->n_many > 1000 ? 1000 : costs->n_many;
    const double start = now_ns();
    char *block = usable >= n ? library->malloc(n) : NULL;
    if (block == NULL)
        return -1;
    *(volatile char *)block = 1;
    library->free(block);
    costs->first = now_ns() - start;
    for (int i = 0; i < rounds; i++) {
        const double same = time_same(library, n, 20000);
        const double many = time_many(library, n, blocks, costs->n_many);
        costs->same_again = same < costs->same_again ? same : costs->same_again;
        costs->many = many < costs->many ? many : costs->many;
    }
    return 0;
}

static void print_way_small(int c, const struct class_facts *k)
{
    printf("  1. A table gives the size class: class %d, slots of %zu bytes.\n", c, k->slot_bytes);
    printf("  2. The thread's mask of that class gives the lowest free slot. No lock, no atomic\n"
           "     operation, the block itself is not read or written. This is the usual case.\n");
    printf("  3. When the mask is empty, the state bytes of the thread's leased slab are scanned "
           "for\n     the free ones of %zu side by side, or of 64 where few are free; those freed "
           "a moment\n"
           "     ago first.\n",
           k->batch);
    printf("  4. When the slab has none, another one is leased from the class's shelf, under its "
           "lock.\n     A slab has %zu slots in %zu KiB.\n",
           k->slots, k->slab_bytes / 1024);
    puts(
        "  5. When the shelf is empty, a slab of one of the next classes, up to a quarter longer, "
        "that\n"
        "     is in memory and half free; else a run of free pages becomes a slab; one that is in\n"
        "     memory already before one that is not.");
    puts("  free() finds the slab by the address, checks that a live block starts there, and "
         "stores\n"
         "  one byte, from whatever thread.");
}

enum { NARROW_MOST = 2048 }; /* slots above it are wide (src/sizeclass/sizeclass.h) */

static void print_way_wide(int c, const struct class_facts *k)
{
    printf("  1. A table gives the size class: class %d, slots of %zu bytes.\n", c, k->slot_bytes);
    puts("  2. The thread keeps up to five slots of the class that it freed last, and takes the "
         "last one\n     first. No lock. This is the usual case.");
    printf(
        "  3. Else the lowest free slot of a slab on the class's shelf, under its lock, and up to "
        "four\n     more to keep. A slab has %zu slots in %zu KiB.\n",
        k->slots, k->slab_bytes / 1024);
    puts("  4. If that slot is not in memory, rather one of the next classes that is: up to a "
         "quarter\n"
         "     longer.");
    puts("  5. When there is none, a run of free pages becomes a slab; one that is in memory\n"
         "     already before one that is not.");
    puts("  free() finds the slab by the address, checks that a live block starts there, and keeps "
         "it\n"
         "  by one atomic exchange; the one kept longest is given back to its slab, without a "
         "lock.");
}

static void print_way_large(size_t usable)
{
    printf("  1. Above the largest size class: %zu bytes in whole pages, a run of its own.\n",
           usable);
    if (usable <= 128 << 10)
        puts(
            "  A thread that keeps freeing and asking for one length has the last such runs in its "
            "pocket:\n"
            "  it takes one without a lock. In a process of several threads, then among the runs "
            "that\n"
            "  the thread freed last. What is kept so goes back when it is as old as purge_delay.");
    puts(
        "  2. The best fit among the free runs that are still in memory is taken, under one lock;\n"
        "     else one whose pages were given back, else new pages.\n"
        "  3. free() files the run, merged with its free neighbours; after purge_delay its memory\n"
        "     goes back to the system.\n"
        "  realloc() moves pages, not bytes, from 128 KiB on.");
}

static void print_costs(size_t n, const struct costs *costs)
{
    puts("Measured here:");
    printf("  %9.1f ns  the first block of this size in a process, touched once\n", costs->first);
    printf("  %9.1f ns  malloc and free, the same block again and again\n", costs->same_again);
    printf("  %9.1f ns  malloc and free, %zu blocks at once, not touched\n", costs->many,
           costs->n_many);
    if (n == 0)
        puts("  (a request of 0 bytes is served as one of 1)");
}

static void print_explained_json(size_t n, size_t usable, int c, const struct class_facts *facts,
                                 const struct costs *costs)
{
    struct json json;
    json_begin(&json, stdout, false);
    json_open_object(&json, NULL);
    json_size(&json, "request_bytes", n);
    json_size(&json, "usable_bytes", usable);
    if (c >= 0) {
        json_integer(&json, "class", c);
        json_size(&json, "slots", facts[c].slots);
        json_size(&json, "slab_bytes", facts[c].slab_bytes);
        json_size(&json, "batch", facts[c].batch);
    } else {
        json_null(&json, "class");
    }
    json_open_object(&json, "nanoseconds");
    json_real(&json, "first", costs->first);
    json_real(&json, "same_again", costs->same_again);
    json_real(&json, "many_at_once", costs->many);
    json_close_object(&json);
    json_close_object(&json);
    json_end(&json);
}

static int run_explain(int argc, char **argv)
{
    struct asking asking = {.n_sizes = 0};
    struct library library;
    struct class_facts facts[RATION_CLASS_COUNT];
    struct costs costs;
    argp_parse(&explain_argp, argc, argv, 0, NULL, &asking);
    if (asking.n_sizes != 1)
        return command_fail("explain", EXIT_USAGE, "expected one size, as in `ration explain 100`");
    const int status = library_open(&library, NULL, "explain");
    if (status != EXIT_FINE)
        return status;
    const size_t n = asking.sizes[0];
    const size_t usable = library.good_size(n);
    learn_classes(&library, facts);
    const int c = class_of_usable(facts, usable);
    if (measure(&library, n, &costs) != 0)
        return command_fail("explain", EXIT_FINDING,
                            "%zu bytes are not to be had: malloc returns NULL with ENOMEM", n);
    if (c >= 0)
        costs.first = facts[c].first_ns;
    if (asking.wants_json) {
        print_explained_json(n, usable, c, facts, &costs);
        return EXIT_FINE;
    }
    printf("A request of %zu bytes gets %zu usable bytes (%zu more, %.0f %%).\n", n, usable,
           usable - n, 100.0 * (double)(usable - n) / (double)usable);
    if (c >= 0 && facts[c].slot_bytes > NARROW_MOST)
        print_way_wide(c, &facts[c]);
    else if (c >= 0)
        print_way_small(c, &facts[c]);
    else
        print_way_large(usable);
    print_costs(n, &costs);
    return EXIT_FINE;
}

const struct command command_explain = {
    .name = "explain",
    .what = "the way of a request through the allocator, with its cost",
    .argp = &explain_argp,
    .run = run_explain,
};
