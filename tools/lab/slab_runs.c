#include "memory.h"
#include "slab.h"
#include <string.h>

/* ---- bits per grain ---------------------------------------------------------------------- */

static void set_bit(uint64_t *bits, size_t index, bool value)
{
    if (value)
        bits[index / 64] |= UINT64_C(1) << (index % 64);
    else
        bits[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

void runs_mark(struct slab_heap *slab, size_t first, size_t n, bool live)
{
    set_bit(slab->begins, first, live);
    set_bit(slab->edge_is_live, first, live);
    set_bit(slab->edge_is_live, first + n - 1, live);
}

/* ---- free runs --------------------------------------------------------------------------- */

static unsigned list_for(size_t n_grains)
{
    if (n_grains < n_exact)
        return (unsigned)n_grains;
    const unsigned log = 63 - (unsigned)__builtin_clzll(n_grains);
    return n_exact + 8 * (log - 6) + (unsigned)(n_grains >> (log - 3) & 7);
}

void runs_insert(struct slab_heap *slab, size_t first, size_t n_grains)
{
    struct free_run *run = (struct free_run *)slab_grain_address(slab, first);
    const unsigned list = list_for(n_grains);
    const size_t bytes = n_grains << grain_shift;
    *run = (struct free_run){.next = slab->lists[list], .n_grains = n_grains};
    memcpy((char *)run + bytes - sizeof n_grains, &n_grains, sizeof n_grains);
    if (run->next != NULL)
        run->next->previous = run;
    slab->lists[list] = run;
    slab->nonempty[list / 64] |= UINT64_C(1) << (list % 64);
    engine_event(&slab->engine, RATION_EVENT_INSERT, list, run, NULL, bytes);
}

void runs_remove(struct slab_heap *slab, struct free_run *run)
{
    const unsigned list = list_for(run->n_grains);
    if (run->previous != NULL)
        run->previous->next = run->next;
    else
        slab->lists[list] = run->next;
    if (run->next != NULL)
        run->next->previous = run->previous;
    if (slab->lists[list] == NULL)
        slab->nonempty[list / 64] &= ~(UINT64_C(1) << (list % 64));
    engine_event(&slab->engine, RATION_EVENT_REMOVE, list, run, NULL, run->n_grains << grain_shift);
}

/* The smallest free run of `list` with enough grains. */
static struct free_run *search_list(struct slab_heap *slab, unsigned list, size_t wanted)
{
    struct free_run *best = NULL;
    engine_turn(&slab->engine, list);
    for (struct free_run *run = slab->lists[list]; run != NULL; run = run->next) {
        engine_examine(&slab->engine, run, run->n_grains << grain_shift);
        if (run->n_grains >= wanted && (best == NULL || run->n_grains < best->n_grains))
            best = run;
        if (best != NULL && best->n_grains == wanted)
            break;
    }
    return best;
}

struct free_run *runs_search(struct slab_heap *slab, size_t wanted)
{
    const unsigned start = list_for(wanted);
    for (unsigned word = start / 64; word < sizeof slab->nonempty / sizeof slab->nonempty[0];
         word++) {
        uint64_t left = slab->nonempty[word];
        if (word == start / 64)
            left &= ~UINT64_C(0) << (start % 64);
        for (; left != 0; left &= left - 1) {
            struct free_run *run =
                search_list(slab, word * 64 + (unsigned)__builtin_ctzll(left), wanted);
            if (run != NULL)
                return run;
        }
    }
    return NULL;
}

struct free_run *runs_search_below(struct slab_heap *slab, size_t most, size_t least)
{
    const unsigned start = list_for(most);
    for (unsigned word = start / 64 + 1; word-- > 0;) {
        uint64_t left = slab->nonempty[word];
        if (word == start / 64)
            left &= (UINT64_C(1) << (start % 64)) - 1;
        if (left == 0)
            continue;
        const unsigned list = word * 64 + 63 - (unsigned)__builtin_clzll(left);
        engine_turn(&slab->engine, list);
        return slab->lists[list]->n_grains >= least ? slab->lists[list] : NULL;
    }
    return NULL;
}

void runs_extend_tables(struct slab_heap *slab, size_t n_grains)
{
    const size_t words = n_grains / 64 + 1;
    if (words <= slab->words)
        return;
    const size_t more = words + words / 2;
    slab->begins = lab_resize(slab->begins, more, sizeof *slab->begins);
    slab->edge_is_live = lab_resize(slab->edge_is_live, more, sizeof *slab->edge_is_live);
    memset(slab->begins + slab->words, 0, (more - slab->words) * sizeof *slab->begins);
    memset(slab->edge_is_live + slab->words, 0, (more - slab->words) * sizeof(uint64_t));
    slab->words = more;
}

/* The free run that ends at grain `end`, or NULL. */
static struct free_run *run_before(const struct slab_heap *slab, size_t end)
{
    if (end == 0 || slab_has_bit(slab->edge_is_live, end - 1))
        return NULL;
    size_t n_grains;
    memcpy(&n_grains, slab_grain_address(slab, end) - sizeof n_grains, sizeof n_grains);
    return (struct free_run *)slab_grain_address(slab, end - n_grains);
}

struct free_run *runs_grow(struct slab_heap *slab, size_t wanted)
{
    struct free_run *last = run_before(slab, slab->n_grains);
    const size_t have = last != NULL ? last->n_grains : 0;
    const size_t more = wanted - have;
    char *from = space_move_break(slab->engine.space, (intptr_t)(more << grain_shift));
    if (from == (char *)-1)
        return NULL;
    if (last != NULL)
        runs_remove(slab, last);
    slab->engine.stats.n_grows++;
    engine_event(&slab->engine, RATION_EVENT_GROW, 0, from, NULL, more << grain_shift);
    space_charge_table(slab->engine.space,
                       (intptr_t)((slab->n_grains + more) / 4 - slab->n_grains / 4));
    struct free_run *run = last != NULL ? last : (struct free_run *)from;
    run->n_grains = wanted;
    slab->n_grains += more;
    runs_extend_tables(slab, slab->n_grains);
    return run;
}

size_t runs_take(struct slab_heap *slab, size_t n_grains, size_t alignment)
{
    const size_t wanted = n_grains + (alignment > grain_bytes ? alignment >> grain_shift : 0);
    struct free_run *run = runs_search(slab, wanted);
    if (run != NULL)
        runs_remove(slab, run);
    else
        run = runs_grow(slab, wanted);
    if (run == NULL)
        return SIZE_MAX;
    const size_t found = run->n_grains;
    const char *aligned = (const char *)align_up((uintptr_t)run, alignment);
    size_t first = (size_t)((char *)run - slab->base) >> grain_shift;
    const size_t lead = (size_t)(aligned - (char *)run) >> grain_shift;
    const size_t tail = found - lead - n_grains;
    if (lead > 0)
        runs_insert(slab, first, lead);
    first += lead;
    if (tail > 0) {
        slab->engine.stats.n_splits++;
        engine_event(&slab->engine, RATION_EVENT_SPLIT, 0, slab_grain_address(slab, first),
                     slab_grain_address(slab, first + n_grains), (n_grains + tail) << grain_shift);
        runs_insert(slab, first + n_grains, tail);
    }
    runs_mark(slab, first, n_grains, true);
    return first;
}

static void note_merge(struct slab_heap *slab, size_t first, size_t second, size_t n_grains)
{
    slab->engine.steps++;
    slab->engine.stats.n_merges++;
    engine_event(&slab->engine, RATION_EVENT_MERGE, 0, slab_grain_address(slab, first),
                 slab_grain_address(slab, second), n_grains << grain_shift);
}

void runs_give(struct slab_heap *slab, size_t first, size_t n_grains)
{
    runs_mark(slab, first, n_grains, false);
    const size_t end = first + n_grains;
    if (end < slab->n_grains && !slab_has_bit(slab->edge_is_live, end)) {
        struct free_run *above = (struct free_run *)slab_grain_address(slab, end);
        runs_remove(slab, above);
        n_grains += above->n_grains;
        note_merge(slab, first, end, n_grains);
    }
    struct free_run *below = run_before(slab, first);
    if (below != NULL) {
        runs_remove(slab, below);
        n_grains += below->n_grains;
        note_merge(slab, first - below->n_grains, first, n_grains);
        first -= below->n_grains;
    }
    runs_insert(slab, first, n_grains);
}
