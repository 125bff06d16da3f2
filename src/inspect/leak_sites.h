/* Lost and reachable blocks by call site: a table in pages of its own, filled while blocks are counted, then sorted. */
#ifndef RATION_INSPECT_LEAK_SITES_H
#define RATION_INSPECT_LEAK_SITES_H

#include "inspect/writer.h"
#include "os/pages.h"

enum leak_kind {
    LEAK_LOST,  /* no pointer leads to it */
    LEAK_BELOW, /* only pointers in lost blocks do */
    LEAK_REACHABLE,
};

struct leak_site {
    uint32_t site;  /* callers/sites.h; SITE_NONE: not recorded */
    uint32_t owner; /* LEAK_BELOW: the site of the lost block that leads to it */
    enum leak_kind kind;
    size_t blocks; /* 0: the place is free */
    size_t bytes;
};

struct leak_sites {
    struct leak_site *sites;
    size_t count;
    size_t places; /* a power of two */
    struct os_range table;
};

/* Room for what at most n_blocks blocks bring. False if out of memory; then the others do nothing. */
bool leak_sites_begin(struct leak_sites *s, size_t n_blocks);

void leak_sites_add(struct leak_sites *s, const struct leak_site *one);

/* No more is added: by kind, then the most bytes first. */
void leak_sites_sort(struct leak_sites *s);

/* The first `most` lost sites and their callers, for people. */
void leak_sites_print(const struct leak_sites *s, struct writer *w, size_t most);

/* Lines for the command: "site NUMBER lost|below|reachable BLOCKS BYTES OWNER" for each; then for each number once
 * "callers NUMBER COUNT", and COUNT times "at OFFSET MODULE". */
void leak_sites_tell(const struct leak_sites *s, struct writer *w);

void leak_sites_end(struct leak_sites *s);

#endif
