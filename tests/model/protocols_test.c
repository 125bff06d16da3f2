/* The protocols of the core, each as two or three threads of a few operations, under every schedule
 * with a bounded number of preemptions. Checked in each: no block is handed out while it is held,
 * nothing is lost, double frees that come after one another are detected, all invariants hold at
 * the end, and all memory can be had back.
 *
 *   model_protocols            all scenarios: none may break
 *   model_protocols RANK       locks of this rank exclude nobody: some scenario must break */
#include "model.h"

#include "conf/conf.h"
#include "core/core.h"
#include "core/fast_path.h"
#include "core/life.h"
#include "core/purge.h"
#include "slab/shelf.h"
#include "span/span.h"
#include "support/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum {
    HELD_MAX = 16,
    NARROW = 2048, /* 32 slots to a slab */
    WIDE = 16000,  /* 16 */
    SMALL = 64,
    OTHER = 200,
    LARGE = 100000,
    CLASS_ROOM = 64
};

/* Of the blocks in the scenarios about slabs: NARROW or WIDE. */
static size_t size;

/* What the scenario's threads hold. Part of the data that is put back before each schedule. */
static struct {
    void *p;
    size_t n;
} held[HELD_MAX];
static unsigned held_count;
static void *shared[CLASS_ROOM]; /* blocks made by `prepare` for the threads to free */
static unsigned expected_reports;

static struct os_table model_os;

/* Pages that an earlier schedule mapped are mapped still: over them. */
static void *map_again(void *at, size_t bytes, enum os_map_how how)
{
    model_point();
    return os_linux.pages_map(at, bytes, how == OS_MAP_EXACT ? OS_MAP_OVER : how);
}

static size_t purge_pages(const struct os_range *ranges, size_t n, size_t *calls)
{
    (void)ranges;
    (void)calls;
    model_point();
    return n; /* nothing here reads what is in the pages */
}

static bool keep_pages(void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
    model_point();
    return false;
}

static void wait_in_model(uint32_t *word, uint32_t expected, int timeout_ms)
{
    (void)word;
    (void)expected;
    if (timeout_ms > 0)
        fake.now_ms += (unsigned)timeout_ms;
    model_nap();
}

static bool start_in_model(void (*entry)(void *), void *arg, void *stack, size_t stack_bytes,
                           uint32_t *alive)
{
    (void)stack;
    (void)stack_bytes;
    return model_start(entry, arg, alive);
}

static uint32_t one_thread(void)
{
    return 1;
}

static void open_heap(void)
{
    fake_os_install();
    heap_go_on_after_misuse();
    conf.purge_thread = 0;
    conf.purge_delay = 500;
    REQUIRE(life_cache() != NULL);
    model_os = *os;
    model_os.pages_map = map_again;
    model_os.pages_purge = purge_pages;
    model_os.pages_unmap = keep_pages;
    model_os.wait = wait_in_model;
    model_os.helper_start = start_in_model;
    model_os.thread_id = one_thread;
    os = &model_os;
}

static void *take(size_t n)
{
    char *p = malloc_fast(n);
    MODEL_REQUIRE(p != NULL);
    for (unsigned i = 0; i < HELD_MAX; i++) {
        const char *other = held[i].p;
        if (other != NULL && p < other + held[i].n && other < p + n)
            model_broken("a block was handed out twice");
    }
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (held[i].p == NULL) {
            held[i].p = p;
            held[i].n = n;
            held_count++;
            return p;
        }
    }
    model_broken("the scenario holds too much");
}

/* From here on others may get it. */
static void give(void *p)
{
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (held[i].p == p) {
            held[i].p = NULL;
            held_count--;
        }
    }
    free_fast(p);
}

/* The blocks of `shared` from `from` to `to`, held by the scenario and not looked at by take(). */
static unsigned shared_live;

static void give_shared(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        shared_live--;
        free_fast(shared[i]);
    }
}

static void end_cache(void)
{
    struct cache *mine = my_cache;
    if (mine == &no_cache)
        return;
    my_cache = &late_cache;
    cache_rest(mine, true);
}

static void end_rests(void)
{
    cache_end_rests(fake.now_ms, 0);
}

static void release_cache(struct cache *cache, void *arg)
{
    (void)arg;
    if (cache->in_use)
        cache_return_leases(cache);
}

static bool is_live_slot(const void *p)
{
    const struct slab *s = slab_of((uintptr_t)p);
    if (s == &no_slab)
        return false;
    size_t slot = slot_starting_at(s, (uintptr_t)p);
    return slot < SLOTS_MAX && s->states[slot] == SLOT_LIVE;
}

/* Counts that racing frees lost are found when the class next looks because nothing is ready. A slab that stays empty goes with
 * the next pass. */
static void look_again(unsigned c)
{
    struct slab *leased[3];
    for (int i = 0; i < 3 && !class_is_wide(c); i++) {
        leased[i] = shelf_lease(c, 0, false);
        MODEL_REQUIRE(leased[i] != NULL);
    }
    for (int i = 0; i < 3 && !class_is_wide(c); i++)
        shelf_return(leased[i]);
}

/* The class below: its blocks may lie where others of `size` are freed and taken. */
static size_t shorter(void)
{
    return size_classes[class_of(size) - 1].size;
}

/* Everything there again: counted, given back, and then no slab is left. */
static void finish(void)
{
    const char *broken = heap_broken();
    if (broken != NULL)
        model_broken(broken);
    MODEL_REQUIRE(heap_live_blocks() == held_count + shared_live);
    MODEL_REQUIRE(fake.message_writes == expected_reports);
    for (unsigned i = 0; i < HELD_MAX; i++)
        free_fast(held[i].p);
    for (unsigned i = 0; i < CLASS_ROOM && shared_live > 0; i++) {
        if (is_live_slot(shared[i]))
            free_fast(shared[i]);
    }
    cache_visit(release_cache, NULL);
    end_rests();
    look_again(class_of(size));
    look_again(class_of(shorter()));
    look_again(class_of(SMALL));
    look_again(class_of(OTHER));
    purge_all();
    MODEL_REQUIRE(heap_live_blocks() == 0);
    struct span_counts counts;
    span_count(&counts);
    MODEL_REQUIRE(counts.runs[RUN_SLAB] == 0 && counts.runs[RUN_LARGE] == 0 &&
                  counts.runs[RUN_HELD] == 0);
    broken = heap_broken();
    if (broken != NULL)
        model_broken(broken);
}

/* --- a slab leased by one thread, freed into by others --- */

static unsigned slots_of_size(void)
{
    return size_classes[class_of(size)].slots;
}

/* All slots of one slab live; the lessee's mask is empty. */
static void fill_one_slab(void)
{
    open_heap();
    shared[0] = malloc_fast(size);
    const struct slab *s = slab_of((uintptr_t)shared[0]);
    shared_live = 1;
    while (shared_live < s->slots) {
        shared[shared_live] = malloc_fast(size);
        REQUIRE(slab_of((uintptr_t)shared[shared_live]) == s);
        shared_live++;
    }
}

/* The slab is full and on its shelf; nobody has a cache. */
static void fill_and_return(void)
{
    fill_one_slab();
    cache_release(my_cache);
    my_cache = &no_cache;
}

/* The scheduler's thread is the lessee no more: thread 0 takes its cache over. */
static struct cache *lessee;

static void fill_and_hand_over(void)
{
    fill_one_slab();
    lessee = my_cache;
    my_cache = &no_cache;
}

static void refill_as_lessee(void)
{
    my_cache = lessee;
    take(size);
    give(take(size));
    take(size);
}

static void free_two(void)
{
    give_shared(2, 4);
}

static void free_all_but_last(void)
{
    give_shared(0, slots_of_size() - 1);
}

static void free_last(void)
{
    give_shared(slots_of_size() - 1, slots_of_size());
}

static void free_half(void)
{
    give_shared(0, slots_of_size() / 2);
}

static void free_other_half(void)
{
    give_shared(slots_of_size() / 2, slots_of_size());
}

static void take_two(void)
{
    take(size);
    take(size);
}

static void take_and_end(void)
{
    void *p = take(size);
    give(p);
    take(size);
    end_cache();
}

static void lessee_ends(void)
{
    my_cache = lessee;
    end_cache();
}

/* Its slab is full but for two slots. */
static void fill_and_rest(void)
{
    fill_one_slab();
    give_shared(0, 2);
    end_cache();
    my_cache = &no_cache;
}

static void lessee_trims(void)
{
    my_cache = lessee;
    cache_return_leases(my_cache);
    take(size);
}

/* --- purging while others free and lease --- */

static void purge_everything(void)
{
    purge_all();
}

static void make_cheese(void)
{
    fill_and_return();
    give_shared(0, slots_of_size() / 2);
    shared_live = slots_of_size() - slots_of_size() / 2;
    fake.now_ms += 10000;
}

static void take_shorter(void)
{
    MODEL_REQUIRE(life_cache() != NULL); /* a thread's first block is of its own class */
    take(shorter());
    take(shorter());
}

static void stand_in_first(void)
{
    make_cheese();
    REQUIRE(life_cache() != NULL);
    void *p = take(shorter());
    REQUIRE(core_usable(p, "malloc_usable_size") == size_classes[class_of(size)].size);
    give(p);
    cache_release(my_cache);
    my_cache = &no_cache;
}

static void free_rest(void)
{
    give_shared(slots_of_size() / 2, slots_of_size());
}

/* --- a slab on the shelf of its last lessee --- */

/* One free later half of it is free, and it is for all. */
static void fill_and_free_nearly_half(void)
{
    fill_one_slab();
    cache_release(cache_acquire()); /* threads are more than one: they get shelves */
    cache_return_leases(my_cache);
    struct slab *s = slab_of((uintptr_t)shared[0]);
    unsigned n = shelf_ready_at(s->class_index);
    for (unsigned i = 0; i < n; i++)
        free_fast(shared[i]);
    for (unsigned i = 0; i < n; i++)
        shared[i] = malloc_fast(size);
    REQUIRE(s->place == SLAB_LEASED && s->shelf != COMMON_SHELF);
    cache_release(my_cache);
    my_cache = &no_cache;
    give_shared(0, slots_of_size() / 2 - 1);
    REQUIRE(s->place == SLAB_READY && s->shelf != COMMON_SHELF);
}

static void free_to_half(void)
{
    give_shared(slots_of_size() / 2 - 1, slots_of_size() / 2);
}

static void free_one_more(void)
{
    give_shared(slots_of_size() / 2, slots_of_size() / 2 + 1);
}

/* A slab retired by one while the other has an event for it, and a third makes a slab of another
 * class there. */
static void take_other_class(void)
{
    take(SMALL);
    take(OTHER);
}

/* --- double frees --- */

static uint32_t first_free_done;

static void free_first(void)
{
    shared_live--;
    free_fast(shared[3]);
    atomic_store_release(&first_free_done, 1U);
}

static void free_again(void)
{
    while (atomic_load_acquire(&first_free_done) == 0)
        model_sleep();
    free_fast(shared[3]); /* a slot of this slab is handed out by nobody here: it must be told */
}

static void expect_one_report(void)
{
    fill_and_return();
    expected_reports = 1;
}

/* Of a wide slot even at the same moment: else two caches would keep it. */
static void free_twin(void)
{
    free_fast(shared[3]);
}

static void expect_one_report_of_twins(void)
{
    expect_one_report();
    shared_live--;
}

static void make_large(void)
{
    open_heap();
    shared[0] = malloc_fast(LARGE);
    shared_live = 1;
    my_cache = &no_cache;
}

static void expect_one_large_report(void)
{
    make_large();
    shared_live = 0;
    expected_reports = 1;
}

/* Even at the same moment: of two frees of a large block one is told. */
static void free_large(void)
{
    free_fast(shared[0]);
}

static void free_large_once(void)
{
    shared_live--;
    free_fast(shared[0]);
}

static void large_traffic(void)
{
    void *p = take(LARGE);
    give(p);
    take(LARGE / 2);
}

static void purge_runs(void)
{
    span_purge(fake.now_ms + 5000, 0, SIZE_MAX, SIZE_MAX);
}

/* Two caches with rows of kept runs, for threads 0 and 1. */
static struct cache *with_rows[2];

static void make_rows(void)
{
    for (int i = 0; i < 2; i++) {
        with_rows[i] = cache_acquire();
        REQUIRE(with_rows[i] != NULL && with_rows[i]->shelf != 0);
    }
}

static void make_large_with_rows(void)
{
    make_large();
    make_rows();
}

static void expect_one_large_report_with_rows(void)
{
    expect_one_large_report();
    make_rows();
}

static void free_large_into_first_row(void)
{
    my_cache = with_rows[0];
    free_large();
}

static void free_large_into_second_row(void)
{
    my_cache = with_rows[1];
    free_large();
}

static void traffic_in_first_row(void)
{
    my_cache = with_rows[0];
    large_traffic();
    take(LARGE);
}

static void traffic_in_same_row(void)
{
    my_cache = with_rows[1];
    my_cache->shelf = with_rows[0]->shelf;
    shared_live--;
    free_fast(shared[0]);
    take(LARGE);
}

/* Of one thread's pocket: what a pass marked, the next one gives back. */
static void make_pocket(void)
{
    make_large();
    make_rows();
    for (int i = 0; i < 2; i++) {
        with_rows[i]->pocket.is_open = true;
        with_rows[i]->pocket.credit = 96;
    }
    fake.now_ms += 10000;
}

static void expect_one_large_report_with_pockets(void)
{
    make_pocket();
    shared_live = 0;
    expected_reports = 1;
}

static void free_and_take_again(void)
{
    my_cache = with_rows[0];
    shared_live--;
    free_fast(shared[0]);
    void *p = take(LARGE);
    give(p);
}

static void two_passes(void)
{
    for (int i = 0; i < 2; i++) {
        pocket_give_back(&with_rows[0]->pocket, false, fake.now_ms);
        pocket_give_back(&with_rows[1]->pocket, false, fake.now_ms);
    }
}

static void free_and_drop(void)
{
    my_cache = with_rows[0];
    shared_live--;
    free_fast(shared[0]);
    pocket_drop(&my_cache->pocket);
}

static void take_beside(void)
{
    my_cache = with_rows[1];
    take(LARGE);
}

static void resize_large(void)
{
    /* held by nobody else: grows where it is, or moves */
    char *p = core_realloc(shared[0], 3 * LARGE, "realloc");
    MODEL_REQUIRE(p != NULL);
    free_fast(p);
    shared_live--;
}

/* --- the purge helper: what is freed as it goes must not stay for ever --- */

static void prepare_helper(void)
{
    open_heap();
    fake.refuse = 0;
    conf.purge_thread = 1;
    conf.purge_delay = 2;
    shared[0] = malloc_fast(MIB(2));
    shared[1] = malloc_fast(MIB(2));
    shared_live = 2;
    my_cache = &no_cache;
}

static void free_much(void)
{
    shared_live--;
    free_fast(shared[0]);
}

static void free_much_later(void)
{
    shared_live--;
    free_fast(shared[1]);
}

static void finish_clean(void)
{
    MODEL_REQUIRE(span_dirty_bytes() == 0); /* the helper is gone, and left nothing */
    finish();
}

static void lock_and_unlock_all(void)
{
    life_lock();
    life_unlock();
}

/* Each with narrow and with wide slots. */
static const struct model_scenario of_slabs[] = {
    {"locking for a fork against all",
     make_cheese,
     {lock_and_unlock_all, free_rest, take_two},
     finish,
     1},
    {"refill against free", fill_and_hand_over, {refill_as_lessee, free_two}, finish, 3},
    {"refill against two frees",
     fill_and_hand_over,
     {refill_as_lessee, free_half, free_other_half},
     finish,
     3},
    {"two threads lease one class", fill_and_return, {take_two, take_two}, finish, 3},
    {"lease against free and event", fill_and_return, {take_two, free_half}, finish, 3},
    {"events of two frees", fill_and_return, {free_half, free_other_half}, finish, 3},
    {"retire against free and lease",
     fill_and_return,
     {free_all_but_last, free_last, take_two},
     finish,
     3},
    {"retire against another class",
     fill_and_return,
     {free_all_but_last, free_last, take_other_class},
     finish,
     3},
    {"thread end against free", fill_and_hand_over, {lessee_ends, free_half, take_two}, finish, 3},
    {"trim against free", fill_and_hand_over, {lessee_trims, free_half}, finish, 3},
    {"two threads live and end",
     fill_and_return,
     {take_and_end, take_and_end, free_two},
     finish,
     3},
    {"purge against free", make_cheese, {purge_everything, free_rest}, finish, 3},
    {"purge against lease", make_cheese, {purge_everything, take_two, free_rest}, finish, 3},
    {"two purges", make_cheese, {purge_everything, purge_everything, free_rest}, finish, 3},
    {"double free in order", expect_one_report, {free_first, free_again}, finish, 3},
};

static const struct model_scenario of_own_shelves[] = {
    {"locking for a fork against leaving",
     fill_and_free_nearly_half,
     {lock_and_unlock_all, free_to_half, take_two},
     finish,
     1},
    {"leaving against free", fill_and_free_nearly_half, {free_to_half, free_one_more}, finish, 3},
    {"leaving against free and lease",
     fill_and_free_nearly_half,
     {free_to_half, free_one_more, take_two},
     finish,
     3},
    {"leaving against free and purge",
     fill_and_free_nearly_half,
     {free_to_half, free_one_more, purge_everything},
     finish,
     3},
};

static const struct model_scenario of_stand_ins[] = {
    {"stand-in against lease", stand_in_first, {take_shorter, take_two}, finish, 3},
    {"stand-in against free", stand_in_first, {take_shorter, free_rest, take_two}, finish, 3},
    {"stand-in against purge",
     stand_in_first,
     {take_shorter, purge_everything, free_rest},
     finish,
     3},
    {"two stand-ins", stand_in_first, {take_shorter, take_shorter, free_rest}, finish, 3},
};

static const struct model_scenario of_rests[] = {
    {"locking for a fork against rests",
     fill_and_rest,
     {lock_and_unlock_all, end_rests, take_two},
     finish,
     1},
    {"end of a rest against new threads",
     fill_and_rest,
     {end_rests, take_two, take_two},
     finish,
     3},
    {"end of a rest against free",
     fill_and_rest,
     {end_rests, free_other_half, take_two},
     finish,
     3},
    {"end of rests against ends of threads",
     fill_and_rest,
     {end_rests, take_and_end, take_and_end},
     finish,
     3},
    {"two ends of rests", fill_and_rest, {end_rests, end_rests, take_and_end}, finish, 3},
};

static const struct model_scenario of_wide[] = {
    {"double free at once", expect_one_report_of_twins, {free_twin, free_twin}, finish, 3},
};

static const struct model_scenario of_runs[] = {
    {"double free of a large block", expect_one_large_report, {free_large, free_large}, finish, 3},
    {"large blocks against purge",
     make_large,
     {large_traffic, purge_runs, free_large_once},
     finish,
     3},
    {"realloc against purge", make_large, {resize_large, purge_runs, large_traffic}, finish, 3},
    {"helper against free", prepare_helper, {free_much, free_much_later}, finish_clean, 3},
};

static const struct model_scenario of_kept_runs[] = {
    {"double free into two rows",
     expect_one_large_report_with_rows,
     {free_large_into_first_row, free_large_into_second_row},
     finish,
     3},
    {"double free, one keeps it",
     expect_one_large_report_with_rows,
     {free_large_into_first_row, free_large},
     finish,
     3},
    {"kept runs of two threads",
     make_large_with_rows,
     {traffic_in_first_row, traffic_in_same_row},
     finish,
     3},
    {"kept runs against purge",
     make_large_with_rows,
     {traffic_in_first_row, purge_everything, traffic_in_same_row},
     finish,
     3},
    {"double free into two pockets",
     expect_one_large_report_with_pockets,
     {free_large_into_first_row, free_large_into_second_row},
     finish,
     3},
    {"double free, one pockets it",
     expect_one_large_report_with_pockets,
     {free_large_into_first_row, free_large},
     finish,
     3},
    {"a pocket against passes", make_pocket, {free_and_take_again, two_passes}, finish, 3},
    {"the end of a pocket against passes", make_pocket, {free_and_drop, two_passes}, finish, 3},
    {"a pocket against passes and others",
     make_pocket,
     {free_and_take_again, two_passes, take_beside},
     finish,
     3},
    {"locking for a fork against keeping",
     make_large_with_rows,
     {lock_and_unlock_all, traffic_in_first_row, traffic_in_same_row},
     finish,
     3},
};

struct result {
    unsigned long schedules;
    unsigned complete;
    int broken;
    char why[200];
};
static struct result *results;

/* RATION_SCHEDULES=1000000 goes deeper than continuous integration has time for. */
static unsigned long schedules_max(void)
{
    const char *text = getenv("RATION_SCHEDULES");
    return text != NULL ? strtoul(text, NULL, 10) : 15000;
}

static void explore(void *arg)
{
    const struct model_scenario *s = arg;
    struct result *r = results;
    const char *broken;
    r->schedules = model_explore(s, schedules_max(), &broken, &r->complete);
    r->broken = broken != NULL;
    if (broken != NULL)
        snprintf(r->why, sizeof r->why, "%s", broken);
}

static bool is_sound(const struct model_scenario *s, const char *only)
{
    if (only != NULL && strcmp(only, s->name) != 0)
        return true;
    memset(results, 0, sizeof *results);
    int status = run_in_child(explore, (void *)(uintptr_t)s);
    bool bad = status != 0 || results->broken;
    printf("%-32s %5zu bytes %7lu schedules", s->name, size, results->schedules);
    if (bad)
        printf(": %s\n", results->broken ? results->why : "crashed");
    else
        printf(", all with at most %u preemptions\n", results->complete);
    fflush(stdout);
    return !bad;
}

int main(int argc, char **argv)
{
    int ignored = argc > 1 ? atoi(argv[1]) : MODEL_NO_RANK;
    const char *only = argc > 2 ? argv[2] : NULL;
    static const size_t sizes[] = {NARROW, WIDE};
    results =
        mmap(NULL, sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned broken = 0;
    model_ignored_rank = ignored;
    for (int k = 0; k < 2; k++) {
        size = sizes[k];
        for (size_t i = 0; i < sizeof of_slabs / sizeof *of_slabs; i++)
            broken += !is_sound(&of_slabs[i], only);
        for (size_t i = 0; i < sizeof of_stand_ins / sizeof *of_stand_ins; i++)
            broken += !is_sound(&of_stand_ins[i], only);
    }
    size = NARROW;
    size_t own = sizeof of_own_shelves / sizeof *of_own_shelves;
    if (ignored == RANK_SHELF)
        own--; /* without locks the last one makes a list that has no end, and walks it */
    for (size_t i = 0; i < own; i++)
        broken += !is_sound(&of_own_shelves[i], only);
    for (size_t i = 0; i < sizeof of_rests / sizeof *of_rests; i++)
        broken += !is_sound(&of_rests[i], only);
    size = WIDE;
    for (size_t i = 0; i < sizeof of_wide / sizeof *of_wide; i++)
        broken += !is_sound(&of_wide[i], only);
    for (size_t i = 0; i < sizeof of_runs / sizeof *of_runs; i++)
        broken += !is_sound(&of_runs[i], only);
    for (size_t i = 0; i < sizeof of_kept_runs / sizeof *of_kept_runs; i++)
        broken += !is_sound(&of_kept_runs[i], only);
    printf("%u scenarios broken\n", broken);
    return ignored != MODEL_NO_RANK ? broken == 0 : broken != 0;
}
