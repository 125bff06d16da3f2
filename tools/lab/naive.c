/*
 * The naive free list of the course: a list of (start, length) kept outside of the area, which
 * therefore holds payload and nothing else. Its sizes are those of the exercise: with --heap=100
 * the area is 100 bytes from the start, and a request takes exactly what it asks for.
 *
 * The list is an idealisation: a real allocator would have to pay for it, this one does not.
 *
 * buckets-range is the same with a list per range of sizes, 1 to 4, 5 to 8, 9 to 16 and so on: a
 * search begins in the range of the request and goes on to larger ones, and what a split leaves goes
 * to the list of its own size, so that 5 bytes from a piece of 8 leave 3 for the list of 1 to 4.
 */
#include "engine.h"
#include "memory.h"
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* A piece of the area. All pieces are chained by address; free ones also in the free list. */
struct piece {
    char *start;
    size_t bytes;
    bool is_live;
    struct piece *below;
    struct piece *above;
    struct piece *next_free;
    struct piece *previous_free;
};

enum fit { fit_next, fit_first, fit_best, fit_worst };
enum order { by_address, by_lifo, by_size };

enum { n_ranges = 62, least_range = 4 };

struct naive {
    struct engine engine;
    bool has_ranges;
    enum fit fit;
    enum order order;
    bool merges;
    bool splits;
    size_t grow_bytes; /* 0: the area was taken whole */
    struct piece *lowest;
    struct piece *highest;
    struct piece *first_free[n_ranges]; /* naive: the first one alone */
    struct piece *rover;                /* next fit: where the last search ended */
    void *live;                         /* tree of live pieces by start (search.h) */
};

static struct naive *naive_of(const struct ration_heap *heap)
{
    return (struct naive *)(uintptr_t)heap;
}

/* The number of the list for a piece of this size. */
static unsigned list_of(const struct naive *naive, size_t bytes)
{
    if (!naive->has_ranges || bytes <= least_range)
        return 0;
    return 62 - (unsigned)__builtin_clzll(bytes - 1);
}

static int compare_starts(const void *left, const void *right)
{
    const char *a = ((const struct piece *)left)->start, *b = ((const struct piece *)right)->start;
    return (a > b) - (a < b);
}

static struct piece *find_live(const struct naive *naive, const void *block)
{
    const struct piece key = {.start = (char *)(uintptr_t)block};
    void *node = tfind(&key, &naive->live, compare_starts);
    return node != NULL ? *(struct piece **)node : NULL;
}

static bool goes_before(const struct naive *naive, const struct piece *a, const struct piece *b)
{
    if (naive->order == by_address)
        return a->start < b->start;
    return naive->order == by_lifo || a->bytes <= b->bytes;
}

static void enter_list(struct naive *naive, struct piece *piece)
{
    const unsigned list = list_of(naive, piece->bytes);
    struct piece *before = NULL;
    struct piece *after = naive->first_free[list];
    while (after != NULL && !goes_before(naive, piece, after)) {
        naive->engine.steps++;
        engine_event(&naive->engine, RATION_EVENT_PASS, list, after->start, NULL, after->bytes);
        before = after;
        after = after->next_free;
    }
    piece->previous_free = before;
    piece->next_free = after;
    if (after != NULL)
        after->previous_free = piece;
    if (before != NULL)
        before->next_free = piece;
    else
        naive->first_free[list] = piece;
    piece->is_live = false;
    engine_event(&naive->engine, RATION_EVENT_INSERT, list, piece->start,
                 before != NULL ? before->start : NULL, piece->bytes);
}

static void leave_list(struct naive *naive, struct piece *piece)
{
    const unsigned list = list_of(naive, piece->bytes);
    if (naive->rover == piece)
        naive->rover = piece->next_free;
    if (piece->previous_free != NULL)
        piece->previous_free->next_free = piece->next_free;
    else
        naive->first_free[list] = piece->next_free;
    if (piece->next_free != NULL)
        piece->next_free->previous_free = piece->previous_free;
    engine_event(&naive->engine, RATION_EVENT_REMOVE, list, piece->start, NULL, piece->bytes);
}

/* Bytes in front of the first aligned address of a piece. */
static size_t lead_of(const struct piece *piece, size_t alignment)
{
    return align_up((uintptr_t)piece->start, alignment) - (uintptr_t)piece->start;
}

static bool serves(struct naive *naive, const struct piece *piece, size_t bytes, size_t alignment)
{
    engine_examine(&naive->engine, piece->start, piece->bytes);
    return piece->bytes >= lead_of(piece, alignment) + bytes;
}

/* First and next fit are the same search from different places: around the list once. */
static struct piece *search_from(struct naive *naive, unsigned list, struct piece *from,
                                 size_t bytes, size_t alignment)
{
    struct piece *piece = from;
    do {
        if (piece == NULL) {
            piece = naive->first_free[list];
            if (piece == from || piece == NULL)
                return NULL;
        }
        if (serves(naive, piece, bytes, alignment))
            return piece;
        piece = piece->next_free;
    } while (piece != from);
    return NULL;
}

static struct piece *search_all(struct naive *naive, unsigned list, size_t bytes, size_t alignment)
{
    struct piece *found = NULL;
    for (struct piece *piece = naive->first_free[list]; piece != NULL; piece = piece->next_free) {
        if (!serves(naive, piece, bytes, alignment))
            continue;
        const bool is_better =
            found == NULL ||
            (naive->fit == fit_best ? piece->bytes < found->bytes : piece->bytes > found->bytes);
        if (is_better)
            found = piece;
    }
    return found;
}

/* A piece of `bytes` above `piece`, which is cut down to the rest. */
static struct piece *cut_above(struct naive *naive, struct piece *piece, size_t keep)
{
    struct piece *rest = lab_allocate(1, sizeof *rest);
    *rest = (struct piece){.start = piece->start + keep,
                           .bytes = piece->bytes - keep,
                           .below = piece,
                           .above = piece->above};
    engine_event(&naive->engine, RATION_EVENT_SPLIT, 0, piece->start, rest->start, piece->bytes);
    naive->engine.stats.n_splits++;
    if (rest->above != NULL)
        rest->above->below = rest;
    else
        naive->highest = rest;
    piece->above = rest;
    piece->bytes = keep;
    return rest;
}

static struct piece *swallow_above(struct naive *naive, struct piece *piece)
{
    struct piece *gone = piece->above;
    piece->bytes += gone->bytes;
    piece->above = gone->above;
    if (piece->above != NULL)
        piece->above->below = piece;
    else
        naive->highest = piece;
    naive->engine.stats.n_merges++;
    naive->engine.steps++;
    engine_event(&naive->engine, RATION_EVENT_MERGE, 0, piece->start, gone->start, piece->bytes);
    free(gone);
    return piece;
}

static int grow(struct naive *naive, size_t bytes)
{
    if (naive->grow_bytes == 0)
        return -1;
    const size_t more = align_up(bytes, naive->grow_bytes);
    char *from = more >= bytes ? space_move_break(naive->engine.space, (intptr_t)more) : (char *)-1;
    if (from == (char *)-1)
        return -1;
    naive->engine.stats.n_grows++;
    engine_event(&naive->engine, RATION_EVENT_GROW, 0, from, NULL, more);
    struct piece *piece = lab_allocate(1, sizeof *piece);
    *piece = (struct piece){.start = from, .bytes = more, .below = naive->highest};
    if (naive->highest != NULL)
        naive->highest->above = piece;
    else
        naive->lowest = piece;
    naive->highest = piece;
    if (naive->merges && piece->below != NULL && !piece->below->is_live) {
        leave_list(naive, piece->below);
        piece = swallow_above(naive, piece->below);
    }
    enter_list(naive, piece);
    return 0;
}

static struct piece *search_list(struct naive *naive, unsigned list, size_t bytes, size_t alignment)
{
    if (naive->fit == fit_best || naive->fit == fit_worst)
        return search_all(naive, list, bytes, alignment);
    struct piece *from = naive->fit == fit_next ? naive->rover : NULL;
    return search_from(naive, list, from, bytes, alignment);
}

static struct piece *search(struct naive *naive, size_t bytes, size_t alignment)
{
    if (!naive->has_ranges)
        return search_list(naive, 0, bytes, alignment);
    struct piece *found = NULL;
    for (unsigned list = list_of(naive, bytes); list < n_ranges && found == NULL; list++) {
        if (naive->first_free[list] == NULL)
            continue;
        engine_turn(&naive->engine, list);
        found = search_list(naive, list, bytes, alignment);
    }
    return found;
}

static void *naive_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct naive *naive = naive_of(heap);
    const size_t bytes = size > 0 ? size : 1;
    engine_begin(&naive->engine);
    engine_event(&naive->engine, RATION_EVENT_REQUEST, 0, NULL, NULL, bytes);
    struct piece *piece = search(naive, bytes, alignment);
    if (piece == NULL && grow(naive, bytes + alignment - 1) == 0)
        piece = search(naive, bytes, alignment);
    if (piece == NULL) {
        engine_event(&naive->engine, RATION_EVENT_FAIL, 0, NULL, NULL, bytes);
        engine_end_alloc(&naive->engine, 0, false);
        return NULL;
    }
    struct piece *const next = piece->next_free;
    leave_list(naive, piece);
    const size_t lead = lead_of(piece, alignment);
    if (lead > 0) {
        struct piece *front = piece;
        piece = cut_above(naive, front, lead);
        enter_list(naive, front);
    }
    naive->rover = next;
    if (naive->splits && piece->bytes > bytes) {
        struct piece *rest = cut_above(naive, piece, bytes);
        enter_list(naive, rest);
        naive->rover = rest;
    }
    piece->is_live = true;
    tsearch(piece, &naive->live, compare_starts);
    engine_event(&naive->engine, RATION_EVENT_TAKE, 0, piece->start, NULL, piece->bytes);
    engine_end_alloc(&naive->engine, piece->bytes, true);
    return piece->start;
}

static void naive_free(struct ration_heap *heap, void *block)
{
    struct naive *naive = naive_of(heap);
    struct piece *piece = find_live(naive, block);
    const size_t usable = piece->bytes;
    engine_begin(&naive->engine);
    engine_event(&naive->engine, RATION_EVENT_RELEASE, 0, piece->start, NULL, usable);
    tdelete(piece, &naive->live, compare_starts);
    piece->is_live = false;
    if (naive->merges && piece->above != NULL && !piece->above->is_live) {
        const bool was_rover = naive->rover == piece->above;
        leave_list(naive, piece->above);
        swallow_above(naive, piece);
        if (was_rover)
            naive->rover = piece;
    }
    if (naive->merges && piece->below != NULL && !piece->below->is_live) {
        struct piece *below = piece->below;
        const bool was_rover = naive->rover == below || naive->rover == piece;
        leave_list(naive, below);
        piece = swallow_above(naive, below);
        if (was_rover)
            naive->rover = piece;
    }
    enter_list(naive, piece);
    engine_end_free(&naive->engine, usable);
}

static size_t naive_usable(const struct ration_heap *heap, const void *block)
{
    return find_live(naive_of(heap), block)->bytes;
}

static int naive_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    int ended = 0;
    for (const struct piece *piece = naive_of(heap)->lowest; piece != NULL && ended == 0;
         piece = piece->above)
        ended = engine_visit(visit, context, piece->start, piece->bytes, 0,
                             piece->is_live ? RATION_BLOCK_LIVE : RATION_BLOCK_FREE);
    return ended;
}

static void keep_piece(void *piece)
{
    (void)piece;
}

static void naive_destroy(struct ration_heap *heap)
{
    struct naive *naive = naive_of(heap);
    tdestroy(naive->live, keep_piece);
    for (struct piece *piece = naive->lowest, *above; piece != NULL; piece = above) {
        above = piece->above;
        free(piece);
    }
}

static int choose(const char *given, const char *const *names, int count, int fallback)
{
    if (given == NULL)
        return fallback;
    for (int i = 0; i < count; i++)
        if (strcmp(given, names[i]) == 0)
            return i;
    return -1;
}

static int naive_open(struct lab_heap *lab, const struct lab_choices *choices,
                      ration_observe_fn *observe, void *context, const char **message)
{
    static const struct ration_heap_ops ops = {.kind = "naive",
                                               .alloc = naive_alloc,
                                               .resize = engine_resize,
                                               .try_resize = engine_try_resize,
                                               .free = naive_free,
                                               .owns = engine_owns,
                                               .usable_size = naive_usable,
                                               .walk = naive_walk,
                                               .check = engine_check,
                                               .stats = engine_stats,
                                               .destroy = naive_destroy};
    static const char *const fits[] = {"next", "first", "best", "worst"};
    static const char *const orders[] = {"address", "lifo", "size"};
    const bool has_ranges = lab->strategy == &strategy_buckets_range;
    const int fit = choose(choices->fit, fits, 4, has_ranges ? fit_first : fit_next);
    const int order = choose(choices->order, orders, 3, by_address);
    if (has_ranges && fit == fit_next) {
        *message = "--fit of buckets-range is first, best or worst";
        return -1;
    }
    if (fit < 0 || order < 0) {
        *message = fit < 0 ? "--fit is next, first, best or worst"
                           : "--order of the naive list is address, lifo or size";
        return -1;
    }
    struct naive *naive =
        engine_open(lab, sizeof *naive, &ops, choices->alignment > 0 ? choices->alignment : 1,
                    observe, context);
    naive->has_ranges = has_ranges;
    naive->fit = (enum fit)fit;
    naive->order = (enum order)order;
    naive->merges = choices->coalesce == NULL || strcmp(choices->coalesce, "never") != 0;
    naive->splits = !choices->no_split;
    naive->grow_bytes = 1;
    if (choices->heap_bytes > 0) {
        (void)grow(naive, choices->heap_bytes);
        naive->grow_bytes = 0;
    }
    return 0;
}

const struct lab_strategy strategy_naive = {
    .name = "naive",
    .what = "the course's list of (start, length), kept outside the area and not charged",
    .least_block = 1,
    .open = naive_open,
};

const struct lab_strategy strategy_buckets_range = {
    .name = "buckets-range",
    .what = "the same with a list per range: 1 to 4, 5 to 8, 9 to 16 ...; rests change lists",
    .least_block = 1,
    .open = naive_open,
};
