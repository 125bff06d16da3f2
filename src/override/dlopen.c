/* dlopen without RTLD_DEEPBIND. A library opened with it looks for names in the C library before it comes to us: what the
 * program allocates it frees there, and the other way round, and either ends the program (docs/decisions/0020). Only in
 * libration.so: an archive's dlopen would stand in the way of a static program's.
 *
 * The loader tells by the return address which library asks, as that one's search path counts: the last step must be a jump, as
 * any optimising compiler makes it. */
#define _GNU_SOURCE
#include "base/atomics.h"
#include "conf/conf.h"

#include <dlfcn.h>

typedef void *opener(const char *file, int mode);

/* The first call's thread takes the loader's lock for a moment, as the dlopen that follows does. */
static NOINLINE opener *next_opener(void)
{
    static opener *found;
    opener *next = atomic_load_relaxed(&found);
    if (next == NULL) {
        next = (opener *)dlsym(RTLD_NEXT, "dlopen");
        atomic_store_relaxed(&found, next);
    }
    return next;
}

EXPORT void *dlopen(const char *file, int mode)
{
    if ((mode & RTLD_DEEPBIND) != 0 && conf.deepbind == DEEPBIND_DROP)
        mode &= ~RTLD_DEEPBIND;
    opener *next = next_opener();
    return next != NULL ? next(file, mode) : NULL;
}
