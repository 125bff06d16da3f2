/* manycore [COST=NANOSECONDS ...]                every design, workload and number of cores, as JSON
 * manycore check [COST=NANOSECONDS ...]          small runs with all invariants checked
 * manycore one DESIGN WORKLOAD CORES [COST=...]  one of them
 *
 * docs/MANYCORE.md says what it is good for. */
#include "designs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIVE = 500,
    LIVE_MANY = 4000, /* two slabs a class and more */
    RING = 256,
    POLL_NS = 50,
    SLABS_A_LINE = 8,
    MEASURED_US = 100,
    CHECKED_US = 30,
    WARM_TIMES = 40, /* the measured time goes before it: by then all first slabs are made */
};

struct line block_lines[SLABS_MOST * SLOTS];
bool block_is_live[SLABS_MOST * SLOTS];
static struct line map_lines[SLABS_MOST / SLABS_A_LINE];
static uint32_t n_slabs;

static const struct design *const all_designs[DESIGNS] = {
    &design_ration, &design_none_own, &design_eight,    &design_half,
    &design_shards, &design_ahead,    &design_counters, &design_all,
    &design_lists,  &design_messages, &design_central,  &design_one_lock};
static const unsigned core_counts[] = {1, 2, 4, 8, 16, 32, 64, 128};
enum { COUNTS = sizeof core_counts / sizeof *core_counts };

/* What the program does. A core alternates between a malloc (class drawn) and a free, or only does one. */
enum work { WORK_LOCAL, WORK_REPLACE, WORK_PIPELINE, WORK_HANDOVER, WORKS };
static const char *const work_names[WORKS] = {"local", "replace", "pipeline", "handover"};

struct program {
    uint32_t slots[LIVE_MANY];
    uint32_t ring[RING]; /* a producer's */
    unsigned written, read;
    unsigned slot, class;
    uint32_t to_free;
    bool is_freeing;
};
static struct program programs[CORES_MOST];
static uint32_t shared_slots[CORES_MOST * LIVE];
enum { EMPTY = UINT32_MAX };

uint32_t slab_new(struct core *core)
{
    (void)core;
    if (n_slabs == SLABS_MOST) {
        broken("out of slabs: the design loses memory, or the run is too long");
    }
    return n_slabs++;
}

struct line *map_line(uint32_t slab)
{
    map_lines[slab / SLABS_A_LINE].kind = LINE_MAP;
    return &map_lines[slab / SLABS_A_LINE];
}

void slabs_reset(void)
{
    n_slabs = 0;
    memset(map_lines, 0, sizeof map_lines);
    memset(block_lines, 0, sizeof block_lines);
    memset(block_is_live, 0, sizeof block_is_live);
    memset(programs, 0, sizeof programs);
    memset(shared_slots, 0xff, sizeof shared_slots);
    for (unsigned i = 0; i < CORES_MOST; i++) {
        memset(programs[i].slots, 0xff, sizeof programs[i].slots);
    }
}

static bool take_one(const struct design *design, struct core *core, uint32_t *block)
{
    if (!design->take(core, programs[core->number].class, block)) {
        return false;
    }
    if (block_is_live[*block]) {
        broken("a block was handed out twice");
    }
    block_is_live[*block] = true;
    core_spend(core, costs.base);
    line_write(core, &block_lines[*block]); /* the program fills it */
    programs[core->number].class = core_draw(core, CLASSES);
    return true;
}

static bool give_one(const struct design *design, struct core *core, uint32_t block)
{
    line_read(core, &block_lines[block]); /* the program looks at it a last time */
    if (!design->give(core, block)) {
        return false;
    }
    block_is_live[block] = false;
    core_spend(core, costs.base + costs.work);
    core->n_pairs++;
    return true;
}

/* A malloc whose block takes the place of one in a table; then a free of that one. */
static void step_table(const struct design *design, struct core *core, uint32_t *table,
                       uint32_t n_slots)
{
    struct program *program = &programs[core->number];
    uint32_t block;

    if (program->is_freeing) {
        program->is_freeing = !give_one(design, core, program->to_free);
        return;
    }
    if (take_one(design, core, &block)) {
        uint32_t *slot = &table[core_draw(core, n_slots)];
        program->to_free = *slot;
        program->is_freeing = *slot != EMPTY;
        *slot = block;
    }
}

/* Even cores allocate, odd ones free; alone, a core does both in turn. */
static void step_pipeline(const struct design *design, struct core *core)
{
    bool is_alone = n_cores == 1;
    struct program *pipe = &programs[is_alone ? 0 : core->number & ~1u];
    unsigned waiting = pipe->written - pipe->read;
    bool produces = is_alone ? waiting < RING / 2 : core->number % 2 == 0;
    uint32_t block;

    if (produces ? waiting == RING : waiting == 0) {
        core_spend(core, POLL_NS);
    } else if (!produces) {
        if (give_one(design, core, pipe->ring[pipe->read % RING])) {
            pipe->read++;
        }
    } else if (take_one(design, core, &block)) {
        pipe->ring[pipe->written++ % RING] = block;
    }
}

static void step(const struct design *design, enum work work, struct core *core)
{
    picoseconds before = core->now;

    if (work == WORK_LOCAL) {
        step_table(design, core, programs[core->number].slots, LIVE);
    } else if (work == WORK_REPLACE) {
        step_table(design, core, programs[core->number].slots, LIVE_MANY);
    } else if (work == WORK_HANDOVER) {
        step_table(design, core, shared_slots, n_cores * LIVE);
    } else {
        step_pipeline(design, core);
    }
    if (core->now < before) {
        broken("M2: a clock went backwards");
    }
}

/* Cores as a heap by their clocks; of equal ones the lower number comes first. */
static struct core *queue[CORES_MOST];

static bool comes_first(const struct core *a, const struct core *b)
{
    return a->now != b->now ? a->now < b->now : a->number < b->number;
}

static void sift(unsigned at)
{
    for (;;) {
        unsigned least = at;
        for (unsigned child = 2 * at + 1; child <= 2 * at + 2 && child < n_cores; child++) {
            least = comes_first(queue[child], queue[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct core *core = queue[at];
        queue[at] = queue[least];
        queue[least] = core;
        at = least;
    }
}

static void run_until(const struct design *design, enum work work, picoseconds end)
{
    for (unsigned i = 0; i < n_cores; i++) {
        queue[i] = &cores[i];
    }
    for (unsigned i = n_cores; i-- > 0;) {
        sift(i);
    }
    while (queue[0]->now < end) {
        step(design, work, queue[0]);
        sift(0);
    }
}

struct figures {
    double pairs_per_us, waited_ns, sleeps;
    double transfers[KINDS];
};

static void forget_warm_up(void)
{
    for (unsigned i = 0; i < n_cores; i++) {
        cores[i].n_pairs = cores[i].n_sleeps = 0;
        cores[i].waited = 0;
        memset(cores[i].transfers, 0, sizeof cores[i].transfers);
    }
}

static void check_all(const struct design *design)
{
    int number = design->check();

    for (uint32_t i = 0; i < n_slabs * SLOTS && number == 0; i++) {
        number = machine_check_line(&block_lines[i]);
    }
    if (number != 0) {
        fprintf(stderr, "manycore: %s: invariant %d is broken\n", design->name, number);
        exit(1);
    }
}

static struct figures simulate(const struct design *design, enum work work, unsigned n, double us,
                               bool checked)
{
    struct figures figures = {0};
    double pairs = 0;
    picoseconds warm = (picoseconds)(WARM_TIMES * us * 1e6), end = warm + (picoseconds)(us * 1e6);

    slabs_reset();
    machine_reset(n);
    design->reset();
    for (int part = 1; part <= 8; part++) {
        run_until(design, work, warm / 8 * part);
        if (checked) {
            check_all(design);
        }
    }
    forget_warm_up();
    run_until(design, work, end);
    check_all(design);
    for (unsigned i = 0; i < n; i++) {
        pairs += (double)cores[i].n_pairs;
        figures.waited_ns += (double)cores[i].waited / 1000;
        figures.sleeps += (double)cores[i].n_sleeps;
        for (unsigned k = 0; k < KINDS; k++) {
            figures.transfers[k] += (double)cores[i].transfers[k];
        }
    }
    double each = pairs > 0 ? pairs : 1;
    figures.pairs_per_us = pairs / us;
    figures.waited_ns /= each;
    figures.sleeps /= each;
    for (unsigned k = 0; k < KINDS; k++) {
        figures.transfers[k] /= each;
    }
    return figures;
}

static void print_figures(const struct design *design, enum work work, unsigned n,
                          const struct figures *f)
{
    printf("{\"design\": \"%s\", \"workload\": \"%s\", \"cores\": %u, \"pairs_per_us\": %.2f, "
           "\"waited_ns\": %.2f, \"sleeps\": %.5f",
           design->name, work_names[work], n, f->pairs_per_us, f->waited_ns, f->sleeps);
    for (unsigned k = 0; k < KINDS; k++) {
        printf(", \"%s\": %.4f", kind_names[k], f->transfers[k]);
    }
    printf("}");
}

static bool set_cost(const char *text)
{
    static const struct {
        const char *name;
        double *cost;
    } names[] = {
        {"near", &costs.near},     {"mid", &costs.mid},       {"far", &costs.far},
        {"memory", &costs.memory}, {"atomic", &costs.atomic}, {"base", &costs.base},
        {"work", &costs.work},     {"create", &costs.create}, {"spin", &costs.spin},
        {"wake", &costs.wake},
    };
    const char *equals = strchr(text, '=');
    char *end = NULL;

    for (unsigned i = 0; equals && i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) == (size_t)(equals - text) &&
            strncmp(text, names[i].name, (size_t)(equals - text)) == 0) {
            *names[i].cost = strtod(equals + 1, &end);
            return end != equals + 1 && *end == '\0' && *names[i].cost >= 0;
        }
    }
    return false;
}

static int usage(const char *word)
{
    fprintf(stderr,
            "manycore: \"%s\" is not understood\nusage: manycore [check | one DESIGN WORKLOAD "
            "CORES] [COST=NANOSECONDS ...]\n"
            "costs: near mid far memory atomic base work create spin wake\n",
            word);
    return 2;
}

static int run_one(char **words)
{
    int n = atoi(words[2]);
    for (unsigned d = 0; d < DESIGNS; d++) {
        for (unsigned w = 0; w < WORKS; w++) {
            if (strcmp(all_designs[d]->name, words[0]) == 0 &&
                strcmp(work_names[w], words[1]) == 0 && n >= 1 && n <= CORES_MOST) {
                struct figures figures =
                    simulate(all_designs[d], (enum work)w, (unsigned)n, MEASURED_US, true);
                print_figures(all_designs[d], (enum work)w, (unsigned)n, &figures);
                printf("\n");
                return 0;
            }
        }
    }
    return usage(words[0]);
}

static int run_all(bool check)
{
    const char *before = "[\n";
    for (unsigned d = 0; d < DESIGNS; d++) {
        for (unsigned w = 0; w < WORKS; w++) {
            for (unsigned i = 0; i < COUNTS; i++) {
                if (check && core_counts[i] != 1 && core_counts[i] != 4 && core_counts[i] != 16) {
                    continue;
                }
                struct figures f = simulate(all_designs[d], (enum work)w, core_counts[i],
                                            check ? CHECKED_US : MEASURED_US, check);
                printf("%s", before);
                print_figures(all_designs[d], (enum work)w, core_counts[i], &f);
                before = ",\n";
            }
        }
    }
    printf("\n]\n");
    return 0;
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && strcmp(argv[1], "check") == 0;
    bool one = argc > 4 && strcmp(argv[1], "one") == 0;

    for (int i = check ? 2 : one ? 5 : 1; i < argc; i++) {
        if (!set_cost(argv[i])) {
            return usage(argv[i]);
        }
    }
    return one ? run_one(argv + 2) : run_all(check);
}
