/* A deterministic scheduler over the real code: threads are coroutines that change only at
 * scheduling points, which are every atomic access, every scan of state bytes and every lock
 * (tests/model/shim). model_explore runs one scenario under every schedule with a bounded number of
 * preemptions (Musuvathi and Qadeer, "Iterative context bounding", 2007).
 *
 * What it shows: no such schedule breaks the protocol. What it does not: orders that only a weakly
 * ordered processor makes, since each access here is sequentially consistent; those are argued
 * where the order is named in the source. */
#ifndef RATION_TESTS_MODEL_H
#define RATION_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_THREADS_MAX = 4 };

struct model_scenario {
    const char *name;
    void (*prepare)(void); /* once, before any schedule */
    void (*threads[MODEL_THREADS_MAX])(void);
    void (*finish)(void); /* after each schedule: all threads are through */
    unsigned preemptions; /* explored up to this many */
};

/* Runs all schedules without preemption, then those with one, and so on, at most max. Returns how
 * many; *complete is the number of preemptions up to which all were run; *broken tells what went
 * wrong in one of them, or null. */
unsigned long model_explore(const struct model_scenario *s, unsigned long max, const char **broken,
                            unsigned *complete);

/* The schedule breaks the protocol; does not return to the scenario. */
_Noreturn void model_broken(const char *why);

#define MODEL_REQUIRE(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            model_broken(#condition);                                                              \
    } while (0)

/* A thread made by the code under test (the purge helper). False if there is no room. */
bool model_start(void (*entry)(void *), void *arg, uint32_t *alive);

/* The calling thread goes on when *word != expected or after a pause of the others (a sleep that
 * may end early). */
void model_sleep(void);

/* A sleep with a timeout: may end at any moment. */
void model_nap(void);

/* A deliberate fault of the scheduler's locks, to see that the scenarios notice: locks of this rank
 * exclude nobody. */
enum { MODEL_NO_RANK = 99 };
extern int model_ignored_rank;

#endif
