/* What the loader knows of an address. Include <dlfcn.h> and <link.h> with _GNU_SOURCE before anything else. */
#ifndef RATION_OS_LOADER_H
#define RATION_OS_LOADER_H

#include "base/compiler.h"

#include <dlfcn.h>
#include <link.h>

/* From glibc 2.35 on: without a lock, safe in signal handlers. Older headers lack it, and older libraries, too. */
#ifndef DLFO_STRUCT_HAS_EH_DBASE
struct dl_find_object {
    unsigned long long int dlfo_flags;
    void *dlfo_map_start;
    void *dlfo_map_end;
    struct link_map *dlfo_link_map;
    void *dlfo_more[9];
};
#endif
extern int _dl_find_object(void *address, struct dl_find_object *found) __attribute__((weak));
extern int dladdr1(const void *address, Dl_info *info, void **extra, int flags)
    __attribute__((weak));

extern void *dlsym(void *library, const char *name) __attribute__((weak));

/* What has this name among all that is loaded for all to see; null if nothing has, or in a static program. */
static inline void *loader_name(const char *name)
{
    return dlsym != NULL ? dlsym(RTLD_DEFAULT, name) : NULL;
}

/* The module that holds `address`, or null. */
static inline struct link_map *loader_find(uintptr_t address)
{
    struct dl_find_object found;
    Dl_info info;
    void *map = NULL;
    if (_dl_find_object != NULL)
        return _dl_find_object((void *)address, &found) == 0 ? found.dlfo_link_map : NULL;
    if (dladdr1 == NULL || dladdr1((void *)address, &info, &map, RTLD_DL_LINKMAP) == 0)
        return NULL;
    return map;
}

#endif
