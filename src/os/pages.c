#include "os/pages.h"

#include "base/atomics.h"
#include "base/bits.h"

static struct pages_account own_account = {
    .magic = PAGES_MAGIC, .bytes = sizeof(struct pages_account), .programs = 1};

struct pages_account *pages_account = &own_account;

static void add(uint64_t *figure, uint64_t n)
{
    atomic_add_relaxed(figure, n);
}

/* Nobody reads the times of a private account, and the clock is a page of its own. 0: not timed. */
static uint64_t begin_call(void)
{
    return atomic_load_relaxed(&pages_account) != &own_account ? os->now_ns() : 0;
}

static void count(enum pages_reason why, uint64_t since_ns, uint64_t calls, size_t bytes, bool ok)
{
    struct pages_calls *c = &atomic_load_settled(&pages_account)->by[why];
    if (since_ns != 0)
        add(&c->nanoseconds, os->now_ns() - since_ns);
    add(&c->calls, calls);
    add(&c->bytes, bytes);
    if (!ok)
        add(&c->refused, 1);
}

void *pages_map(enum pages_reason why, void *at, size_t bytes, enum os_map_how how)
{
    uint64_t since = begin_call();
    void *p = os->pages_map(at, bytes, how);
    count(why, since, 1, p != NULL ? bytes : 0, p != NULL);
    return p;
}

bool pages_unmap(enum pages_reason why, void *start, size_t bytes)
{
    uint64_t since = begin_call();
    bool ok = os->pages_unmap(start, bytes);
    count(why, since, 1, ok ? bytes : 0, ok);
    return ok;
}

size_t pages_purge(enum pages_reason why, const struct os_range *ranges, size_t n)
{
    if (n == 0)
        return 0;
    uint64_t since = begin_call();
    size_t calls = 0;
    size_t done = os->pages_purge(ranges, n, &calls);
    size_t bytes = 0;
    for (size_t i = 0; i < done; i++)
        bytes += ranges[i].bytes;
    count(why, since, calls, bytes, done == n);
    return done;
}

bool pages_move(void *from, size_t from_bytes, void *to, size_t to_bytes)
{
    uint64_t since = begin_call();
    bool ok = os->pages_move(from, from_bytes, to, to_bytes);
    count(PAGES_MOVE, since, 1, ok ? from_bytes : 0, ok);
    return ok;
}

static void advise(void (*advice)(void *, size_t), uint64_t calls, void *start, size_t bytes)
{
    uint64_t since = begin_call();
    advice(start, bytes);
    count(PAGES_ADVICE, since, calls, bytes, true);
}

void pages_no_huge(void *start, size_t bytes)
{
    advise(os->pages_no_huge, 1, start, bytes);
}

void pages_huge(void *start, size_t bytes)
{
    advise(os->pages_huge, 1, start, bytes);
}

void pages_split(void *start, size_t bytes)
{
    advise(os->pages_split, 2, start, bytes);
}

/* A refused mark and the call that stood in for it count as one. */
enum os_guard pages_guard(void *start, size_t bytes, bool may_map)
{
    uint64_t since = begin_call();
    enum os_guard how = os->pages_guard(start, bytes, may_map);
    bool ok = how != OS_GUARD_NONE;
    count(PAGES_GUARD, since, 1, ok ? bytes : 0, ok);
    return how;
}

bool pages_unguard(void *start, size_t bytes, enum os_guard how)
{
    uint64_t since = begin_call();
    bool ok = os->pages_unguard(start, bytes, how);
    count(PAGES_GUARD, since, 1, ok ? bytes : 0, ok);
    return ok;
}

/* From both ends of a fork before the programs parted: what is added here is added once. */
static void carry_over(struct pages_account *to, const struct pages_account *from)
{
    for (int why = 0; why < PAGES_REASONS; why++) {
        add(&to->by[why].calls, from->by[why].calls);
        add(&to->by[why].refused, from->by[why].refused);
        add(&to->by[why].bytes, from->by[why].bytes);
        add(&to->by[why].nanoseconds, from->by[why].nanoseconds);
    }
}

bool pages_share(int fd)
{
    uint64_t since = os->now_ns();
    struct pages_account *shared = os->file_share(fd, PAGES_MAGIC, sizeof *shared);
    if (shared == NULL)
        return false;
    count(PAGES_LOOK, since, 1, align_up(sizeof *shared, os->page_bytes()), true);
    carry_over(shared, &own_account);
    add(&shared->programs, 1);
    atomic_store_relaxed(&pages_account, shared);
    return true;
}
