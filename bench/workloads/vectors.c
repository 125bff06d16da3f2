/* Arrays that grow by realloc: many at once, by half each time, and a single one to 64 MiB in steps
 * of 256 KiB, as a program that reads a stream of unknown length does. */
#include "workloads.h"

#include <stdlib.h>

enum { VECTORS = 200, STREAM_STEP_ITEMS = 65536, STREAM_STEPS = 256 };

struct vector {
    uint32_t *items;
    size_t count, capacity;
};

static void vector_reserve(struct vector *vector, size_t capacity, struct tally *tally)
{
    uint32_t *items = realloc(vector->items, capacity * sizeof *items);

    if (!items) {
        die("realloc returned null");
    }
    vector->items = items;
    vector->capacity = capacity;
    tally->operations++;
}

static void vector_push(struct vector *vector, uint32_t item, struct tally *tally)
{
    if (vector->count == vector->capacity) {
        vector_reserve(vector, vector->capacity + vector->capacity / 2 + 4, tally);
    }
    vector->items[vector->count++] = item;
    tally->born += item;
}

static void vector_drop(struct vector *vector, struct tally *tally)
{
    for (size_t i = 0; i < vector->count; i++) {
        tally->died += vector->items[i];
    }
    free(vector->items);
    *vector = (struct vector){0};
    tally->operations++;
}

static void grow_many(struct random *random, unsigned n_pushes, struct tally *tally)
{
    static struct vector vectors[VECTORS];

    for (unsigned i = 0; i < n_pushes; i++) {
        uint64_t drawn = random_next(random);
        struct vector *vector = &vectors[pick_below(drawn, VECTORS)];
        unsigned n_items = (unsigned)pick_size(drawn, 1, 16);
        for (unsigned k = 0; k < n_items; k++) {
            vector_push(vector, (uint32_t)drawn, tally);
        }
        if ((drawn >> 8 & 0x1fff) == 0) {
            vector_drop(vector, tally);
        }
    }
    for (unsigned i = 0; i < VECTORS; i++) {
        vector_drop(&vectors[i], tally);
    }
}

static void grow_stream(struct random *random, unsigned n_steps, struct tally *tally)
{
    struct vector stream = {0};

    for (unsigned i = 0; i < n_steps; i++) {
        vector_reserve(&stream, stream.capacity + STREAM_STEP_ITEMS, tally);
        while (stream.count < stream.capacity) {
            vector_push(&stream, (uint32_t)random_next(random), tally);
        }
    }
    vector_drop(&stream, tally);
}

struct outcome vectors_run(double scale)
{
    struct outcome outcome = {0};
    struct random random = {7};

    grow_many(&random, scaled(20000000, scale), &outcome.tally);
    grow_stream(&random, scaled(STREAM_STEPS, scale), &outcome.tally);
    return outcome;
}
