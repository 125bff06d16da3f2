#define _GNU_SOURCE
#include "core/life.h"

#include "area/records.h"
#include "conf/conf.h"
#include "conf/familiar.h"
#include "core/events.h"
#include "core/fence.h"
#include "core/fill.h"
#include "core/harden.h"
#include "core/purge.h"
#include "core/sample.h"
#include "core/witness.h"
#include "os/lock.h"
#include "os/os.h"
#include "os/pages.h"
#include "os/streams.h"
#include "report/report.h"
#include "slab/shelf.h"
#include "span/huge.h"
#include "span/kept.h"
#include "span/span.h"

#include <errno.h>
#include <pthread.h>
#include <sys/auxv.h>

static THREAD_LOCAL struct cache *own_cache; /* behind my_cache, whatever that shows */
static pthread_key_t exit_key;
static bool exit_key_made;

static struct {
    struct lock lock;
    struct cache *cache;
} late = {.lock = LOCK_INIT(RANK_SHARED)};

/* Only a purge pass ends a rest, and what a cache leases while the fast paths are closed is for nobody else. */
static bool may_rest(void)
{
    return conf.purge_delay > 0 && !fast_paths_are_closed;
}

/* The destructors of other keys, and the C library itself, may allocate after this: they share one cache (late). */
static void end_thread(void *cache)
{
    events_thread_ends();
    my_cache = &late_cache;
    harden_drain(cache);
    purge_note(cache_rest(cache, may_rest()));
}

static void watch_thread_end(struct cache *cache)
{
    /* May allocate (for keys beyond the first 32): my_cache is set already. */
    if (exit_key_made)
        pthread_setspecific(exit_key, cache);
}

struct cache *life_cache(void)
{
    struct cache *cache = my_cache;
    if (LIKELY(cache->is_owned))
        return cache;
    if (cache != &no_cache)
        return cache == &hard_cache ? own_cache : NULL;
    if (!span_open(&no_slab))
        return NULL;
    cache = cache_acquire();
    if (cache == NULL)
        return NULL;
    /* A page that is read first costs two faults: one for the page of zeros, one for its own. */
    atomic_store_relaxed(&cache->bins[0].mask, (uint64_t)0);
    atomic_store_relaxed(&cache->thread, os->thread_id());
    own_cache = cache;
    my_cache = fast_paths_are_closed ? &hard_cache : cache;
    watch_thread_end(cache);
    return cache;
}

void life_hide_cache(void)
{
    if (my_cache == own_cache)
        my_cache = &hard_cache;
}

void *life_late_alloc(unsigned c)
{
    void *p = NULL;
    lock_take(&late.lock);
    if (late.cache == NULL)
        late.cache = cache_acquire();
    if (late.cache != NULL)
        p = cache_take(late.cache, c);
    lock_drop(&late.lock);
    return p;
}

static bool holds_locks(void)
{
    return purge_lock_is_mine() || lock_is_mine(&late.lock) || cache_lock_is_mine() ||
           shelf_lock_is_mine() || kept_lock_is_mine() || span_lock_is_mine() ||
           records_lock_is_mine() || fence_lock_is_mine();
}

static void lock_all(bool nested)
{
    purge_fork_prepare(nested);
    lock_fork_take(&late.lock, nested);
    cache_fork_prepare(nested);
    shelf_fork_prepare(nested);
    kept_fork_prepare(nested);
    span_fork_prepare(nested);
    records_fork_prepare(nested);
    fence_fork_prepare(nested);
}

void life_lock(void)
{
    lock_all(false);
}

void life_unlock(void)
{
    fence_fork_parent();
    records_fork_parent();
    span_fork_parent();
    kept_fork_parent();
    shelf_fork_parent();
    cache_fork_parent();
    lock_fork_parent(&late.lock);
    purge_fork_parent();
}

/* Above 1 when a signal handler forks while its thread is forking. */
static THREAD_LOCAL unsigned fork_depth;

static THREAD_LOCAL bool fork_is_nested; /* a handler forks that interrupted the allocator */

static void begin_fork(void)
{
    if (fork_depth++ > 0)
        return;
    fork_is_nested = holds_locks();
    streams_fork_prepare();
    lock_all(fork_is_nested);
}

static void end_fork(void)
{
    if (--fork_depth > 0)
        return;
    life_unlock();
    streams_fork_parent();
}

static void drain_other(struct cache *cache, void *arg)
{
    (void)arg;
    if (cache != own_cache)
        harden_drain(cache);
}

/* The child has one thread. What the others leased goes back; a slot that one of them was just handing out is either
 * FREE still or lost to it, as any block it held. */
static void begin_child(void)
{
    if (--fork_depth > 0)
        return;
    fence_fork_child();
    records_fork_child();
    span_fork_child();
    kept_fork_child();
    shelf_fork_child();
    lock_fork_child(&late.lock);
    cache_fork_child();
    purge_fork_child();
    witness_fork_child();
    report_fork_child();
    events_fork_child();
    if (!fork_is_nested) { /* else what it needs may be half changed until the handler returns */
        late.cache = NULL;
        cache_visit(drain_other, NULL);
        cache_release_all_but(own_cache);
    }
    streams_fork_child();
}

static const char *find_setting(char **environment)
{
    static const char key[] = "RATION=";
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *s = *environment;
        size_t i = 0;
        while (key[i] != '\0' && s[i] == key[i])
            i++;
        if (key[i] == '\0')
            return s + i;
    }
    return NULL;
}

static const char *file_name(const char *path)
{
    const char *name = path != NULL ? path : "";
    for (const char *s = name; *s != '\0'; s++) {
        if (*s == '/')
            name = s + 1;
    }
    return name;
}

static const char harden_too_late[] = "ration: RATION=harden stays off: the program had threads "
                                      "before the library was loaded; preload it instead\n";

static const char fill_too_late[] =
    "ration: new and freed memory is not filled: the program had threads "
    "before the library was loaded; preload it instead\n";

/* Runs before the program's own constructors when preloaded or linked first; blocks handed out earlier are as good. */
__attribute__((constructor)) static void begin_process(int argc, char **argv, char **environment)
{
    int saved_errno = errno;
    if (getauxval(AT_SECURE) == 0) {
        familiar_read(environment);
        conf_read(find_setting(environment), file_name(argc > 0 ? argv[0] : NULL));
    }
    if (conf.syscalls > 0)
        pages_share(conf.syscalls);
    huge_never = conf.huge_pages == HUGE_PAGES_NEVER;
    if (conf.harden != HARDEN_OFF && !harden_begin(conf.harden))
        os->write_error(harden_too_late, sizeof harden_too_late - 1);
    if (!fill_begin())
        os->write_error(fill_too_late, sizeof fill_too_late - 1);
    if (conf.sample_guard != 0)
        sample_begin((uint32_t)conf.sample_guard);
    exit_key_made = pthread_key_create(&exit_key, end_thread) == 0;
    if (own_cache != NULL && my_cache != &late_cache)
        watch_thread_end(own_cache);
    records_touch();
    pthread_atfork(begin_fork, end_fork, begin_child);
    errno = saved_errno;
}
