#include "os/lock.h"

#include "os/os.h"

enum { SPIN_ROUNDS = 100 };

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->word = 0;
    l->rank = rank;
}

/* Drepper's three-state lock ("Futexes Are Tricky", 2011, mutex 2). */
void lock_wait_slow(struct lock *l)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_relaxed(&l->word) == 0 && lock_try_take(l))
            return;
        cpu_relax();
    }
    while (atomic_exchange_acquire(&l->word, 2U) != 0)
        os->wait(&l->word, 2, -1);
}

void lock_wake_slow(struct lock *l)
{
    os->wake_one(&l->word);
}
