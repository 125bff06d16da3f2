/* Long random sequences against a shadow: what each block must hold and how large it must be. Every
 * sequence comes from one seed (RATION_SEED); the heap's checker runs after every few operations.
 * Now and then a call that is a misuse is mixed in: it must be reported and change nothing. */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

enum { N_SLOTS = 96, N_OPERATIONS = 6000, CHECK_EVERY = 16 };

struct slot {
    unsigned char *block; /* NULL: empty */
    size_t size;
    unsigned char fill;
};

struct shadow {
    const struct variant *v;
    struct ration_heap *heap;
    struct chance chance;
    struct slot slots[N_SLOTS];
    size_t n_live;
};

static size_t choose_size(struct shadow *s)
{
    if (s->v->traits & FIXED_SIZE)
        return chance_below(&s->chance, s->v->most_bytes + 1);
    switch (chance_below(&s->chance, 8)) {
    case 0:
        return chance_below(&s->chance, s->v->most_bytes + 1);
    case 1:
        return (size_t)1 << chance_below(&s->chance, 11);
    case 2:
        return ((size_t)1 << chance_below(&s->chance, 11)) + 1;
    case 3:
        return 0;
    default:
        return chance_below(&s->chance, 200);
    }
}

static void require_contents(const struct shadow *s, const struct slot *slot, size_t size)
{
    for (size_t i = 0; i < size; i++)
        CHECK(s->v, slot->block[i] == (unsigned char)(slot->fill + i));
}

static void occupy(struct shadow *s, struct slot *slot, unsigned char *block, size_t size)
{
    if (slot->block == NULL)
        s->n_live++;
    *slot = (struct slot){block, size, (unsigned char)chance_next(&s->chance)};
    for (size_t i = 0; i < size; i++)
        block[i] = (unsigned char)(slot->fill + i);
}

static void do_alloc(struct shadow *s, struct slot *slot)
{
    size_t size = choose_size(s);
    size_t alignment = s->heap->default_alignment;
    unsigned char *block;
    switch (chance_below(&s->chance, 6)) {
    case 0:
        alignment = (size_t)1 << chance_below(&s->chance, 13);
        if (alignment > s->v->most_alignment)
            alignment = 1;
        block = ration_heap_alloc_aligned(s->heap, alignment, size);
        break;
    case 1:
        block = ration_heap_alloc_zeroed(s->heap, size, 1);
        for (size_t i = 0; block != NULL && i < size; i++)
            CHECK(s->v, block[i] == 0);
        break;
    default:
        block = ration_heap_alloc(s->heap, size);
    }
    if (block == NULL)
        return;
    CHECK(s->v, ((uintptr_t)block & (alignment - 1)) == 0);
    CHECK(s->v, ration_heap_usable_size(s->heap, block) >= size);
    occupy(s, slot, block, size);
}

static void do_free(struct shadow *s, struct slot *slot)
{
    require_contents(s, slot, slot->size);
    if (chance_below(&s->chance, 4) == 0)
        ration_heap_free_sized(s->heap, slot->block, slot->size);
    else
        ration_heap_free(s->heap, slot->block);
    slot->block = NULL;
    s->n_live--;
}

static void do_resize(struct shadow *s, struct slot *slot)
{
    size_t size = choose_size(s);
    bool may_move = chance_below(&s->chance, 3) != 0;
    unsigned char *block = may_move ? ration_heap_resize(s->heap, slot->block, size)
                                    : ration_heap_try_resize(s->heap, slot->block, size);
    CHECK(s->v, may_move || block == NULL || block == slot->block);
    if (block != NULL)
        slot->block = block;
    size_t kept = block != NULL && size < slot->size ? size : slot->size;
    require_contents(s, slot, kept);
    if (block != NULL)
        occupy(s, slot, block, size);
}

/* The address is inside the block, aligned as blocks are or not. */
static void do_misuse(struct shadow *s, struct slot *slot)
{
    if ((s->v->traits & THROUGH) || slot->size < 2)
        return;
    ration_heap_free(s->heap, slot->block + 1 + chance_below(&s->chance, slot->size - 1));
    CHECK(s->v, n_misuses == 1);
    CHECK(s->v,
          last_misuse.kind == RATION_INTERIOR_FREE || last_misuse.kind == RATION_MISALIGNED_FREE);
    misuse_forget();
    require_contents(s, slot, slot->size);
}

/* Phases of growth and of decline, so that heaps get full and get empty. */
static void step(struct shadow *s, size_t i)
{
    struct slot *slot = &s->slots[chance_below(&s->chance, N_SLOTS)];
    size_t share = (i / 500) % 3 == 2 ? 7 : 3;
    if (slot->block == NULL)
        do_alloc(s, slot);
    else if (chance_below(&s->chance, 10) < share)
        do_free(s, slot);
    else if (chance_below(&s->chance, 16) == 0)
        do_misuse(s, slot);
    else
        do_resize(s, slot);
}

static void agrees_with_a_shadow(void **state)
{
    struct subject subject;
    struct shadow s = {.v = *state, .chance = {chance_seed()}};
    s.heap = subject_start(&subject, s.v);
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        step(&s, i);
        CHECK(s.v, n_misuses == 0);
        if (i % CHECK_EVERY != 0)
            continue;
        require_sound(s.heap, "between operations");
        struct ration_heap_stats stats;
        ration_heap_stats(s.heap, &stats);
        CHECK(s.v, stats.live_blocks == s.n_live);
        CHECK(s.v,
              stats.live_usable_bytes + stats.free_bytes + stats.table_bytes == stats.heap_bytes);
    }
    for (size_t i = 0; i < N_SLOTS; i++)
        if (s.slots[i].block != NULL)
            do_free(&s, &s.slots[i]);
    require_sound(s.heap, "at the end");
    subject_end(&subject);
}

/* --- arenas: marks nest --- */

enum { MOST_MARKS = 12 };

struct marked {
    struct ration_mark mark;
    size_t n_live;
};

static void forget_above(struct shadow *s, size_t n_live)
{
    while (s->n_live > n_live)
        s->slots[--s->n_live].block = NULL;
}

/* Slots are a stack here: blocks in the order of allocation. */
static void rewinds_to_nested_marks(void **state)
{
    struct subject subject;
    struct shadow s = {.v = *state, .chance = {chance_seed()}};
    s.heap = subject_start(&subject, s.v);
    struct marked marks[MOST_MARKS];
    size_t n_marks = 0;
    for (size_t i = 0; i < 4000; i++) {
        size_t what = chance_below(&s.chance, 20);
        if (what < 14 && s.n_live < N_SLOTS) {
            do_alloc(&s, &s.slots[s.n_live]);
        } else if (what < 16 && n_marks < MOST_MARKS) {
            marks[n_marks++] = (struct marked){ration_arena_mark(&subject.arena), s.n_live};
        } else if (what < 18 && n_marks > 0) {
            n_marks = chance_below(&s.chance, n_marks);
            ration_arena_rewind(&subject.arena, marks[n_marks].mark);
            forget_above(&s, marks[n_marks].n_live);
        } else if (what == 18 && s.n_live > (n_marks ? marks[n_marks - 1].n_live : 0)) {
            require_contents(&s, &s.slots[s.n_live - 1], s.slots[s.n_live - 1].size);
            ration_heap_free(s.heap, s.slots[s.n_live - 1].block);
            forget_above(&s, s.n_live - 1);
        } else if (chance_below(&s.chance, 30) == 0) {
            ration_arena_reset(&subject.arena);
            forget_above(&s, 0);
            n_marks = 0;
        } else if (chance_below(&s.chance, 10) == 0) {
            ration_arena_trim(&subject.arena);
        }
        CHECK(s.v, n_misuses == 0);
        if (i % CHECK_EVERY == 0) {
            require_sound(s.heap, "between marks");
            struct ration_heap_stats stats;
            ration_heap_stats(s.heap, &stats);
            CHECK(s.v, stats.live_blocks == s.n_live);
        }
        for (size_t k = 0; k < s.n_live; k++)
            require_contents(&s, &s.slots[k], s.slots[k].size);
    }
    subject_end(&subject);
}

static void marks(void **state)
{
    if (strncmp(((const struct variant *)*state)->name, "arena", 5) == 0)
        rewinds_to_nested_marks(state);
}

int main(void)
{
    static const struct variant_test tests[] = {
        {"agrees with a shadow", agrees_with_a_shadow, 0, 0},
        {"rewinds to nested marks", marks, 0, FIXED_SIZE | REUSES | HAS_TAGS},
    };
    return run_for_variants("heaps shadow", tests, sizeof tests / sizeof *tests);
}
