/* Sampled guards: with RATION=sample_guard=N one of about N allocations gets a fence (core/fence.h), so that an overflow,
 * an underflow or a use after free of it faults where it happens. Off by default.
 *
 * The idea is that of GWP-ASan (Kostya Serebryany and others, 2019): so cheap by rarity that production can run with it. Here
 * no call pays for the count: it is kept where masks are refilled. When the next sample is due within a mask, the mask is
 * cut there, so that the malloc behind it comes to the slow path. */
#ifndef RATION_CORE_SAMPLE_H
#define RATION_CORE_SAMPLE_H

#include "cache/cache.h"

/* One of so many allocations; 0: none. Set once, early. */
extern uint32_t sample_every HIDDEN;
void sample_begin(uint32_t every);

/* Small blocks. After a slow refill: counts the mask of `bin`, and cuts it if the sample lies in it. */
void sample_refill(struct cache *cache, struct bin *bin);

/* Whether the allocation that comes to the slow path now is a sample; then the next one is chosen. */
bool sample_is_due(struct cache *cache);

/* Counts one allocation, and tells whether it is a sample: for paths that are slow in any case. */
bool sample_count_one(struct cache *cache);

/* The same for one of `every` large blocks, whoever takes them. */
bool sample_large(uint32_t every);

/* A fence for a sample; null if there are too many, or it cannot be had. */
void *sample_alloc(size_t n, size_t align, bool zero);

#endif
