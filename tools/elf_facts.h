/*
 * What a program file says about itself without being run: whether a library can be loaded in front
 * of it, and whether that would change where its memory comes from.
 */
#ifndef RATION_TOOLS_ELF_FACTS_H
#define RATION_TOOLS_ELF_FACTS_H

#include <limits.h>
#include <stdbool.h>

enum elf_kind {
    ELF_NOT,     /* neither ELF nor a script, or it cannot be read */
    ELF_STATIC,  /* no dynamic linker is asked for */
    ELF_DYNAMIC, /* a program that the dynamic linker starts */
    ELF_DAMAGED, /* says it is ELF, and breaks off or points outside itself */
};

struct elf_facts {
    char path[PATH_MAX];   /* the file looked at: for a script, its interpreter */
    char script[PATH_MAX]; /* the script, or empty */
    char linker[PATH_MAX]; /* the dynamic linker */
    enum elf_kind kind;
    bool is_other_machine; /* built for another processor or word size than this command */
    bool has_privileges;   /* setuid, setgid or file capabilities: the system drops preloads */
    bool exports_malloc;   /* its own malloc comes before a preloaded one */
    bool has_own_malloc;   /* its symbol table names a malloc that it defines itself */
    bool is_sanitised;     /* the runtime of a sanitizer is linked into it */
    bool is_go;            /* the Go runtime has a heap of its own */
    bool imports_dlopen;
};

void elf_read_program(struct elf_facts *facts, const char *path);

/* One clause, or NULL if preloading should take effect. */
const char *elf_why_not_preloaded(const struct elf_facts *facts);

#endif
