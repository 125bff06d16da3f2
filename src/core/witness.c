#include "core/witness.h"

#include "base/atomics.h"
#include "os/os.h"
#include "span/huge.h"

enum {
    LOOKS = 4, /* places in a block that are looked at */
    UNFILLED_SHARE =
        8, /* a block is filled if all but one in so many of the pages looked at hold memory */
    DOUBTS_MAX = 3,    /* so many witnesses that were not filled end it */
    TRUSTED_SHARE = 8, /* one in so many trusted blocks is a witness instead */
};
/* A chunk that a block begins to fill is a sixth of it at most. */
#define REST_BYTES (6 * HUGE_BYTES)

/* States of `place` but for an address: */
enum { VACANT = 0, BUSY = 1 };

static struct {
    uintptr_t place;
    size_t bytes;  /* of the witness; whoever made `place` busy */
    size_t proven; /* the largest block that was found filled since one was found that was not */
    uint32_t doubts;
    uint32_t trusted; /* counts blocks */
} witness;

static bool is_trusted(size_t bytes)
{
    return atomic_load_relaxed(&witness.doubts) < DOUBTS_MAX &&
           bytes / 2 <= atomic_load_relaxed(&witness.proven);
}

enum finding { FILLED, UNFILLED, UNKNOWN };

static enum finding look_at(uintptr_t start, size_t bytes)
{
    struct os_range looks[LOOKS];
    size_t page = os->page_bytes();
    size_t part = align_down(bytes / LOOKS, page);
    for (size_t i = 0; i < LOOKS; i++)
        looks[i] = (struct os_range){(char *)start + i * part + align_down(part / 2, page),
                                     LOOK_PAGES_MAX * page};
    int64_t resident = os->pages_resident(looks, LOOKS);
    if (resident < 0)
        return UNKNOWN;
    enum { LOOKED_AT = LOOKS * LOOK_PAGES_MAX };
    return resident >= LOOKED_AT - LOOKED_AT / UNFILLED_SHARE ? FILLED : UNFILLED;
}

static void conclude(enum finding finding, size_t bytes)
{
    if (finding == FILLED) {
        if (bytes > atomic_load_relaxed(&witness.proven))
            atomic_store_relaxed(&witness.proven, bytes);
        return;
    }
    atomic_store_relaxed(&witness.proven, (size_t)0);
    atomic_add_relaxed(&witness.doubts, finding == UNFILLED ? 1U : DOUBTS_MAX);
}

static bool is_asked_for(void)
{
    return huge_is_possible() && atomic_load_relaxed(&witness.doubts) < DOUBTS_MAX;
}

/* Whether the block became the witness. */
static bool testifies(uintptr_t block, size_t bytes)
{
    if (atomic_load_relaxed(&witness.place) != VACANT)
        return false;
    if (is_trusted(bytes) && (atomic_add_relaxed(&witness.trusted, 1U) + 1) % TRUSTED_SHARE != 0)
        return false;
    if (!atomic_cas_acquire(&witness.place, (uintptr_t)VACANT, (uintptr_t)BUSY))
        return false;
    atomic_store_relaxed(&witness.bytes, bytes);
    atomic_store_release(&witness.place, block);
    return true;
}

/* Its owner may free it meanwhile: then what we see is not filled, and says nothing. */
static void hear_living(void)
{
    uintptr_t place = atomic_load_acquire(&witness.place);
    size_t bytes = atomic_load_acquire(&witness.bytes);
    if (place == VACANT || place == BUSY || atomic_load_relaxed(&witness.place) != place)
        return;
    if (look_at(place, bytes) == FILLED &&
        atomic_cas_acquire(&witness.place, place, (uintptr_t)VACANT))
        conclude(FILLED, bytes);
}

void witness_fresh(void *block, size_t bytes)
{
    if (!is_asked_for())
        return;
    if (!is_trusted(bytes))
        hear_living();
    if (testifies((uintptr_t)block, bytes))
        return;
    if (is_trusted(bytes))
        huge_ask((uintptr_t)block, bytes, bytes >= REST_BYTES);
}

/* The caller owns the block: if it is the witness, it is until we say so. */
static bool was_witness(const void *block)
{
    uintptr_t place = (uintptr_t)block;
    return atomic_load_relaxed(&witness.place) == place &&
           atomic_cas_acquire(&witness.place, place, (uintptr_t)BUSY);
}

void witness_ends(const void *block)
{
    if (!was_witness(block))
        return;
    size_t bytes = atomic_load_relaxed(&witness.bytes);
    conclude(look_at((uintptr_t)block, bytes), bytes);
    atomic_store_release(&witness.place, (uintptr_t)VACANT);
}

bool witness_grows(const void *block, size_t had, size_t new_bytes)
{
    witness_ends(block);
    if (!is_asked_for())
        return false;
    if (!is_trusted(new_bytes) && look_at((uintptr_t)block, had) == FILLED)
        conclude(FILLED, had);
    return is_trusted(new_bytes);
}

void witness_grown(void *block, size_t had, size_t new_bytes)
{
    huge_ask((uintptr_t)block + had, new_bytes - had, new_bytes >= REST_BYTES);
}

void witness_fork_child(void)
{
    if (witness.place == BUSY)
        witness.place = VACANT;
}
