/* A day of a server in a second: the number of sessions follows the hour, and so does their kind,
 * so that yesterday's holes do not fit today's blocks; a cache of old answers pins pages all over.
 * At the end it is night: one session in twenty is left, a request comes every 20 ms, and the
 * resident memory after two seconds of that is noted. */
#include "workloads.h"

#include <stdlib.h>
#include <time.h>

enum {
    HOURS = 24,
    SESSIONS = 6000,
    SESSION_BLOCKS = 32,
    CACHE = 8000,
    STEPS_PER_HOUR = 120000,
    NIGHT_STEPS = 100,
    NIGHT_STEP_MS = 20,
};

/* Session kinds by the sizes that they use, in bytes. */
static const struct kind {
    size_t lowest, highest;
} kinds[4] = {{16, 128}, {64, 512}, {200, 2000}, {2048, 24000}};

/* Per hour: sessions as percent of the most, and the weight of each kind, of 16. */
static const struct hour {
    unsigned char percent, weights[4];
} day[HOURS] = {
    {10, {8, 4, 3, 1}},  {7, {8, 4, 3, 1}},   {5, {4, 4, 7, 1}},   {5, {2, 2, 11, 1}},
    {6, {2, 2, 11, 1}},  {10, {8, 4, 3, 1}},  {25, {12, 3, 1, 0}}, {45, {12, 3, 1, 0}},
    {70, {12, 3, 1, 0}}, {90, {10, 4, 2, 0}}, {100, {8, 5, 3, 0}}, {95, {6, 5, 4, 1}},
    {80, {4, 10, 2, 0}}, {85, {4, 10, 2, 0}}, {90, {4, 8, 4, 0}},  {75, {2, 6, 7, 1}},
    {60, {2, 4, 9, 1}},  {55, {2, 4, 9, 1}},  {65, {9, 4, 3, 0}},  {80, {3, 11, 2, 0}},
    {70, {3, 11, 2, 0}}, {40, {3, 9, 4, 0}},  {20, {8, 4, 3, 1}},  {5, {8, 4, 3, 1}},
};

struct session {
    const struct kind *kind;
    struct block *blocks[SESSION_BLOCKS];
    unsigned n_blocks;
};

struct server {
    struct session *sessions[SESSIONS];
    struct block *cache[CACHE];
    unsigned n_sessions;
    struct random random;
    struct tally tally;
};

static struct server server;

static size_t draw_size(const struct kind *kind)
{
    return pick_size(random_next(&server.random), kind->lowest, kind->highest);
}

static const struct kind *draw_kind(const struct hour *hour)
{
    int lot = (int)(random_next(&server.random) & 15);
    unsigned kind = 0;

    while (kind < 3 && (lot -= hour->weights[kind]) >= 0) {
        kind++;
    }
    return &kinds[kind];
}

static struct session *session_open(const struct hour *hour)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session) {
        die("calloc returned null");
    }
    session->kind = draw_kind(hour);
    server.n_sessions++;
    server.tally.operations++;
    return session;
}

/* A request: some scratch blocks that go at once, one that stays with the session. */
static void session_work(struct session *session)
{
    struct block *scratch[6];

    for (unsigned i = 0; i < 6; i++) {
        scratch[i] = block_new(&server.tally, draw_size(&kinds[i & 1]), server.random.state);
    }
    struct block **kept = &session->blocks[session->n_blocks++ % SESSION_BLOCKS];
    block_drop(&server.tally, *kept);
    *kept = block_new(&server.tally, draw_size(session->kind), server.random.state);
    for (unsigned i = 0; i < 6; i++) {
        block_drop(&server.tally, scratch[i]);
    }
}

/* The session's last answer replaces a random one in the cache. */
static void session_close(struct session *session)
{
    struct block **cached = &server.cache[pick_below(random_next(&server.random), CACHE)];

    block_drop(&server.tally, *cached);
    *cached = block_new(&server.tally, draw_size(session->kind) / 4 + 16, server.random.state);
    for (unsigned i = 0; i < SESSION_BLOCKS; i++) {
        block_drop(&server.tally, session->blocks[i]);
    }
    free(session);
    server.n_sessions--;
    server.tally.operations++;
}

static void step(const struct hour *hour)
{
    unsigned wanted = (unsigned)SESSIONS * hour->percent / 100;
    uint64_t drawn = random_next(&server.random);
    struct session **session = &server.sessions[pick_below(drawn, SESSIONS)];

    if (!*session) {
        if (server.n_sessions < wanted) {
            *session = session_open(hour);
        }
    } else if (server.n_sessions > wanted || (drawn & 31) == 0) {
        session_close(*session);
        *session = NULL;
    } else {
        session_work(*session);
    }
}

static void close_down(void)
{
    for (unsigned i = 0; i < SESSIONS; i++) {
        if (server.sessions[i]) {
            session_close(server.sessions[i]);
        }
    }
    for (unsigned i = 0; i < CACHE; i++) {
        block_drop(&server.tally, server.cache[i]);
    }
}

struct outcome ageing_run(double scale)
{
    static const struct timespec rest = {0, NIGHT_STEP_MS * 1000000L};
    struct outcome outcome = {0};
    unsigned n_steps = scaled(STEPS_PER_HOUR, scale);

    server.random.state = 10;
    for (unsigned hour = 0; hour < HOURS; hour++) {
        for (unsigned i = 0; i < n_steps; i++) {
            step(&day[hour]);
        }
    }
    for (unsigned i = 0; i < NIGHT_STEPS; i++) {
        step(&day[HOURS - 1]);
        nanosleep(&rest, NULL);
    }
    outcome.idle_ms = NIGHT_STEPS * NIGHT_STEP_MS;
    outcome.live_kib = (uint64_t)server.tally.live_bytes / 1024;
    outcome.rss_after_kib = resident_kib();
    close_down();
    outcome.tally = server.tally;
    return outcome;
}
