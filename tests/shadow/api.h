/* What the shadow test calls: the names of the C library (under preload), or the core compiled into
 * the test. */
#ifndef RATION_TESTS_SHADOW_API_H
#define RATION_TESTS_SHADOW_API_H

#include <stddef.h>

struct api {
    const char *name;
    void *(*allocate)(size_t n);
    void *(*zeroed)(size_t count, size_t n);
    void *(*resize)(void *p, size_t n);
    void *(*resize_array)(void *p, size_t count, size_t n);
    void *(*aligned)(size_t align, size_t n);
    void (*release)(void *p);
    void (*release_sized)(void *p, size_t n,
                          size_t align); /* align 0: a block of malloc, calloc or realloc */
    size_t (*usable)(void *p);
    void (*trim)(void);
    const char *(*check)(void); /* null, or what is broken; nobody else uses the heap */
    void (*start)(void);
};

extern const struct api api;

/* The program. */
int shadow_main(int argc, char **argv);

/* One sequence from any bytes, for a fuzzer: aborts at the first wrong answer. */
void shadow_run_bytes(const unsigned char *data, size_t n);

#endif
