/* Functions, files and lines of addresses, by a tool that is installed for it: llvm-symbolizer, addr2line (binutils) or
 * eu-addr2line (elfutils), the first that is found. Each module (program or library) is asked about once. */
#ifndef RATION_TOOLS_SYMBOLS_H
#define RATION_TOOLS_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line of the source; several where functions were inlined, the innermost first. */
struct symbol {
    char *function; /* NULL: unknown */
    char *file;     /* NULL: unknown */
    unsigned line;  /* 0: unknown */
};

struct address {
    char *module;     /* a path, or "?" */
    uintptr_t offset; /* as the module's file counts */
    struct symbol *symbols;
    size_t n_symbols; /* 0 before symbols_find, or if nothing is known */
};

/* Fills the symbols of all addresses as far as they are known. Returns NULL, or one sentence for the user on what is
 * missing. */
const char *symbols_find(struct address *addresses, size_t n);

/* Adds lines to `to`, each "PREFIX#NUMBER FUNCTION at FILE:LINE" or "… MODULE+0xOFFSET". */
void symbols_print(void *to, const char *prefix, unsigned number, const struct address *address);

#endif
