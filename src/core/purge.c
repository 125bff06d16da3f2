#include "core/purge.h"

#include "base/bits.h"
#include "cache/cache.h"
#include "conf/conf.h"
#include "os/limit.h"
#include "os/lock.h"
#include "os/pages.h"
#include "slab/shelf.h"
#include "span/huge.h"
#include "span/kept.h"
#include "span/span.h"

enum {
    HELD_MAX = 16,    /* slabs out of their shelf at once */
    RANGES_MAX = 256, /* given back by one system call */
    RUN_PAGES_MAX = 4096,
    GROWTH_PAGES_MAX =
        256, /* while a thread waits for its block: 65 us measured, below 200 wanted; the rest ages */
    REST_SHARE = 2, /* of the age: what was leased ages once more when the rest ends */
    QUIET_PASSES =
        3, /* the helper goes after so many passes, half a purge_delay apart, that found nothing */
};
/* With larger pages fewer: a thread that waits unmaps nothing, which longer parts would be (span_purge). */
#define GROWTH_BYTES_MAX MIB(4)
#define NOTE_BYTES       MIB(1)   /* free memory below this is not worth a thread */
#define AT_ONCE_BYTES    KIB(128) /* nor this a pass, where pages shall go back at once */

static struct {
    struct lock pass_lock;
    uint32_t passes;
    uint64_t last_pass_ms;
    uint32_t near_limit;     /* 1: the control group's memory was near its limit at the last pass */
    size_t noted;            /* hint: bytes freed since the last pass began, or enough of them */
    uint32_t helper_alive;   /* 1 from before its start until the kernel has removed it */
    uint32_t helper_serving; /* 1 while it will look at `noted` once more before it goes */
    bool helper_refused;
} purge = {.pass_lock = LOCK_INIT(RANK_PURGE)};

static unsigned char helper_stack[HELPER_STACK_BYTES] __attribute__((aligned(64)));

static size_t ranges_bytes(const struct os_range *ranges, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += ranges[i].bytes;
    return bytes;
}

static size_t purge_ranges(const struct os_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        huge_leave(&ranges[i]);
    size_t done = pages_purge(PAGES_SLOTS, ranges, n);
    for (size_t i = done; i < n; i++)
        slab_unmark_purged(slab_of((uintptr_t)ranges[i].start), &ranges[i]);
    return ranges_bytes(ranges, done);
}

static size_t purge_held(struct slab **held, size_t n)
{
    struct os_range ranges[RANGES_MAX];
    size_t count = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (RANGES_MAX - count < SLAB_PAGES_MAX) {
            bytes += purge_ranges(ranges, count);
            count = 0;
        }
        count += slab_collect_purge(held[i], ranges + count, RANGES_MAX - count);
    }
    return bytes + purge_ranges(ranges, count);
}

static size_t purge_class(unsigned c, const struct shelf_pass *pass)
{
    struct slab *held[HELD_MAX];
    size_t bytes = 0;
    size_t n;
    do {
        lock_take(&purge.pass_lock);
        n = shelf_hold_old(c, pass, held, HELD_MAX);
        bytes += purge_held(held, n);
        shelf_put_back(held, n);
        lock_drop(&purge.pass_lock);
    } while (n == HELD_MAX);
    return bytes;
}

/* Those of a pass that gives back what is old are as old as that. */
static size_t give_back_pockets(uint64_t now_ms, uint64_t age_ms)
{
    size_t n = 0;
    for (const struct cache *c = atomic_load_acquire(&all_caches.first); c != NULL; c = c->next)
        n += pocket_give_back(&c->pocket, age_ms == 0, now_ms - age_ms);
    return n;
}

/* By a clock of its own: slabs that the pass retired are younger than its beginning. */
static size_t purge_runs(uint64_t age_ms)
{
    uint64_t now_ms = os->now_ms();
    size_t pages = 0;
    size_t now;
    give_back_pockets(now_ms, age_ms);
    kept_give_back(now_ms, age_ms);
    do {
        lock_take(&purge.pass_lock);
        now = span_purge(now_ms, age_ms, RUN_PAGES_MAX, RUN_PAGES_MAX);
        lock_drop(&purge.pass_lock);
        pages += now;
    } while (now != 0); /* a batch is bounded by runs as well as by pages */
    return pages << page_shift;
}

/* Near the limit of the control group everything free goes back, however young: the kernel would otherwise swap or kill.
 * *noted: what was freed since the last pass began; each note is counted once, or twice, never lost. */
static size_t purge_pass(uint64_t age_ms, size_t *noted)
{
    uint64_t now = os->now_ms();
    uint32_t near_limit = limit_is_near();
    atomic_store_relaxed(&purge.near_limit, near_limit);
    if (near_limit != 0)
        age_ms = 0;
    uint16_t number = (uint16_t)(atomic_add_relaxed(&purge.passes, 1) + 1);
    struct shelf_pass pass = {
        .number = number == 0 ? 1 : number, .now_ms = (uint32_t)now, .age_ms = (uint32_t)age_ms};
    atomic_store_relaxed(&purge.last_pass_ms, now);
    *noted = atomic_exchange_acquire(&purge.noted, (size_t)0);
    cache_end_rests(now, age_ms / REST_SHARE);
    size_t bytes = 0;
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        bytes += purge_class(c, &pass);
    return bytes + purge_runs(age_ms);
}

COLD bool purge_reserves(void)
{
    uint64_t now = os->now_ms();
    bool rested = cache_end_rests(now, 0);
    return give_back_pockets(now, 0) + kept_give_back(now, 0) > 0 || rested;
}

size_t purge_all(void)
{
    size_t noted;
    return purge_pass(0, &noted);
}

/* By the third pass in a row that gave nothing back and before which little was freed, all that was free has grown old
 * enough: what is left cannot be purged. */
static bool helper_is_done(int *quiet, size_t noted_before, size_t given_back)
{
    bool found_nothing = given_back == 0 && noted_before < NOTE_BYTES;
    *quiet = found_nothing ? *quiet + 1 : 0;
    return *quiet >= QUIET_PASSES || conf.purge_delay <= 0;
}

/* Runs on the helper: no C library, no thread-local variable. */
static void helper_main(void *unused)
{
    (void)unused;
    int quiet = 0;
    uint32_t never_woken = 0;
    for (;;) {
        int delay = conf.purge_delay > 1 ? conf.purge_delay : 2;
        bool near_limit = atomic_load_relaxed(&purge.near_limit) != 0;
        os->wait(&never_woken, 0, near_limit ? (delay + 15) / 16 : delay / 2);
        size_t noted;
        size_t given_back = purge_pass((uint64_t)delay, &noted);
        if (!helper_is_done(&quiet, noted, given_back))
            continue;
        /* Pairs with purge_note: either it sees that nobody serves, or we see what it noted. The fence: an exchange alone
         * may be overtaken by a later load (aarch64). */
        atomic_exchange_full(&purge.helper_serving, 0U);
        atomic_fence_full();
        if (atomic_load_relaxed(&purge.noted) < NOTE_BYTES || conf.purge_delay <= 0 ||
            atomic_exchange_full(&purge.helper_serving, 1U) != 0)
            return;
        quiet = 0;
    }
}

static bool ensure_helper(void)
{
    if (atomic_load_relaxed(&purge.helper_serving) != 0)
        return true;
    if (atomic_load_relaxed(&purge.helper_refused) || conf.purge_thread == 0)
        return false;
    /* The last one may be on its last instructions, on the same stack: the next note tries again. */
    if (!atomic_cas_acquire(&purge.helper_alive, 0U, 1U))
        return true;
    atomic_store_relaxed(&lock_helper_stack, helper_stack);
    atomic_exchange_full(&purge.helper_serving, 1U);
    if (os->helper_start(helper_main, NULL, helper_stack, sizeof helper_stack, &purge.helper_alive))
        return true;
    atomic_store_relaxed(&purge.helper_refused, true);
    atomic_exchange_full(&purge.helper_serving, 0U);
    atomic_store_release(&purge.helper_alive, 0U);
    return false;
}

void purge_note(size_t bytes)
{
    if (conf.purge_delay < 0)
        return;
    size_t noted = atomic_load_relaxed(&purge.noted);
    /* Once it is enough, more makes no difference, and threads need not fetch each other's line. */
    if (noted < NOTE_BYTES) {
        noted += bytes;
        atomic_store_relaxed(&purge.noted, noted);
        if (noted >= NOTE_BYTES)
            atomic_fence_full(); /* before the look at helper_serving; pairs with helper_main */
    }
    if (conf.purge_delay == 0) {
        if (noted >= AT_ONCE_BYTES)
            purge_pass(0, &noted);
        return;
    }
    if (noted < NOTE_BYTES || ensure_helper())
        return;
    uint64_t age = (uint64_t)conf.purge_delay;
    if (os->now_ms() - atomic_load_relaxed(&purge.last_pass_ms) >= age)
        purge_pass(age, &noted);
}

void purge_growth_slow(void)
{
    bool near_limit = atomic_load_relaxed(&purge.near_limit) != 0;
    size_t pages = span_take_excess(near_limit);
    if (pages == 0 || conf.purge_delay < 0 || !lock_try_take(&purge.pass_lock))
        return;
    size_t max_pages =
        near_limit ? RUN_PAGES_MAX : min_size(GROWTH_PAGES_MAX, GROWTH_BYTES_MAX >> page_shift);
    span_purge(os->now_ms(), 0, min_size(pages, max_pages), max_pages);
    lock_drop(&purge.pass_lock);
}

bool purge_lock_is_mine(void)
{
    return lock_is_mine(&purge.pass_lock);
}

void purge_fork_prepare(bool nested)
{
    lock_fork_take(&purge.pass_lock, nested);
}

void purge_fork_parent(void)
{
    lock_fork_parent(&purge.pass_lock);
}

void purge_fork_child(void)
{
    lock_fork_child(&purge.pass_lock);
    purge.helper_alive = 0;
    purge.helper_serving = 0;
    purge.noted = NOTE_BYTES; /* what the parent's helper was about to do */
}
