/* Two designs with slabs that belong to a thread and free lists through the blocks. Local frees are
 * plain; those of other threads' blocks travel:
 *
 *   lists     an atomic list for each slab, onto which other threads push, and which the owner takes whole
 *             (as in mimalloc; Leijen, Zorn and de Moura, 2019). A slab without free blocks is told to its
 *             owner by the first push, through a mailbox of the owner.
 *   messages  the freeing thread collects other threads' blocks, and posts them owner by owner once it
 *             has many (as in snmalloc; Lietar and others, 2019).
 *
 * Slabs are never given back: what is left out is to their advantage. */
#include "designs.h"

#include <string.h>

enum { NONE = -1, LOOK_AT = 4, POST_AT = 128 };

struct slab {
    struct line header; /* free and local lists, owner */
    struct line remote; /* the atomic list */
    uint16_t free[SLOTS], remotes[SLOTS];
    int n_free, n_remote;
    int owner, next;
    bool is_full, told; /* in no queue; in the owner's mailbox */
    uint8_t class;
};

struct heap {
    struct line mailbox; /* lists: slabs; messages: blocks */
    int current[CLASSES];
    int first[CLASSES], last[CLASSES]; /* slabs that may have free blocks */
    int mail[SLABS_MOST];
    int n_mail;
    uint32_t inbox[SLABS_MOST * 4];
    int n_inbox;
    uint32_t outbox[POST_AT];
    int n_outbox;
    bool is_posting;
    struct line last_posted;
};

static struct slab slabs[SLABS_MOST];
static struct heap heaps[CORES_MOST];

static void reset(void)
{
    memset(slabs, 0, sizeof slabs);
    memset(heaps, 0, sizeof heaps);
    for (unsigned i = 0; i < CORES_MOST; i++) {
        heaps[i].mailbox.kind = heaps[i].last_posted.kind = LINE_REMOTE;
        for (unsigned c = 0; c < CLASSES; c++) {
            heaps[i].current[c] = heaps[i].first[c] = heaps[i].last[c] = NONE;
        }
    }
}

static void queue(struct heap *heap, int s)
{
    unsigned c = slabs[s].class;
    slabs[s].next = NONE;
    slabs[s].is_full = false;
    *(heap->last[c] != NONE ? &slabs[heap->last[c]].next : &heap->first[c]) = s;
    heap->last[c] = s;
}

static int dequeue(struct heap *heap, unsigned c)
{
    int s = heap->first[c];
    if (s != NONE) {
        heap->first[c] = slabs[s].next;
        heap->last[c] = heap->first[c] == NONE ? NONE : heap->last[c];
    }
    return s;
}

static void put(struct core *core, int s, unsigned slot)
{
    line_write(core, &block_lines[(uint32_t)s * SLOTS + slot]);
    line_write(core, &slabs[s].header);
    slabs[s].free[slabs[s].n_free++] = (uint16_t)slot;
}

/* Takes the atomic list whole, and walks it to its end. */
static void collect(struct core *core, int s)
{
    struct slab *slab = &slabs[s];
    line_read(core, &slab->remote);
    if (slab->n_remote == 0) {
        return;
    }
    line_update(core, &slab->remote);
    for (int i = 0; i < slab->n_remote; i++) {
        line_read(core, &block_lines[(uint32_t)s * SLOTS + slab->remotes[i]]);
        slab->free[slab->n_free++] = slab->remotes[i];
    }
    line_write(core, &slab->header);
    slab->n_remote = 0;
}

static int make(struct core *core, unsigned class)
{
    int s = (int)slab_new(core);
    core_spend(core, costs.create);
    slabs[s].header.kind = LINE_HEADER;
    slabs[s].remote.kind = LINE_REMOTE;
    line_write(core, &slabs[s].header);
    line_write(core, map_line((uint32_t)s));
    slabs[s].class = (uint8_t) class;
    slabs[s].owner = (int)core->number;
    for (int slot = SLOTS; slot-- > 0;) {
        slabs[s].free[slabs[s].n_free++] = (uint16_t)slot;
    }
    return s;
}

static void open_mail(struct core *core, struct heap *heap)
{
    line_read(core, &heap->mailbox);
    if (heap->n_mail == 0) {
        return;
    }
    line_update(core, &heap->mailbox);
    while (heap->n_mail > 0) {
        int s = heap->mail[--heap->n_mail];
        slabs[s].told = false;
        if (slabs[s].is_full) {
            queue(heap, s);
        }
    }
}

static int find_slab(struct core *core, struct heap *heap, unsigned class)
{
    open_mail(core, heap);
    for (int i = 0; i < LOOK_AT; i++) {
        int s = dequeue(heap, class);
        if (s == NONE) {
            break;
        }
        collect(core, s);
        if (slabs[s].n_free > 0) {
            return s;
        }
        queue(heap, s);
    }
    return make(core, class);
}

static uint32_t pop(struct core *core, int s)
{
    unsigned slot = slabs[s].free[--slabs[s].n_free];
    line_write(core, &slabs[s].header);
    line_read(core, &block_lines[(uint32_t)s * SLOTS + slot]); /* the link to the next */
    return (uint32_t)s * SLOTS + slot;
}

static bool take_lists(struct core *core, unsigned class, uint32_t *block)
{
    struct heap *heap = &heaps[core->number];
    int *s = &heap->current[class];

    if (*s != NONE && slabs[*s].n_free == 0) {
        collect(core, *s);
    }
    if (*s == NONE || slabs[*s].n_free == 0) {
        if (*s != NONE) {
            line_update(core, &slabs[*s].remote); /* tells that it is full from now on */
            slabs[*s].is_full = true;
        }
        *s = find_slab(core, heap, class);
    }
    *block = pop(core, *s);
    return true;
}

static bool give_lists(struct core *core, uint32_t block)
{
    int s = (int)(block / SLOTS);
    struct slab *slab = &slabs[s];

    line_read(core, map_line((uint32_t)s));
    line_read(core, &slab->header);
    if (slab->owner == (int)core->number) {
        put(core, s, block % SLOTS);
        if (slab->is_full) {
            queue(&heaps[slab->owner], s);
        }
        return true;
    }
    line_write(core, &block_lines[block]);
    line_read(core, &slab->remote);
    line_update(core, &slab->remote);
    slab->remotes[slab->n_remote++] = (uint16_t)(block % SLOTS);
    if (slab->is_full && !slab->told) {
        struct heap *owner = &heaps[slab->owner];
        line_update(core, &owner->mailbox);
        slab->told = true;
        owner->mail[owner->n_mail++] = s;
    }
    return true;
}

static void drain(struct core *core, struct heap *heap)
{
    line_read(core, &heap->mailbox);
    if (heap->n_inbox > 0) {
        line_update(core, &heap->mailbox);
    }
    while (heap->n_inbox > 0) {
        uint32_t block = heap->inbox[--heap->n_inbox];
        int s = (int)(block / SLOTS);
        line_read(core, &block_lines[block]);
        put(core, s, block % SLOTS);
        if (slabs[s].is_full) {
            queue(heap, s);
        }
    }
}

static bool take_messages(struct core *core, unsigned class, uint32_t *block)
{
    struct heap *heap = &heaps[core->number];
    int *s = &heap->current[class];

    if (*s == NONE || slabs[*s].n_free == 0) {
        drain(core, heap);
    }
    if (*s == NONE || slabs[*s].n_free == 0) {
        if (*s != NONE) {
            slabs[*s].is_full = true;
        }
        *s = dequeue(heap, class);
        if (*s == NONE) {
            *s = make(core, class);
        }
    }
    *block = pop(core, *s);
    return true;
}

/* All blocks for one owner, by one exchange: the owner of the first block. Others wait for the next call. */
static void post_to_one(struct core *core, struct heap *heap)
{
    int owner_number = slabs[heap->outbox[0] / SLOTS].owner, n_kept = 0;
    struct heap *owner = &heaps[owner_number];

    line_update(core, &owner->mailbox);
    line_write(core, &owner->last_posted);
    for (int i = 0; i < heap->n_outbox; i++) {
        if (slabs[heap->outbox[i] / SLOTS].owner == owner_number) {
            owner->inbox[owner->n_inbox++] = heap->outbox[i];
        } else {
            heap->outbox[n_kept++] = heap->outbox[i];
        }
    }
    heap->n_outbox = n_kept;
}

static bool give_messages(struct core *core, uint32_t block)
{
    int s = (int)(block / SLOTS);
    struct heap *heap = &heaps[core->number];

    if (heap->is_posting) {
        post_to_one(core, heap);
        heap->is_posting = heap->n_outbox > 0;
        return false;
    }
    line_read(core, map_line((uint32_t)s)); /* names the owner */
    if (slabs[s].owner == (int)core->number) {
        put(core, s, block % SLOTS);
        if (slabs[s].is_full) {
            queue(heap, s);
        }
        return true;
    }
    line_write(core, &block_lines[block]);
    heap->outbox[heap->n_outbox++] = block;
    heap->is_posting = heap->n_outbox == POST_AT;
    return true;
}

/* Blocks that the program has and blocks on lists are all blocks, none twice. */
static int check(void)
{
    static uint8_t seen[SLABS_MOST * SLOTS];
    memset(seen, 0, sizeof seen);
    for (uint32_t s = 0; s < SLABS_MOST; s++) {
        for (int i = 0; i < slabs[s].n_free; i++) {
            seen[s * SLOTS + slabs[s].free[i]]++;
        }
        for (int i = 0; i < slabs[s].n_remote; i++) {
            seen[s * SLOTS + slabs[s].remotes[i]]++;
        }
    }
    for (unsigned h = 0; h < CORES_MOST; h++) {
        for (int i = 0; i < heaps[h].n_inbox; i++) {
            seen[heaps[h].inbox[i]]++;
        }
        for (int i = 0; i < heaps[h].n_outbox; i++) {
            seen[heaps[h].outbox[i]]++;
        }
    }
    for (uint32_t block = 0; block < SLABS_MOST * SLOTS; block++) {
        bool is_made = slabs[block / SLOTS].header.kind == LINE_HEADER;
        if (is_made ? seen[block] + block_is_live[block] != 1
                    : seen[block] || block_is_live[block]) {
            return 2;
        }
    }
    return 0;
}

const struct design design_lists = {"lists", "mimalloc", reset, take_lists, give_lists, check};
const struct design design_messages = {"messages",    "snmalloc",    reset,
                                       take_messages, give_messages, check};
