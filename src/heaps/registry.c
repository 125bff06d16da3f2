/* The list of published heaps (registry.h), and the table of their figures. */
#include "base/atomics.h"
#include "base/fmt.h"
#include "heaps/internal.h"

static struct ration_registry registry = {.version = RATION_REGISTRY_VERSION,
                                          .handle_bytes = sizeof(struct ration_heap)};
static uint32_t published_lock;

static void lock_published(void)
{
    while (atomic_exchange_acquire(&published_lock, 1U) != 0) /* pairs with unlock_published */
        cpu_relax();
}

static void unlock_published(void)
{
    atomic_store_release(&published_lock, 0U);
}

/* --- the table at the end of the program --- */

/* Of the program or the shared library that holds this code: it may be unloaded before the end. */
extern char __dso_handle __attribute__((weak, visibility("hidden")));

static void print_at_exit(void *unused)
{
    (void)unused;
    ration_heaps_print(2);
}

extern int ration_registry_join(const struct ration_registry *) __attribute__((weak));

/* Linked with this program, or preloaded: then no symbol of the program leads there. */
static bool joins_libration(const struct libc_calls *libc)
{
    int (*join)(const struct ration_registry *) = ration_registry_join;
    void *found =
        join == NULL && libc->dlsym != NULL ? libc->dlsym(NULL, "ration_registry_join") : NULL;
    if (found != NULL)
        memcpy(&join, &found, sizeof join);
    return join != NULL && join(&registry) == 0;
}

/* Once: libration shows the heaps from now on, also at exit; or else they show themselves. */
static void arrange_to_be_seen(void)
{
    static uint32_t is_arranged;
    if (LIKELY(atomic_load_relaxed(&is_arranged) != 0) ||
        atomic_exchange_full(&is_arranged, 1U) != 0)
        return;
    struct libc_calls libc = ration_libc();
    if (joins_libration(&libc))
        return;
    if (libc.at_exit != NULL && libc.write != NULL && ration_libc_option_is("stats", "1"))
        libc.at_exit(print_at_exit, NULL, &__dso_handle); /* refused: then there is no table */
}

/* --- the list --- */

void ration_heap_publish(struct ration_heap *heap)
{
    arrange_to_be_seen();
    lock_published();
    if (heap->published_here == NULL) {
        heap->next_published = registry.first;
        heap->published_here = &registry.first;
        if (registry.first != NULL)
            registry.first->published_here = &heap->next_published;
        registry.first = heap;
    }
    unlock_published();
}

void ration_heap_unpublish(struct ration_heap *heap)
{
    lock_published();
    if (heap->published_here != NULL) {
        *heap->published_here = heap->next_published;
        if (heap->next_published != NULL)
            heap->next_published->published_here = heap->published_here;
        heap->published_here = NULL;
        heap->next_published = NULL;
    }
    unlock_published();
}

int ration_heaps_each(int (*visit)(struct ration_heap *heap, void *context), void *context)
{
    int stop = 0;
    lock_published();
    for (struct ration_heap *heap = registry.first; heap != NULL && stop == 0;
         heap = heap->next_published)
        stop = visit(heap, context);
    unlock_published();
    return stop;
}

/* --- the table --- */

static void pad_to(struct text *t, size_t column)
{
    while (t->used < column)
        text_add(t, " ");
}

/* The number in columns that end at `column`. */
static void add_right(struct text *t, size_t column, uint64_t number)
{
    size_t digits = 1;
    for (uint64_t left = number; left >= 10; left /= 10)
        digits++;
    pad_to(t, column > digits ? column - digits : 0);
    text_add(t, t->used + digits > column ? " " : "");
    text_add_unsigned(t, number);
}

enum { NAME_COLUMNS = 24, KIND_COLUMNS = 12, NUMBER_COLUMNS = 13 };

static void write_line(int file, struct text *t)
{
    text_add(t, "\n");
    if (ration_libc().write(file, t->chars, t->used) < 0) {
        /* Nobody can be told. */
    }
}

static int print_heap(struct ration_heap *heap, void *context)
{
    const int *file = context;
    struct ration_heap_stats s;
    ration_heap_stats(heap, &s);
    const uint64_t numbers[] = {s.heap_bytes,  s.live_usable_bytes, s.live_usable_peak,
                                s.live_blocks, s.n_allocs,          s.n_frees,
                                s.n_failures};
    struct text t;
    text_clear(&t);
    text_add(&t, ration_heap_name(heap));
    pad_to(&t, NAME_COLUMNS);
    text_add(&t, " ");
    text_add(&t, ration_heap_kind(heap));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_right(&t, NAME_COLUMNS + KIND_COLUMNS + (i + 1) * NUMBER_COLUMNS, numbers[i]);
    write_line(*file, &t);
    return 0;
}

int ration_heaps_print(int file)
{
    static const char *const titles[] = {"heap bytes", "live bytes", "live peak", "live blocks",
                                         "allocs",     "frees",      "failures"};
    if (ration_libc().write == NULL)
        return -1;
    struct text t;
    text_clear(&t);
    text_add(&t, "heap");
    pad_to(&t, NAME_COLUMNS + 1);
    text_add(&t, "kind");
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        size_t length = 0;
        while (titles[i][length] != '\0')
            length++;
        pad_to(&t, NAME_COLUMNS + KIND_COLUMNS + (i + 1) * NUMBER_COLUMNS - length);
        text_add(&t, titles[i]);
    }
    write_line(file, &t);
    return ration_heaps_each(print_heap, &file);
}
