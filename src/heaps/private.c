#include "heaps/internal.h"
#include "heaps/lock.h"
#include <ration/private.h>
#include <sys/mman.h>

enum { I_RANGE = 12 }; /* the others are the fit heap's */

enum { DEFAULT_GROW_BYTES = 1 << 20, LEAST_RANGE_BYTES = 1 << 20 };

static struct ration_private *private_of(const struct ration_heap *heap)
{
    return (struct ration_private *)(uintptr_t)heap;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* --- the lock, and reports behind it --- */

static struct ration_heap *enter(struct ration_private *own)
{
    lock_take(&own->lock);
    return &own->fit.heap;
}

/* A handler may jump away or use this heap: what was found is reported when the lock is open. */
static void leave(struct ration_private *own)
{
    struct ration_misuse misuse = own->caught;
    own->caught.detail = NULL;
    lock_give(&own->lock);
    if (UNLIKELY(misuse.detail != NULL)) {
        misuse.heap = &own->heap;
        ration_misuse_report(&misuse);
    }
}

/* --- the range --- */

static void *reserve(size_t *bytes, size_t least)
{
    for (size_t n = *bytes; n >= least; n = align_up(n / 2, page_bytes())) {
        void *range = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range != MAP_FAILED) {
            *bytes = n;
            return range;
        }
        if (n <= page_bytes())
            break;
    }
    return NULL;
}

/* Makes the first `bytes` of the range usable, or gives the memory behind them back. Returns 0, or
 * -1 if the system has no memory. */
static int set_usable(struct ration_private *own, size_t bytes)
{
    bytes = align_up(bytes, page_bytes());
    if (bytes > own->usable_bytes) {
        if (mprotect((void *)(own->start + own->usable_bytes), bytes - own->usable_bytes,
                     PROT_READ | PROT_WRITE) != 0)
            return -1;
    } else if (bytes < own->usable_bytes) {
        /* Mapping afresh gives memory and accounting back in one call; the range stays ours. */
        void *behind = (void *)(own->start + bytes);
        if (mmap(behind, own->usable_bytes - bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
            return -1;
    }
    own->usable_bytes = bytes;
    return 0;
}

/* ration_fit_grow_fn: the end of the range in use, as sbrk would move it. */
static void *move_end(void *context, intptr_t increment)
{
    struct ration_private *own = context;
    void *const impossible = (void *)-1;
    size_t old = own->used_bytes;
    size_t wanted = old + (size_t)increment;
    bool is_possible =
        increment >= 0 ? (size_t)increment <= own->reserved_bytes - old : (size_t)-increment <= old;
    if (!is_possible || (increment != 0 && set_usable(own, wanted) != 0))
        return impossible;
    own->used_bytes = wanted;
    return (void *)(own->start + old);
}

/* --- the operations: the fit heap's, under the lock --- */

static void *private_alloc(struct ration_heap *heap, size_t size, size_t alignment)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    void *block = inner->ops->alloc(inner, size, alignment);
    leave(own);
    return block;
}

static void *private_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    void *resized = inner->ops->resize(inner, block, size);
    leave(own);
    return resized;
}

static void *private_try_resize(struct ration_heap *heap, void *block, size_t size)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    void *resized = inner->ops->try_resize(inner, block, size);
    leave(own);
    return resized;
}

static void private_free(struct ration_heap *heap, void *block)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    inner->ops->free(inner, block);
    leave(own);
}

/* The range is this heap's alone for as long as it lives: no lock. */
static bool private_owns(const struct ration_heap *heap, const void *address)
{
    const struct ration_private *own = private_of(heap);
    return (uintptr_t)address - own->start < own->reserved_bytes;
}

static size_t private_usable_size(const struct ration_heap *heap, const void *block)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    size_t bytes = inner->ops->usable_size(inner, block);
    leave(own);
    return bytes;
}

static int private_walk(const struct ration_heap *heap, ration_walk_fn *visit, void *context)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    int stop = inner->ops->walk(inner, visit, context);
    leave(own);
    return stop;
}

static void private_check(const struct ration_heap *heap, struct ration_finding *finding)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    bool lies_inside =
        own->fit.row.start == own->start && own->fit.row.end == own->start + own->used_bytes &&
        own->used_bytes <= own->usable_bytes && own->usable_bytes <= own->reserved_bytes;
    if (lies_inside)
        inner->ops->check(inner, finding);
    else
        finding_set(finding, I_RANGE, own->start,
                    "the heap does not lie in the usable part of its range");
    leave(own);
}

static void private_stats(const struct ration_heap *heap, struct ration_heap_stats *stats)
{
    struct ration_private *own = private_of(heap);
    struct ration_heap *inner = enter(own);
    inner->ops->stats(inner, stats);
    leave(own);
}

static void private_destroy(struct ration_heap *heap)
{
    struct ration_private *own = private_of(heap);
    munmap((void *)own->start, own->reserved_bytes);
    own->reserved_bytes = 0;
}

static const struct ration_figures private_figures = {
    .places = FIGURES_OF_STATS(struct ration_private, fit.stats)};

static const struct ration_heap_ops private_ops = {
    .kind = "private",
    .alloc = private_alloc,
    .resize = private_resize,
    .try_resize = private_try_resize,
    .free = private_free,
    .owns = private_owns,
    .usable_size = private_usable_size,
    .walk = private_walk,
    .check = private_check,
    .stats = private_stats,
    .destroy = private_destroy,
    .figures = &private_figures,
};

/* --- giving memory back --- */

/* Of a free block, the pages that hold neither its tag and links nor its size at the end. */
static int purge_inside(const struct ration_block *block, void *context)
{
    size_t *given = context;
    enum { FRONT_BYTES = 16, BACK_BYTES = 8 };
    if (block->state != RATION_BLOCK_FREE)
        return 0;
    uintptr_t from = align_up((uintptr_t)block->address + FRONT_BYTES, page_bytes());
    uintptr_t to = align_down((uintptr_t)block->address + block->bytes - BACK_BYTES, page_bytes());
    if (from < to && madvise((void *)from, to - from, MADV_DONTNEED) == 0)
        *given += to - from;
    return 0;
}

size_t ration_private_trim(struct ration_private *own)
{
    size_t given = 0;
    if (own->heap.ops != &private_ops) /* ended, or its blocks are plain malloc's */
        return 0;
    struct ration_heap *inner = enter(own);
    size_t usable = own->usable_bytes;
    ration_fit_trim(&own->fit, 0);
    given = usable - own->usable_bytes;
    inner->ops->walk(inner, purge_inside, &given);
    leave(own);
    return given;
}

/* --- the beginning --- */

static struct ration_heap *start_engine(struct ration_private *own,
                                        const struct ration_private_options *o)
{
    struct ration_fit_options fit = {
        .name = o->name,
        .grow = move_end,
        .grow_context = own,
        .grow_bytes = o->grow_bytes != 0 ? o->grow_bytes : DEFAULT_GROW_BYTES,
        .secret = o->secret,
    };
    if (ration_fit_init(&own->fit, NULL, 0, &fit) == NULL) {
        munmap((void *)own->start, own->reserved_bytes);
        return NULL;
    }
    own->fit.heap.caught = &own->caught;
    return &own->heap;
}

struct ration_heap *ration_private_init(struct ration_private *own,
                                        const struct ration_private_options *options)
{
    struct ration_private_options o = {0};
    if (options != NULL)
        o = *options;
    *own = (struct ration_private){0};
    if (o.limit_bytes > RATION_FIT_MAX_BYTES || o.grow_bytes > RATION_FIT_MAX_BYTES)
        return NULL;
    ration_heap_init(&own->heap, &private_ops, o.name, 16);
    own->heap.is_shared = true;
    size_t limit = o.limit_bytes != 0 ? o.limit_bytes : HEAP_SIZE_MAX;
    if (ration_passthrough_begin(&own->heap,
                                 (struct passthrough_limits){limit, HEAP_SIZE_MAX, SIZE_MAX, 0}))
        return &own->heap;
    bool is_limited = o.limit_bytes != 0;
    own->reserved_bytes = align_up(is_limited ? o.limit_bytes : RATION_FIT_MAX_BYTES, page_bytes());
    void *range =
        reserve(&own->reserved_bytes, is_limited ? own->reserved_bytes : LEAST_RANGE_BYTES);
    if (range == NULL)
        return NULL;
    own->start = (uintptr_t)range;
    return start_engine(own, &o);
}
