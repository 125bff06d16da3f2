/* Demos about how much memory a program holds: wholesale, swiss, aging. */
#include "../lab/replay.h"
#include "demo.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* ---- wholesale ----------------------------------------------------------------------------- */

enum { n_pairs = 1000000, n_kept = 100000, ask_bytes = 100 };

static void run_wholesale(bool own_way)
{
    static void *kept[n_kept];
    (void)own_way;
    demo_count_begin();
    for (int i = 0; i < n_pairs; i++)
        free(demo_take(ask_bytes));
    for (int i = 0; i < n_kept; i++)
        kept[i] = demo_take(ask_bytes);
    demo_count_end();
    demo_figure("allocations", "", n_pairs + n_kept);
    demo_figure("resident, 100,000 of them live", "B", demo_resident());
    for (int i = 0; i < n_kept; i++)
        free(kept[i]);
}

const struct demo_scenario demo_wholesale = {
    .name = "wholesale",
    .what = "a million allocations, and how often the system is asked",
    .story = "1,000,000 times malloc(100) and free, then 100,000 times malloc(100) kept. malloc is "
             "no\nsystem call: it buys wholesale and sells retail.",
    .run = run_wholesale,
    .counts_calls = true,
};

/* ---- swiss --------------------------------------------------------------------------------- */

enum { n_cheese = 100000, n_left = n_cheese / 10, cheese_bytes = 1000 };

static void run_swiss(bool own_way)
{
    static char *blocks[n_cheese];
    uint64_t random = 88172645463325252;
    (void)own_way;
    const double before = demo_resident();
    for (int i = 0; i < n_cheese; i++)
        blocks[i] = memset(demo_take(cheese_bytes), i, cheese_bytes);
    demo_figure("resident, all live", "B", demo_resident() - before);
    for (int i = n_cheese - 1; i > 0; i--) {
        const int k = (int)(demo_random(&random) % (uint64_t)(i + 1));
        char *const block = blocks[i];
        blocks[i] = blocks[k];
        blocks[k] = block;
    }
    const double started = lab_now();
    for (int i = n_left; i < n_cheese; i++)
        free(blocks[i]);
    const double freed = lab_now();
    demo_figure("payload still live", "B", n_left * cheese_bytes);
    demo_figure("time of a free", "ns", 1e9 * (freed - started) / (0.9 * n_cheese));
    demo_figure("resident at once", "B", demo_resident() - before);
    demo_idle(2);
    demo_figure("resident 2 seconds later", "B", demo_resident() - before);
    malloc_trim(0);
    demo_figure("resident after malloc_trim(0)", "B", demo_resident() - before);
}

const struct demo_scenario demo_swiss = {
    .name = "swiss",
    .what = "90 % of 100,000 blocks freed at random: much is free, nothing together",
    .story = "100,000 blocks of 1000 bytes, all written to; a random 90 % are freed.",
    .remark = "With four such blocks to a page of 4 KiB, a page is empty with probability 0.9^4 = "
              "65.6 %:\nwithout moving blocks, giving back empty pages reaches 33.6 MB of 97.7.",
    .run = run_swiss,
};

/* ---- aging --------------------------------------------------------------------------------- */

enum { n_hours = 24, n_requests = 40000, most_sessions = 60000 };

struct server {
    struct {
        void *block;
        size_t bytes;
    } sessions[most_sessions];
    size_t n_sessions;
    size_t live_bytes;
    uint64_t random;
};

static void end_session(struct server *server)
{
    const size_t k = demo_random(&server->random) % server->n_sessions;
    free(server->sessions[k].block);
    server->live_bytes -= server->sessions[k].bytes;
    server->sessions[k] = server->sessions[--server->n_sessions];
}

static void begin_session(struct server *server, size_t bytes)
{
    server->sessions[server->n_sessions].block = memset(demo_take(bytes), 1, bytes);
    server->sessions[server->n_sessions++].bytes = bytes;
    server->live_bytes += bytes;
}

/* Sizes drift upward through the day; half of the sessions end during each hour. */
static void serve_hour(struct server *server, int hour)
{
    const size_t base = 64 + 24 * (size_t)hour;
    for (int i = 0; i < n_requests; i++) {
        const uint64_t dice = demo_random(&server->random);
        if (server->n_sessions == most_sessions || (server->n_sessions > 0 && (dice & 1) != 0))
            end_session(server);
        if (server->n_sessions < most_sessions && dice % 3 != 0)
            begin_session(server, base / 2 + (size_t)(dice >> 20) % (base * 3 / 2));
        void *request = demo_take(64 + (size_t)(dice >> 30) % 16000);
        free(request);
    }
}

static void run_aging(bool own_way)
{
    static struct server server = {.random = 1442695040888963407};
    double baseline = demo_resident(), worst = 0;
    (void)own_way;
    for (int hour = 0; hour < n_hours; hour++) {
        char name[56];
        serve_hour(&server, hour);
        const double ratio = (demo_resident() - baseline) / (double)server.live_bytes;
        worst = ratio > worst && hour > 0 ? ratio : worst;
        if (hour % 6 != 5)
            continue;
        snprintf(name, sizeof name, "resident per live byte after %d h", hour + 1);
        demo_figure(name, "x", ratio);
    }
    demo_figure("the worst of the hours after the first", "x", worst);
    demo_figure("live at the end of the day", "B", (double)server.live_bytes);
    demo_figure("resident at the end of the day", "B", demo_resident() - baseline);
    while (server.n_sessions > 0)
        end_session(&server);
    demo_idle(2);
    demo_figure("resident with all freed, 2 s later", "B", demo_resident() - baseline);
}

const struct demo_scenario demo_aging = {
    .name = "aging",
    .what = "a server for 24 simulated hours, sizes drifting: does memory climb?",
    .story = "Sessions that stay and requests that do not, 40,000 an hour for 24 simulated hours; "
             "sizes grow\nfrom hour to hour, so that the holes of yesterday do not fit today.",
    .remark =
        "The day takes about a second, so that memory which is given back by age is hardly old "
        "enough.",
    .run = run_aging,
};
