/* Shared by the storms: a watchdog against hangs, blocks that carry a pattern, memory readings,
   tiers. A storm prints what it did and returns 0, or says what was expected and what came and ends
   with 1. */
#ifndef STRESS_H
#define STRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How much work: 1 in the smoke tier, 20 with RATION_STRESS=soak. */
unsigned stress_scale(void);

/* Ends the whole process group's leader with a message when it still runs after that many seconds
   (times 20 in the soak tier). Call once, first. */
void stress_watchdog(unsigned seconds);

/* How far the storm has come; the watchdog tells it. */
void stress_progress(unsigned done, unsigned total);

/* Says what is wrong and ends the process with status 1. Allocates nothing. */
void stress_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A block whose first 8 bytes hold its size and whose rest is a pattern; at least 16 bytes. */
void *stress_new(size_t size);
void *stress_resize(void *block, size_t size);
/* Verifies the pattern, then frees. Null is fine. */
void stress_free(void *block);
void stress_verify(const void *block);

/* A cheap random number per caller's state, and a size as programs ask for: mostly small. */
uint32_t stress_random(uint32_t *state);
size_t stress_random_size(uint32_t *state);

/* Resident bytes of this process, read without allocating. */
size_t stress_resident_bytes(void);
/* The named line of /proc/self/smaps_rollup in bytes, such as "Anonymous:". */
size_t stress_rollup_bytes(const char *field);

double stress_seconds(void);
void stress_sleep_ms(unsigned milliseconds);

#ifdef __cplusplus
}
#endif

#endif
