#include "os/lock.h"

#include "os/os.h"

enum {
    SPIN_ROUNDS = 100,
    FORK_TRIES = 50, /* a millisecond apart */
};

THREAD_LOCAL uint32_t lock_anchor;
const unsigned char *lock_helper_stack;

void lock_init(struct lock *l, enum lock_rank rank)
{
    *l = (struct lock){.rank = (int16_t)rank};
}

/* Waits as in Drepper's mutex 2 ("Futexes Are Tricky", 2011). Who has waited takes the lock as awaited: others may wait. */
void lock_wait_slow(struct lock *l)
{
    uint32_t name = lock_my_name();
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_relaxed(&l->word) == 0 && atomic_cas_acquire(&l->word, 0U, name))
            return;
        cpu_relax();
    }
    for (;;) {
        uint32_t word = atomic_load_relaxed(&l->word);
        if (word == 0) {
            if (atomic_cas_acquire(&l->word, 0U, name | LOCK_AWAITED))
                return;
        } else if ((word & LOCK_AWAITED) != 0 ||
                   atomic_cas_acquire(&l->word, word, word | LOCK_AWAITED)) {
            os->wait(&l->word, word | LOCK_AWAITED, -1);
        }
    }
}

void lock_wake_slow(struct lock *l)
{
    os->wake_one(&l->word);
}

static void try_for_a_while(struct lock *l)
{
    if (lock_is_mine(l)) {
        l->at_fork = LOCK_KEPT;
        return;
    }
    uint32_t never_woken = 0;
    for (int i = 0; i < FORK_TRIES; i++) {
        if (lock_try_take(l)) {
            l->at_fork = LOCK_TAKEN;
            return;
        }
        os->wait(&never_woken, 0, 1);
    }
    l->at_fork = LOCK_MISSED;
}

void lock_fork_take(struct lock *l, bool nested)
{
    if (nested)
        try_for_a_while(l);
    else
        lock_take(l);
}

void lock_fork_parent(struct lock *l)
{
    bool taken = l->at_fork == LOCK_TAKEN;
    l->at_fork = LOCK_TAKEN;
    if (taken)
        lock_drop(l);
}

void lock_fork_child(struct lock *l)
{
    l->word = l->at_fork == LOCK_KEPT ? lock_my_name() : 0;
    l->at_fork = LOCK_TAKEN;
}
