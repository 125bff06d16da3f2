#include "span/kept.h"

#include "span/span_internal.h"

#include <string.h>

enum {
    REQUESTS_LEAST = 32, /* since the row was opened, before it is judged */
    REQUESTS_MOST = 128,
    CLOSED_FREES = 1024, /* after which a row that did not pay is tried again */
};

/* Zeroes are rows without runs, their locks free and of RANK_SHELF. */
struct kept_row kept_rows[KEPT_ROWS];
static unsigned n_open;

void kept_open(unsigned number)
{
    if (number > n_open)
        atomic_store_relaxed(&n_open, number);
}

static bool is_empty(const struct kept_row *row)
{
    return atomic_load_relaxed(&row->n) == 0;
}

static bool is_short(size_t pages)
{
    return pages <= KEPT_BYTES_EACH >> page_shift;
}

/* The last bit stands for all lengths from there on. */
static uint32_t bit_of(size_t pages)
{
    return (uint32_t)1 << (min_size(pages, 32) - 1);
}

static void set_counts(struct kept_row *row, size_t n)
{
    uint32_t pages = 0;
    uint32_t present = 0;
    for (size_t i = 0; i < n; i++) {
        pages += row->lengths[i];
        present |= bit_of(row->lengths[i]);
    }
    atomic_store_relaxed(&row->n, (uint32_t)n);
    atomic_store_relaxed(&row->pages, pages);
    atomic_store_relaxed(&row->present, present);
}

/* Runs [from, from + n). */
static void forget_locked(struct kept_row *row, size_t from, size_t n)
{
    size_t behind = row->n - from - n;
    memmove(&row->lengths[from], &row->lengths[from + n], behind * sizeof *row->lengths);
    memmove(&row->firsts[from], &row->firsts[from + n], behind * sizeof *row->firsts);
    memmove(&row->stamps_ms[from], &row->stamps_ms[from + n], behind * sizeof *row->stamps_ms);
    set_counts(row, row->n - n);
}

/* A run of the row that ends or begins where the run of `pages` at `first` begins or ends; the row's count: none. */
static size_t find_neighbour(const struct kept_row *row, size_t first, size_t pages)
{
    size_t i = 0;
    while (i < row->n &&
           (row->lengths[i] + pages > KEPT_PAGES_MERGED ||
            (row->firsts[i] + row->lengths[i] != first && first + pages != row->firsts[i])))
        i++;
    return i;
}

/* With its neighbours in the row it becomes one. */
static void add_locked(struct kept_row *row, size_t first, size_t pages, uint64_t now_ms)
{
    size_t k;
    while ((k = find_neighbour(row, first, pages)) < row->n) {
        size_t other = row->firsts[k];
        tag_set(max_size(first, other), 0);
        first = min_size(first, other);
        pages += row->lengths[k];
        row->more_runs--;
        forget_locked(row, k, 1);
    }
    tag_set(first, tag_of_use(pages, RUN_LARGE) | TAG_KEPT);
    size_t i = row->n;
    row->lengths[i] = (uint8_t)pages;
    row->firsts[i] = (uint32_t)first;
    row->stamps_ms[i] = (uint32_t)now_ms;
    set_counts(row, i + 1);
}

/* Milliseconds since run i was freed; 0 if that was after `now_ms` was read. */
static uint64_t age_of(const struct kept_row *row, size_t i, uint64_t now_ms)
{
    int32_t age = (int32_t)((uint32_t)now_ms - row->stamps_ms[i]);
    return age > 0 ? (uint64_t)age : 0;
}

/* The n oldest. */
static NOINLINE void give_back_locked(struct kept_row *row, size_t n, uint64_t now_ms)
{
    lock_take(&span.lock);
    span.runs[RUN_LARGE] += (size_t)row->more_runs;
    row->more_runs = 0;
    for (size_t i = 0; i < n; i++) {
        tag_nothing(row->firsts[i], row->lengths[i], RUN_LARGE);
        free_run_release(row->firsts[i], row->lengths[i], now_ms - age_of(row, i, now_ms));
    }
    lock_drop(&span.lock);
    forget_locked(row, 0, n);
}

static bool has_room(const struct kept_row *row, size_t pages)
{
    return atomic_load_relaxed(&row->n) < KEPT_RUNS_MAX &&
           atomic_load_relaxed(&row->pages) + pages <= pages_for(KEPT_BYTES_MAX);
}

static void add_to_hint(uint32_t *hint, uint32_t n)
{
    atomic_store_relaxed(hint, atomic_load_relaxed(hint) + n);
}

/* Older requests count less. */
static void count_request(struct kept_row *row, bool is_served)
{
    add_to_hint(&row->requests, 1);
    add_to_hint(&row->served, is_served);
    if (atomic_load_relaxed(&row->requests) >= REQUESTS_MOST) {
        atomic_store_relaxed(&row->requests, row->requests / 2);
        atomic_store_relaxed(&row->served, row->served / 2);
    }
}

/* Else the row rarely has a run that is long enough: then it only costs, time and memory. */
static bool pays(const struct kept_row *row)
{
    uint32_t requests = atomic_load_relaxed(&row->requests);
    return requests < REQUESTS_LEAST || atomic_load_relaxed(&row->served) * 3 > requests;
}

static void close_locked(struct kept_row *row, uint64_t now_ms)
{
    give_back_locked(row, row->n, now_ms);
    atomic_store_relaxed(&row->closed, CLOSED_FREES);
    atomic_store_relaxed(&row->requests, 0U);
    atomic_store_relaxed(&row->served, 0U);
}

bool tag_keep(size_t first, size_t pages)
{
    uint64_t tag = tag_of_use(pages, RUN_LARGE);
    return tag_change(first, tag, tag | TAG_KEPT);
}

static bool put_locked(struct kept_row *row, size_t first, size_t pages)
{
    uint64_t now_ms = os->now_ms();
    if (!has_room(row, pages) && !pays(row)) {
        close_locked(row, now_ms);
        return false;
    }
    if (!tag_keep(first, pages))
        return false;
    while (!has_room(row, pages))
        give_back_locked(row, 1, now_ms);
    add_locked(row, first, pages, now_ms);
    return true;
}

static bool is_closed(struct kept_row *row)
{
    uint32_t left = atomic_load_relaxed(&row->closed);
    if (left > 0)
        atomic_store_relaxed(&row->closed, left - 1);
    return left > 0;
}

size_t kept_put(uintptr_t address, unsigned number)
{
    size_t bytes = span_in_use_bytes(address, RUN_LARGE);
    size_t pages = bytes >> page_shift;
    struct kept_row *row = &kept_rows[number - 1];
    if (bytes == 0 || !is_short(pages) || is_closed(row))
        return 0;
    lock_take(&row->lock);
    bool kept = put_locked(row, page_of(address), pages);
    lock_drop(&row->lock);
    return kept ? bytes : 0;
}

/* The shortest that is long enough, of equals the youngest; the row's count: none. */
static size_t find_fit(const struct kept_row *row, size_t pages)
{
    size_t best = row->n;
    for (size_t i = 0; i < row->n; i++) {
        if (row->lengths[i] >= pages && (best == row->n || row->lengths[i] <= row->lengths[best]))
            best = i;
    }
    return best;
}

/* What is left of the run stays where it is in the row. */
static void cut_locked(struct kept_row *row, size_t i, size_t pages)
{
    row->firsts[i] += (uint32_t)pages;
    row->lengths[i] = (uint8_t)(row->lengths[i] - pages);
    row->more_runs++;
    tag_set(row->firsts[i], tag_of_use(row->lengths[i], RUN_LARGE) | TAG_KEPT);
    set_counts(row, row->n);
}

static void *take_locked(struct kept_row *row, size_t pages)
{
    size_t i = find_fit(row, pages);
    if (i == row->n)
        return NULL;
    size_t first = row->firsts[i];
    if (row->lengths[i] > pages)
        cut_locked(row, i, pages);
    else
        forget_locked(row, i, 1);
    tag_set(first, tag_of_use(pages, RUN_LARGE));
    return (void *)address_of(first);
}

void *kept_take(size_t bytes, unsigned number)
{
    size_t pages = pages_for(bytes);
    struct kept_row *row = &kept_rows[number - 1];
    if (!is_short(pages))
        return NULL;
    void *block = NULL;
    if (atomic_load_relaxed(&row->present) >= bit_of(pages)) {
        lock_take(&row->lock);
        block = take_locked(row, pages);
        lock_drop(&row->lock);
    }
    if (atomic_load_relaxed(&row->closed) == 0)
        count_request(row, block != NULL);
    return block;
}

static size_t count_old(const struct kept_row *row, uint64_t now_ms, uint64_t age_ms)
{
    size_t n = 0;
    while (n < row->n && age_of(row, n, now_ms) >= age_ms)
        n++;
    return n;
}

size_t kept_give_back(uint64_t now_ms, uint64_t age_ms)
{
    size_t given = 0;
    for (unsigned k = 0; k < atomic_load_relaxed(&n_open); k++) {
        struct kept_row *row = &kept_rows[k];
        if (is_empty(row))
            continue;
        lock_take(&row->lock);
        size_t n = count_old(row, now_ms, age_ms);
        if (n > 0)
            give_back_locked(row, n, now_ms);
        lock_drop(&row->lock);
        given += n;
    }
    return given;
}

static int check_run(const struct kept_row *row, size_t i)
{
    if (tag_at(row->firsts[i]) != (tag_of_use(row->lengths[i], RUN_LARGE) | TAG_KEPT))
        return 1;
    bool is_ordered = i == 0 || (int32_t)(row->stamps_ms[i] - row->stamps_ms[i - 1]) >= 0;
    return is_ordered && row->lengths[i] > 0 ? 0 : 2;
}

static int check_locked(const struct kept_row *row)
{
    size_t pages = 0;
    uint32_t present = 0;
    if (row->n > KEPT_RUNS_MAX)
        return 2;
    for (size_t i = 0; i < row->n; i++) {
        int broken = check_run(row, i);
        if (broken != 0)
            return broken;
        pages += row->lengths[i];
        present |= bit_of(row->lengths[i]);
    }
    return pages == row->pages && present == row->present && pages <= pages_for(KEPT_BYTES_MAX) ? 0
                                                                                                : 2;
}

int kept_check(void)
{
    int broken = 0;
    for (unsigned k = 0; k < n_open && broken == 0; k++) {
        lock_take(&kept_rows[k].lock);
        broken = check_locked(&kept_rows[k]);
        lock_drop(&kept_rows[k].lock);
    }
    return broken;
}

bool kept_lock_is_mine(void)
{
    for (unsigned k = 0; k < n_open; k++) {
        if (lock_is_mine(&kept_rows[k].lock))
            return true;
    }
    return false;
}

void kept_lock_all(void)
{
    for (unsigned k = 0; k < n_open; k++)
        lock_take(&kept_rows[k].lock);
}

void kept_unlock_all(void)
{
    for (unsigned k = 0; k < n_open; k++)
        lock_drop(&kept_rows[k].lock);
}

long kept_more_runs(void)
{
    long sum = 0;
    for (unsigned k = 0; k < n_open; k++)
        sum += kept_rows[k].more_runs;
    return sum;
}

void kept_fork_prepare(bool nested)
{
    for (unsigned k = 0; k < n_open; k++)
        lock_fork_take(&kept_rows[k].lock, nested);
}

void kept_fork_parent(void)
{
    for (unsigned k = 0; k < n_open; k++)
        lock_fork_parent(&kept_rows[k].lock);
}

void kept_fork_child(void)
{
    for (unsigned k = 0; k < n_open; k++)
        lock_fork_child(&kept_rows[k].lock);
}
