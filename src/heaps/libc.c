/* The few functions of a C library that heaps use where there is one. All references are weak, so
 * the archive also links into a program without a C library: they are then null. */
#include "heaps/internal.h"

extern int posix_memalign(void **out, size_t alignment, size_t bytes) __attribute__((weak));
extern void free(void *block) __attribute__((weak));
extern long write(int file, const void *bytes, size_t n) __attribute__((weak));
extern void abort(void) __attribute__((weak, noreturn));
extern char *secure_getenv(const char *name) __attribute__((weak));

struct libc_calls ration_libc(void)
{
    return (struct libc_calls){posix_memalign, free, write, abort, secure_getenv};
}

static bool has_prefix(const char *text, const char *prefix)
{
    while (*prefix != '\0' && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == '\0';
}

bool ration_libc_option(const char *key, char *value, size_t capacity)
{
    const char *at = secure_getenv != NULL ? secure_getenv("RATION") : NULL;
    size_t key_length = 0;
    while (key[key_length] != '\0')
        key_length++;
    while (at != NULL && *at != '\0') {
        if (has_prefix(at, key) && at[key_length] == '=') {
            size_t n = 0;
            for (at += key_length + 1; *at != '\0' && *at != ',' && n + 1 < capacity; at++)
                value[n++] = *at;
            value[n] = '\0';
            return true;
        }
        while (*at != '\0' && *at != ',')
            at++;
        at += *at == ',';
    }
    return false;
}
