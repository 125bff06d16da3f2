#include "elf_facts.h"
#include "launch.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A file in memory; every access is checked against its length. */
struct image {
    const char *bytes;
    size_t length;
};

static const void *part(const struct image *image, size_t offset, size_t bytes)
{
    return offset <= image->length && bytes <= image->length - offset ? image->bytes + offset
                                                                      : NULL;
}

/* A text that ends within the file, or "". */
static const char *text_at(const struct image *image, size_t offset)
{
    if (offset >= image->length ||
        memchr(image->bytes + offset, '\0', image->length - offset) == NULL)
        return "";
    return image->bytes + offset;
}

static const ElfW(Ehdr) * header_of(const struct image *image)
{
    const ElfW(Ehdr) *header = part(image, 0, sizeof *header);
    if (header == NULL || header->e_phentsize != sizeof(ElfW(Phdr)))
        return NULL;
    return part(image, header->e_phoff, (size_t)header->e_phnum * sizeof(ElfW(Phdr))) != NULL
               ? header
               : NULL;
}

static void read_segments(struct elf_facts *facts, const struct image *image,
                          const ElfW(Ehdr) * header)
{
    const ElfW(Phdr) *segments = part(image, header->e_phoff, 1);
    facts->kind = ELF_STATIC;
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type != PT_INTERP)
            continue;
        facts->kind = ELF_DYNAMIC;
        snprintf(facts->linker, sizeof facts->linker, "%s", text_at(image, segments[i].p_offset));
    }
}

static void read_symbol(struct elf_facts *facts, const ElfW(Sym) * symbol, const char *name,
                        bool is_dynamic)
{
    const bool is_defined = symbol->st_shndx != SHN_UNDEF && symbol->st_value != 0;
    if (strcmp(name, "dlopen") == 0 && !is_defined)
        facts->imports_dlopen = true;
    if (is_defined && strcmp(name, "malloc") == 0) { /* an operator new alone would call it */
        facts->has_own_malloc = true;
        facts->exports_malloc |= is_dynamic;
    }
    if (is_defined && (strcmp(name, "__asan_init") == 0 || strcmp(name, "__tsan_init") == 0 ||
                       strcmp(name, "__msan_init") == 0))
        facts->is_sanitised = true;
}

static void read_symbols(struct elf_facts *facts, const struct image *image,
                         const ElfW(Shdr) * table, const ElfW(Shdr) * names)
{
    const size_t n = table->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *symbols = part(image, table->sh_offset, n * sizeof *symbols);
    for (size_t i = 0; symbols != NULL && i < n; i++)
        read_symbol(facts, &symbols[i], text_at(image, names->sh_offset + symbols[i].st_name),
                    table->sh_type == SHT_DYNSYM);
}

static void read_sections(struct elf_facts *facts, const struct image *image,
                          const ElfW(Ehdr) * header)
{
    const size_t n = header->e_shnum;
    const ElfW(Shdr) *sections = part(image, header->e_shoff, n * sizeof *sections);
    if (sections == NULL || header->e_shentsize != sizeof *sections)
        return;
    for (size_t i = 0; i < n; i++) {
        const bool has_symbols =
            sections[i].sh_type == SHT_DYNSYM || sections[i].sh_type == SHT_SYMTAB;
        if (has_symbols && sections[i].sh_link < n)
            read_symbols(facts, image, &sections[i], &sections[sections[i].sh_link]);
        if (header->e_shstrndx < n &&
            strcmp(text_at(image, sections[header->e_shstrndx].sh_offset + sections[i].sh_name),
                   ".go.buildinfo") == 0)
            facts->is_go = true;
    }
}

static void read_elf(struct elf_facts *facts, const struct image *image)
{
    static const unsigned char own_class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
#if defined(__x86_64__)
    enum { own_machine = EM_X86_64 };
#else
    enum { own_machine = EM_AARCH64 };
#endif
    facts->kind = ELF_DAMAGED;
    if (image->length < sizeof(ElfW(Ehdr)))
        return;
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)image->bytes;
    if ((unsigned char)image->bytes[EI_CLASS] != own_class || header->e_machine != own_machine) {
        facts->kind = ELF_DYNAMIC;
        facts->is_other_machine = true;
        return;
    }
    header = header_of(image);
    if (header == NULL)
        return;
    read_segments(facts, image, header);
    read_sections(facts, image, header);
}

/* "#!/bin/sh -e" and "#!/usr/bin/env python3". */
static bool read_script(const struct image *image, char interpreter[PATH_MAX])
{
    char line[PATH_MAX];
    const size_t n = image->length < sizeof line - 1 ? image->length : sizeof line - 1;
    if (n < 3 || image->bytes[0] != '#' || image->bytes[1] != '!')
        return false;
    memcpy(line, image->bytes, n);
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *rest = line + 2, *word;
    do
        word = strsep(&rest, " \t");
    while (word != NULL && *word == '\0');
    if (word == NULL)
        return false;
    snprintf(interpreter, PATH_MAX, "%s", word);
    const char *slash = strrchr(word, '/');
    if (slash == NULL || strcmp(slash, "/env") != 0)
        return true;
    do /* past options and settings of env */
        word = strsep(&rest, " \t");
    while (word != NULL && (*word == '\0' || *word == '-' || strchr(word, '=') != NULL));
    return word == NULL || launch_find_program(word, interpreter) == 0;
}

static bool has_privileges(const char *path, const struct stat *status)
{
    if (geteuid() != 0 && (status->st_mode & (S_ISUID | S_ISGID)) != 0)
        return true;
    if (geteuid() == 0 && (status->st_mode & S_ISUID) != 0 && status->st_uid != 0)
        return true;
    return geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0;
}

static void read_file(struct elf_facts *facts, int depth)
{
    struct stat status;
    char interpreter[PATH_MAX];
    const int fd = open(facts->path, O_RDONLY | O_CLOEXEC);
    facts->kind = ELF_NOT;
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < 4) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct image image = {.length = (size_t)status.st_size};
    void *map = mmap(NULL, image.length, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    image.bytes = map;
    facts->has_privileges = has_privileges(facts->path, &status);
    if (memcmp(image.bytes, ELFMAG, SELFMAG) == 0) {
        read_elf(facts, &image);
    } else if (depth < 4 && read_script(&image, interpreter)) {
        if (facts->script[0] == '\0')
            memcpy(facts->script, facts->path, sizeof facts->script);
        memcpy(facts->path, interpreter, sizeof facts->path);
        read_file(facts, depth + 1);
    }
    munmap(map, image.length);
}

void elf_read_program(struct elf_facts *facts, const char *path)
{
    memset(facts, 0, sizeof *facts);
    snprintf(facts->path, sizeof facts->path, "%s", path);
    read_file(facts, 0);
}

const char *elf_why_not_preloaded(const struct elf_facts *facts)
{
    if (facts->kind == ELF_NOT)
        return "is neither an ELF program nor a script that can be read";
    if (facts->kind == ELF_DAMAGED)
        return "is a damaged ELF file";
    if (facts->is_other_machine)
        return "is built for another processor or word size than this libration";
    if (facts->kind == ELF_STATIC)
        return "is linked statically: it loads no libraries (link it with libration.a instead)";
    if (facts->has_privileges)
        return "has raised privileges (setuid, setgid or capabilities): the system ignores "
               "LD_PRELOAD for it";
    if (facts->exports_malloc)
        return "exports a malloc of its own, which comes before a preloaded one";
    return NULL;
}
