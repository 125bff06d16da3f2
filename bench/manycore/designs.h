/* Designs of an allocator, reduced to which lines they touch and which locks they take. One
 * size of slot (128 bytes) in several size classes; slabs of 512 slots. Purging, page faults and
 * large blocks are left out. */
#ifndef RATION_MANYCORE_DESIGNS_H
#define RATION_MANYCORE_DESIGNS_H

#include "machine.h"

enum { CLASSES = 4, SLOTS = 512, GROUP = 64, GROUPS = SLOTS / GROUP, SLABS_MOST = 1 << 13 };

struct design {
    const char *name;
    const char *like;
    void (*reset)(void);
    /* Each is one malloc or free: true when it is done, false when the core had to sleep for a lock
     * and shall call again. A block is slab * SLOTS + slot. */
    bool (*take)(struct core *core, unsigned class, uint32_t *block);
    bool (*give)(struct core *core, uint32_t block);
    /* 0, or the number of a broken invariant; nobody is inside. */
    int (*check)(void);
};

enum { DESIGNS = 12 };

/* The blocks' own lines, which the program writes and reads whatever the design. */
extern struct line block_lines[SLABS_MOST * SLOTS];

/* For each block: whether the program has it. Kept by the workloads. */
extern bool block_is_live[SLABS_MOST * SLOTS];

/* Slabs made so far, of the designs that have slabs. */
uint32_t slab_new(struct core *core);
void slabs_reset(void);
/* The map from address to slab: eight slabs a line, read by every free, written when a slab begins or
 * ends. */
struct line *map_line(uint32_t slab);

extern const struct design design_ration, design_none_own, design_eight, design_half, design_shards,
    design_ahead, design_counters, design_all, design_lists, design_messages, design_central,
    design_one_lock;

#endif
