#include "memory.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *require(void *memory, size_t count, size_t size)
{
    if (memory == NULL) {
        fprintf(stderr, "ration: out of memory for %zu records of %zu bytes\n", count, size);
        exit(2);
    }
    return memory;
}

void *lab_allocate(size_t count, size_t size)
{
    return require(calloc(count > 0 ? count : 1, size), count, size);
}

void *lab_resize(void *old, size_t count, size_t size)
{
    return require(reallocarray(old, count > 0 ? count : 1, size), count, size);
}

char *lab_copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(lab_allocate(bytes, 1), text, bytes);
}
