/* The allocator's operations. They follow the semantics of the C library function of the same purpose: null and ENOMEM
 * when out of memory, errno untouched otherwise. Thread-safe. `function` names the program's call in reports. */
#ifndef RATION_CORE_CORE_H
#define RATION_CORE_CORE_H

#include "base/compiler.h"

/* Continuations of fast_path.h. */
struct bin;
void *malloc_refill(size_t n, struct bin *bin) HIDDEN; /* the bin for n, whose mask is empty */
void *malloc_large(size_t n) HIDDEN;                   /* n > SMALL_MAX */
void *calloc_slow(size_t count, size_t size) HIDDEN;
void free_slow(void *p, const char *function) HIDDEN;
void free_event(void *p) HIDDEN;

/* Frees a slot of a wide slab; the caller has it for itself. */
struct slab;
void free_wide_slot(struct slab *s, size_t slot) HIDDEN;

/* A block that nobody is told of, and the free of one: for reallocation while events are on. Nothing is told, either, of
 * p not being a live block: the caller has looked. */
void *malloc_quietly(size_t n, size_t align);
void free_quietly(void *p, const char *function);

void *core_realloc(void *p, size_t n, const char *function);

/* `align` is a power of two. */
void *core_aligned(size_t align, size_t n);

/* Frees a block that the program says was asked for with size n and alignment `align` (0: none). */
void core_free_sized(void *p, size_t n, size_t align, const char *function);

/* Whether a live block starts at p, which is not null; else that is reported. *bytes: what the program may use. */
bool core_is_live(const void *p, size_t *bytes, const char *function);

/* Bytes that the program may use at p; 0 for null. */
size_t core_usable(const void *p, const char *function);

/* Bytes that a request of n would get. */
size_t core_good_size(size_t n);
size_t core_good_size_aligned(size_t n, size_t align);

/* Gives all free memory back. Returns whether any was. */
bool core_trim(void);

/* Sets ENOMEM and returns null. */
void *out_of_memory(void);

#endif
