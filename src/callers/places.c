#define _GNU_SOURCE
#include "callers/places.h"

#include "os/loader.h"
#include "os/syscall.h"
#include "report/report.h"

/* The first module is the program, whose name the loader does not keep. */
static const char *program_path(void)
{
    static char path[256];
    char here[sizeof path];
    if (path[0] == '\0') {
        long n = syscall6(SYS_readlinkat, -100, (long)"/proc/self/exe", (long)here, sizeof here - 1,
                          0, 0);
        for (long i = n - 1; i >= 0; i--) /* the first byte last: it shows that the rest is there */
            path[i] = here[i];
    }
    return path[0] != '\0' ? path : "program";
}

struct place place_of(uintptr_t caller)
{
    struct place place = {.module = NULL, .offset = caller - 1};
    const struct link_map *map = loader_find(place.offset);
    if (map == NULL)
        return place;
    place.offset -= map->l_addr;
    place.module = map->l_name != NULL && map->l_name[0] != '\0' ? map->l_name : program_path();
    return place;
}

void place_add(struct text *t, uintptr_t caller)
{
    struct place place = place_of(caller);
    if (place.module != NULL) {
        text_add(t, place.module);
        text_add(t, "+");
    }
    text_add_hex(t, place.offset);
}

void places_add(struct text *t, const uintptr_t *callers, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        report_make_room(t);
        text_add(t, "    #");
        text_add_unsigned(t, i);
        text_add(t, " ");
        place_add(t, callers[i]);
        text_add(t, "\n");
    }
}
