/* calibrate: the costs of machine.h that two CPUs can show, in nanoseconds, as one line of JSON:
 * the one-way trip of a line between CPU 0 and CPU 1, an atomic read-modify-write of a line that is
 * held, a lock handed over while both want it, and a wake-up through the kernel. The least of many short
 * windows: whatever else the machine does only adds. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WINDOWS = 400, TRIPS = 500, WAKES = 20 };

static _Alignas(128) _Atomic uint32_t ball;
static _Alignas(128) _Atomic uint32_t lock_word;
static _Alignas(128) uint64_t counted;
static _Alignas(128) _Atomic uint32_t bell;

static double nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void stay_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        fprintf(stderr, "calibrate: cannot run on CPU %d (%s): two CPUs are needed\n", cpu,
                strerror(errno));
        exit(1);
    }
}

static void bounce(uint32_t mine)
{
    for (unsigned i = 0; i < WINDOWS * TRIPS; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != mine) {
        }
        atomic_store_explicit(&ball, 1 - mine, memory_order_release);
    }
}

static void hand_over(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t is_free = 0;
        while (!atomic_compare_exchange_weak_explicit(&lock_word, &is_free, 1, memory_order_acquire,
                                                      memory_order_relaxed)) {
            while (atomic_load_explicit(&lock_word, memory_order_relaxed) != 0) {
            }
            is_free = 0;
        }
        counted++;
        atomic_store_explicit(&lock_word, 0, memory_order_release);
        for (volatile int rest = 0; rest < 60; rest++) { /* long enough for the other to get it */
        }
    }
}

/* Sleeps until the bell is not `mine` any more, and rings it back. */
static void answer(uint32_t mine, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        while (atomic_load(&bell) == mine) {
            syscall(SYS_futex, &bell, FUTEX_WAIT_PRIVATE, mine, NULL, NULL, 0);
        }
        atomic_store(&bell, mine);
        syscall(SYS_futex, &bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *other_side(void *unused)
{
    (void)unused;
    stay_on(1);
    bounce(1);
    for (unsigned i = 0; i < WINDOWS; i++) {
        while (atomic_load(&ball) != 2 * i + 2) {
        }
        hand_over(TRIPS);
        atomic_store(&ball, 2 * i + 3);
    }
    answer(0, WINDOWS * WAKES);
    return NULL;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double measure_trip(void)
{
    double found = 1e9;
    for (unsigned window = 0; window < WINDOWS; window++) {
        double start = nanoseconds_now();
        for (unsigned i = 0; i < TRIPS; i++) {
            while (atomic_load_explicit(&ball, memory_order_acquire) != 0) {
            }
            atomic_store_explicit(&ball, 1, memory_order_release);
        }
        found = least(found, (nanoseconds_now() - start) / TRIPS / 2);
    }
    return found;
}

static double measure_atomic(void)
{
    static _Atomic uint32_t word;
    double found = 1e9;
    for (unsigned window = 0; window < WINDOWS; window++) {
        double start = nanoseconds_now();
        for (unsigned i = 0; i < TRIPS; i++) {
            atomic_fetch_add(&word, 1);
        }
        found = least(found, (nanoseconds_now() - start) / TRIPS);
    }
    return found;
}

/* Per acquisition, both sides' together. */
static double measure_lock(void)
{
    double found = 1e9;
    while (atomic_load(&ball) != 0) { /* the other side's last trip */
    }
    for (unsigned i = 0; i < WINDOWS; i++) {
        double start = nanoseconds_now();
        atomic_store(&ball, 2 * i + 2);
        hand_over(TRIPS);
        while (atomic_load(&ball) != 2 * i + 3) {
        }
        found = least(found, (nanoseconds_now() - start) / TRIPS / 2);
    }
    return found;
}

static double measure_wake(void)
{
    double found = 1e9;
    for (unsigned window = 0; window < WINDOWS; window++) {
        double start = nanoseconds_now();
        for (unsigned i = 0; i < WAKES; i++) {
            atomic_store(&bell, 1);
            syscall(SYS_futex, &bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
            while (atomic_load(&bell) == 1) {
                syscall(SYS_futex, &bell, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
            }
        }
        found = least(found, (nanoseconds_now() - start) / WAKES / 2);
    }
    return found;
}

int main(void)
{
    pthread_t other;

    stay_on(0);
    if (pthread_create(&other, NULL, other_side, NULL) != 0) {
        fprintf(stderr, "calibrate: cannot start a thread\n");
        return 1;
    }
    double trip = measure_trip(), lock = measure_lock(), wake = measure_wake();
    pthread_join(other, NULL);
    printf(
        "{\"trip\": %.1f, \"atomic\": %.1f, \"lock\": %.1f, \"wake\": %.1f, \"counted\": %llu}\n",
        trip, measure_atomic(), lock, wake, (unsigned long long)counted);
    return counted == 2ull * WINDOWS * TRIPS ? 0 : 1;
}
