/* The model's stand-in for os/lock.h: taking a lock is a scheduling point, and who finds it held
 * waits in the scheduler instead of in the kernel. Ranks are checked: each next lock of a thread
 * must have a higher one, or be another of its kind when everything is locked for a fork. */
#ifndef RATION_TESTS_MODEL_LOCK_H
#define RATION_TESTS_MODEL_LOCK_H

#define lock_take real_lock_take
#define lock_drop real_lock_drop
#include_next "os/lock.h"
#undef lock_take
#undef lock_drop

void model_lock_take(struct lock *l);
void model_lock_drop(struct lock *l);

#define lock_take model_lock_take
#define lock_drop model_lock_drop

#endif
