/* Two designs with lists that all threads share:
 *
 *   central   a thread keeps up to 64 blocks a class; 32 at a time come from and go to one list a class,
 *             under its lock (as in tcmalloc; Ghemawat and Menage).
 *   one lock  one list a class, one lock for all (as in the first malloc for threads, and in some hardened
 *             ones).
 *
 * Lists go through the blocks. Spans are never given back. */
#include "designs.h"

#include <string.h>

enum { BATCH = 32, CACHE_MOST = 64, STACK_MOST = SLABS_MOST * SLOTS / CLASSES };

struct stack {
    struct lock lock;
    struct line heads; /* four batches a line would be the best case; one line is taken for all */
    uint32_t blocks[STACK_MOST];
    unsigned n;
};

static struct stack stacks[CLASSES];
static struct lock heap_lock; /* spans; the one lock */
static struct {
    uint32_t blocks[2 * CACHE_MOST];
    unsigned n;
} caches[CORES_MOST][CLASSES];

static void reset(void)
{
    memset(stacks, 0, sizeof stacks);
    memset(&heap_lock, 0, sizeof heap_lock);
    memset(caches, 0, sizeof caches);
    for (unsigned c = 0; c < CLASSES; c++) {
        stacks[c].heads.kind = LINE_LIST;
    }
}

/* A new span's blocks, onto the list. Under the list's lock. */
static void fill(struct core *core, struct stack *stack)
{
    uint32_t s = slab_new(core);
    core_spend(core, costs.create);
    line_write(core, map_line(s));
    for (uint32_t slot = SLOTS; slot-- > 0;) {
        stack->blocks[stack->n++] = s * SLOTS + slot;
    }
}

static bool fetch(struct core *core, unsigned class)
{
    struct stack *stack = &stacks[class];

    if (!lock_take(core, &stack->lock)) {
        return false;
    }
    line_write(core, &stack->heads);
    if (stack->n < BATCH) {
        lock_take_nested(core, &heap_lock);
        fill(core, stack);
        lock_drop(core, &heap_lock);
    }
    lock_drop(core, &stack->lock);
    stack->n -= BATCH;
    memcpy(caches[core->number][class].blocks, stack->blocks + stack->n, BATCH * sizeof(uint32_t));
    caches[core->number][class].n = BATCH;
    return true;
}

static bool take_central(struct core *core, unsigned class, uint32_t *block)
{
    if (caches[core->number][class].n == 0 && !fetch(core, class)) {
        return false;
    }
    *block = caches[core->number][class].blocks[--caches[core->number][class].n];
    line_read(core, &block_lines[*block]); /* the link to the next */
    return true;
}

/* The class is the slab's number here, as good as any: blocks go back to the class they came from. */
static uint8_t class_of_block[SLABS_MOST * SLOTS];

static bool put_back(struct core *core, unsigned class)
{
    struct stack *stack = &stacks[class];
    unsigned *n = &caches[core->number][class].n;

    if (!lock_take(core, &stack->lock)) {
        return false;
    }
    line_write(core, &stack->heads);
    lock_drop(core, &stack->lock);
    *n -= BATCH;
    memcpy(stack->blocks + stack->n, caches[core->number][class].blocks + *n,
           BATCH * sizeof(uint32_t));
    stack->n += BATCH;
    return true;
}

static bool give_central(struct core *core, uint32_t block)
{
    unsigned class = class_of_block[block];

    if (caches[core->number][class].n >= CACHE_MOST && !put_back(core, class)) {
        return false;
    }
    line_read(core, map_line(block / SLOTS));
    line_write(core, &block_lines[block]);
    caches[core->number][class].blocks[caches[core->number][class].n++] = block;
    return true;
}

static bool take_central_noting(struct core *core, unsigned class, uint32_t *block)
{
    if (!take_central(core, class, block)) {
        return false;
    }
    class_of_block[*block] = (uint8_t) class;
    return true;
}

static bool take_locked(struct core *core, unsigned class, uint32_t *block)
{
    struct stack *stack = &stacks[class];

    if (!lock_take(core, &heap_lock)) {
        return false;
    }
    line_write(core, &stack->heads);
    if (stack->n == 0) {
        fill(core, stack);
    }
    *block = stack->blocks[--stack->n];
    class_of_block[*block] = (uint8_t) class;
    line_read(core, &block_lines[*block]);
    lock_drop(core, &heap_lock);
    return true;
}

static bool give_locked(struct core *core, uint32_t block)
{
    struct stack *stack = &stacks[class_of_block[block]];

    if (!lock_take(core, &heap_lock)) {
        return false;
    }
    line_write(core, &stack->heads);
    line_write(core, &block_lines[block]);
    stack->blocks[stack->n++] = block;
    lock_drop(core, &heap_lock);
    return true;
}

static int check(void)
{
    static uint8_t seen[SLABS_MOST * SLOTS];
    memset(seen, 0, sizeof seen);
    for (unsigned c = 0; c < CLASSES; c++) {
        for (unsigned i = 0; i < stacks[c].n; i++) {
            seen[stacks[c].blocks[i]]++;
        }
        for (unsigned core = 0; core < CORES_MOST; core++) {
            for (unsigned i = 0; i < caches[core][c].n; i++) {
                seen[caches[core][c].blocks[i]]++;
            }
        }
    }
    for (uint32_t block = 0; block < SLABS_MOST * SLOTS; block++) {
        if (seen[block] + block_is_live[block] > 1) {
            return 2;
        }
    }
    return 0;
}

const struct design design_central = {"central",           "tcmalloc",   reset,
                                      take_central_noting, give_central, check};
const struct design design_one_lock = {
    "one-lock", "a lock around each call", reset, take_locked, give_locked, check};
