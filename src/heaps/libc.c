/* The few functions of a C library that heaps use where there is one. All references are weak, so
 * the archive also links into a program without a C library: they are then null. */
#include "heaps/internal.h"

extern int posix_memalign(void **out, size_t alignment, size_t bytes) __attribute__((weak));
extern void free(void *block) __attribute__((weak));
extern long write(int file, const void *bytes, size_t n) __attribute__((weak));
extern void abort(void) __attribute__((weak, noreturn));
/* atexit(3) itself is in no shared library of glibc, so a weak name would not find it. */
extern int __cxa_atexit(void (*function)(void *), void *argument, void *dso) __attribute__((weak));
extern char *secure_getenv(const char *name) __attribute__((weak));
extern int dladdr(const void *address, void *info) __attribute__((weak));
extern void *dlsym(void *library, const char *name) __attribute__((weak));

struct libc_calls ration_libc(void)
{
    return (struct libc_calls){posix_memalign, free,          write,  abort,
                               __cxa_atexit,   secure_getenv, dladdr, dlsym};
}

static bool has_prefix(const char *text, const char *prefix)
{
    while (*prefix != '\0' && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == '\0';
}

/* The value of `key` in the RATION variable, up to its comma or end; NULL if the key is not there.
 */
static const char *find_option(const char *key)
{
    const char *at = secure_getenv != NULL ? secure_getenv("RATION") : NULL;
    size_t key_length = 0;
    while (key[key_length] != '\0')
        key_length++;
    while (at != NULL && *at != '\0') {
        if (has_prefix(at, key) && at[key_length] == '=')
            return at + key_length + 1;
        while (*at != '\0' && *at != ',')
            at++;
        at += *at == ',';
    }
    return NULL;
}

bool ration_libc_option_is(const char *key, const char *value)
{
    const char *found = find_option(key);
    while (found != NULL && *value != '\0' && *found == *value) {
        found++;
        value++;
    }
    return found != NULL && *value == '\0' && (*found == '\0' || *found == ',');
}
