#define _GNU_SOURCE
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 192 * 1024, MOST_VARIANTS = 160 };

/* --- misuse --- */

struct ration_misuse last_misuse;
unsigned n_misuses;

static void keep_misuse(const struct ration_misuse *misuse)
{
    last_misuse = *misuse;
    n_misuses++;
}

void misuse_forget(void)
{
    last_misuse = (struct ration_misuse){0};
    n_misuses = 0;
    ration_misuse_handler(keep_misuse);
}

void require_misuse(const struct variant *variant, enum ration_misuse_kind kind, const char *what)
{
    if (n_misuses != 1 || last_misuse.kind != kind) {
        print_error("%s: %s: %u reports, expected one of \"%s\", got \"%s\"\n", variant->name, what,
                    n_misuses, ration_misuse_kind_name(kind),
                    n_misuses != 0 ? ration_misuse_kind_name(last_misuse.kind) : "none");
        fail();
    }
    n_misuses = 0; /* its details stay readable */
}

void require_sound(struct ration_heap *heap, const char *when)
{
    struct ration_finding finding;
    if (ration_heap_check(heap, &finding) != 0) {
        print_error("%s '%s' %s: I%u broken at %p: %s\n", ration_heap_kind(heap),
                    ration_heap_name(heap), when, finding.invariant, finding.address, finding.text);
        fail();
    }
}

/* --- what heaps stand on --- */

static void *take_counted(void *context, size_t bytes, size_t alignment)
{
    struct subject *subject = context;
    const struct ration_source *plain = ration_source_malloc();
    void *memory = plain->take(plain->context, bytes, alignment);
    if (memory != NULL) {
        subject->n_source_takes++;
        subject->source_bytes += bytes;
    }
    return memory;
}

static void give_counted(void *context, void *memory, size_t bytes)
{
    struct subject *subject = context;
    const struct ration_source *plain = ration_source_malloc();
    plain->give(plain->context, memory, bytes);
    subject->n_source_gives++;
    subject->source_bytes -= bytes;
}

/* sbrk(2) over the subject's buffer. */
static void *move_brk(void *context, intptr_t increment)
{
    struct subject *subject = context;
    char *old = subject->brk;
    size_t used = (size_t)(old - subject->buffer);
    if (increment > 0 && (size_t)increment > subject->buffer_bytes - used)
        return (void *)-1;
    subject->brk += increment;
    return old;
}

static struct ration_heap *start_fit(struct subject *subject, const struct variant *variant)
{
    struct ration_fit_options o = variant->options.fit;
    if (!(variant->traits & GROWS))
        return ration_fit_init(&subject->fit, subject->buffer, subject->buffer_bytes, &o);
    o.grow = move_brk;
    o.grow_context = subject;
    return ration_fit_init(&subject->fit, NULL, 0, &o);
}

static struct ration_heap *start_buddy(struct subject *subject, const struct variant *variant)
{
    return ration_buddy_init(&subject->buddy, subject->buffer, subject->buffer_bytes,
                             &variant->options.buddy);
}

static struct ration_heap *start_tlsf(struct subject *subject, const struct variant *variant)
{
    return ration_tlsf_init(&subject->tlsf, subject->buffer, subject->buffer_bytes,
                            &variant->options.tlsf);
}

static struct ration_heap *start_pool(struct subject *subject, const struct variant *variant)
{
    struct ration_pool_options o = variant->options.pool;
    o.buffer = subject->buffer;
    o.buffer_bytes = subject->buffer_bytes;
    o.source = &subject->source;
    return ration_pool_init(&subject->pool, &o);
}

static struct ration_heap *start_arena(struct subject *subject, const struct variant *variant)
{
    struct ration_arena_options o = variant->options.arena;
    o.buffer = subject->buffer;
    o.buffer_bytes = subject->buffer_bytes;
    if (subject->buffer == NULL || o.limit_bytes != 0)
        o.source = &subject->source;
    return ration_arena_init(&subject->arena, &o);
}

static struct ration_heap *start_private(struct subject *subject, const struct variant *variant)
{
    return ration_private_init(&subject->own, &variant->options.own);
}

static struct ration_heap *start_stacks(struct subject *subject, const struct variant *variant)
{
    return ration_stacks_init(&subject->stacks, &variant->options.stacks);
}

struct ration_heap *subject_start(struct subject *subject, const struct variant *variant)
{
    memset(subject, 0, sizeof *subject);
    subject->source =
        (struct ration_source){.take = take_counted, .give = give_counted, .context = subject};
    subject->buffer_bytes = variant->buffer_bytes;
    if (variant->buffer_bytes != 0) {
        /* Of its own pages, so that a sanitizer sees every byte outside. */
        subject->buffer = aligned_alloc(4096, (variant->buffer_bytes + 4095) / 4096 * 4096);
        memset(subject->buffer, 0xa5, variant->buffer_bytes);
    }
    subject->brk = subject->buffer;
    ration_heaps_passthrough((variant->traits & THROUGH) != 0);
    struct ration_heap *heap = variant->start(subject, variant);
    ration_heaps_passthrough(false);
    misuse_forget();
    CHECK(variant, heap == &subject->heap);
    require_sound(heap, "at the start");
    return heap;
}

void subject_end(struct subject *subject)
{
    ration_heap_destroy(&subject->heap);
    assert_int_equal(subject->n_source_takes, subject->n_source_gives);
    assert_int_equal(subject->source_bytes, 0);
    free(subject->buffer);
    assert_int_equal(n_misuses, 0);
}

/* --- the list --- */

static struct variant list[MOST_VARIANTS];
static size_t n_list;

static struct variant *add(unsigned traits, size_t most_bytes, size_t most_alignment,
                           struct ration_heap *(*start)(struct subject *, const struct variant *),
                           size_t buffer_bytes)
{
    if (n_list == MOST_VARIANTS)
        abort();
    struct variant *v = &list[n_list++];
    *v = (struct variant){.traits = traits,
                          .most_bytes = most_bytes,
                          .most_alignment = most_alignment,
                          .start = start,
                          .buffer_bytes = buffer_bytes};
    return v;
}

static void add_fit(struct ration_fit_options o, const char *extra, unsigned traits)
{
    static const char *const policies[] = {"segregated", "first", "next", "best", "worst"};
    static const char *const orders[] = {"lifo", "address", "size", "implicit"};
    static const char *const merging[] = {"immediate", "deferred", "never"};
    unsigned reuses = o.coalescing != RATION_FIT_NEVER && !o.no_splitting ? REUSES : 0;
    struct variant *v = add(HAS_TAGS | reuses | traits, 4000, 4096, start_fit, BUFFER_BYTES);
    snprintf(v->name, sizeof v->name, "fit %s/%s/%s%s", policies[o.policy], orders[o.order],
             merging[o.coalescing], extra);
    o.name = v->name;
    v->options.fit = o;
}

static void add_fits(void)
{
    for (unsigned policy = 0; policy <= RATION_FIT_WORST; policy++)
        for (unsigned order = 0; order <= RATION_FIT_IMPLICIT; order++)
            for (unsigned merge = 0; merge <= RATION_FIT_NEVER; merge++)
                if (policy != RATION_FIT_SEGREGATED || order != RATION_FIT_IMPLICIT)
                    add_fit((struct ration_fit_options){.policy = policy,
                                                        .order = order,
                                                        .coalescing = merge,
                                                        .defer_frees = policy * 16},
                            "", 0);
    add_fit((struct ration_fit_options){.alignment = 8}, "/8 bytes", 0);
    add_fit((struct ration_fit_options){.alignment = 8, .policy = RATION_FIT_NEXT}, "/8 bytes", 0);
    add_fit((struct ration_fit_options){.class_steps = 1}, "/powers of two", 0);
    add_fit((struct ration_fit_options){.no_splitting = true}, "/whole/grows", GROWS);
    add_fit((struct ration_fit_options){.min_remainder_bytes = 128}, "/rest 128", 0);
    add_fit((struct ration_fit_options){.secret = 0x1234567890abcdefU}, "/secret", 0);
    add_fit((struct ration_fit_options){.grow_bytes = 4096}, "/grows", GROWS);
    add_fit((struct ration_fit_options){.policy = RATION_FIT_NEXT, .order = RATION_FIT_IMPLICIT},
            "/grows", GROWS);
    add_fit((struct ration_fit_options){0}, "/passthrough", THROUGH);
}

static void add_buddy(struct ration_buddy_options o, const char *extra, size_t bytes,
                      unsigned traits)
{
    struct variant *v =
        add(REUSES | traits, 4000, o.min_block != 0 ? o.min_block : 32, start_buddy, bytes);
    snprintf(v->name, sizeof v->name, "buddy%s", extra);
    o.name = v->name;
    v->options.buddy = o;
}

static void add_buddies(void)
{
    static unsigned char table[BUFFER_BYTES / 64];
    add_buddy((struct ration_buddy_options){0}, "", BUFFER_BYTES, 0);
    add_buddy((struct ration_buddy_options){.min_block = 16}, "/16", BUFFER_BYTES - 4312, 0);
    add_buddy(
        (struct ration_buddy_options){
            .min_block = 64, .alignment = 4096, .table = table, .table_bytes = sizeof table},
        "/64/table apart", BUFFER_BYTES, 0);
    add_buddy((struct ration_buddy_options){0}, "/passthrough", BUFFER_BYTES, THROUGH);
}

static void add_tlsfs(void)
{
    static const char *const names[] = {"tlsf", "tlsf/secret", "tlsf/passthrough"};
    for (unsigned i = 0; i < 3; i++) {
        struct variant *v =
            add(HAS_TAGS | REUSES | (i == 2 ? THROUGH : 0), 4000, 4096, start_tlsf, BUFFER_BYTES);
        snprintf(v->name, sizeof v->name, "%s", names[i]);
        v->options.tlsf =
            (struct ration_tlsf_options){.name = v->name, .secret = i == 1 ? 0xfeedfaceU : 0};
    }
}

static void add_pools(void)
{
    static const struct {
        const char *name;
        unsigned flags, traits;
        size_t bytes, n, buffer_bytes;
    } rows[] = {
        {"pool/fixed", 0, 0, 48, 300, 0},
        {"pool/buffer", 0, 0, 24, 0, 20000},
        {"pool/growing", RATION_POOL_GROWING, GROWS, 100, 16, 0},
        {"pool/shared", RATION_POOL_SHARED, SHARED, 64, 300, 0},
        {"pool/shared/growing", RATION_POOL_SHARED | RATION_POOL_GROWING, SHARED | GROWS, 72, 16,
         0},
        {"pool/passthrough", 0, THROUGH, 48, 300, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct variant *v = add(FIXED_SIZE | REUSES | MOVES_NEVER | rows[i].traits, rows[i].bytes,
                                8, start_pool, rows[i].buffer_bytes);
        if (rows[i].bytes % 8 != 0)
            v->most_alignment = 4;
        snprintf(v->name, sizeof v->name, "%s", rows[i].name);
        v->options.pool = (struct ration_pool_options){.name = v->name,
                                                       .object_bytes = rows[i].bytes,
                                                       .n_objects = rows[i].n,
                                                       .flags = rows[i].flags};
    }
}

static void add_arenas(void)
{
    static const struct {
        const char *name;
        unsigned traits, grain;
        size_t buffer_bytes, chunk_bytes, limit_bytes;
    } rows[] = {
        {"arena/buffer", 0, 0, BUFFER_BYTES, 0, 0},
        {"arena/chunks", GROWS, 0, 0, 8192, 0},
        {"arena/chunks/8 bytes", GROWS, 8, 0, 1000, 0},
        {"arena/buffer/limit", 0, 16, 10000, 4096, 100000},
        {"arena/limit", 0, 16, 0, 16384, 100000},
        {"arena/passthrough", THROUGH, 16, BUFFER_BYTES, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct variant *v = add(rows[i].traits, 3000, 4096, start_arena, rows[i].buffer_bytes);
        snprintf(v->name, sizeof v->name, "%s", rows[i].name);
        v->options.arena = (struct ration_arena_options){.name = v->name,
                                                         .chunk_bytes = rows[i].chunk_bytes,
                                                         .limit_bytes = rows[i].limit_bytes,
                                                         .grain = rows[i].grain};
    }
}

static void add_others(void)
{
    static const char *const privates[] = {"private", "private/small steps", "private/passthrough"};
    for (unsigned i = 0; i < 3; i++) {
        struct variant *v =
            add(HAS_TAGS | REUSES | SHARED | (i == 2 ? THROUGH : 0), 4000, 4096, start_private, 0);
        snprintf(v->name, sizeof v->name, "%s", privates[i]);
        v->options.own = (struct ration_private_options){
            .name = v->name, .limit_bytes = 200000, .grow_bytes = i == 1 ? 4096 : 0};
    }
    static const char *const stacks[] = {"stacks", "stacks/passthrough"};
    for (unsigned i = 0; i < 2; i++) {
        struct variant *v =
            add(FIXED_SIZE | REUSES | MOVES_NEVER | ALIGNS_PAGES | (i == 1 ? THROUGH : 0), 8192,
                (size_t)sysconf(_SC_PAGESIZE), start_stacks, 0);
        snprintf(v->name, sizeof v->name, "%s", stacks[i]);
        v->options.stacks =
            (struct ration_stacks_options){.name = v->name, .stack_bytes = 8192, .n_stacks = 40};
    }
}

const struct variant *variants_all(size_t *n)
{
    if (n_list == 0) {
        add_fits();
        add_buddies();
        add_tlsfs();
        add_pools();
        add_arenas();
        add_others();
    }
    *n = n_list;
    return list;
}

int run_for_variants(const char *group, const struct variant_test *tests, size_t n_tests)
{
    size_t n_variants;
    const struct variant *all = variants_all(&n_variants);
    struct CMUnitTest *units = calloc(n_tests * n_variants, sizeof *units);
    size_t n = 0;
    for (size_t i = 0; i < n_tests; i++) {
        for (size_t k = 0; k < n_variants; k++) {
            unsigned traits = all[k].traits;
            if ((traits & tests[i].with) != tests[i].with || (traits & tests[i].without) != 0)
                continue;
            char *name;
            if (asprintf(&name, "%s: %s", tests[i].name, all[k].name) < 0)
                abort();
            units[n++] = (struct CMUnitTest){.name = name,
                                             .test_func = tests[i].test,
                                             .initial_state = (void *)(uintptr_t)&all[k]};
        }
    }
    int failed = _cmocka_run_group_tests(group, units, n, NULL, NULL);
    while (n-- > 0)
        free((void *)(uintptr_t)units[n].name);
    free(units);
    return failed;
}
